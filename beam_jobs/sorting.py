"""Before any decoding: which sources are decoded, and which are rejected unread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from beam_jobs.inventory import Source
from srgan import storage
from srgan.dataset_config import DatasetConfig, PairedConfig
from srgan.records import Dataset, Reject, read_record_infos


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source to decode: the HR file, and the LR file where LR files come with the HR."""

    hr: Source
    lr: Source | None = None

    @property
    def names(self) -> list[str]:
        """Names of the files that it uses."""
        return [self.hr.name] if self.lr is None else [self.hr.name, self.lr.name]


@dataclass(frozen=True)
class Sorted:
    """``copies``: those whose HR file has the same bytes, by the name of the one they copy."""

    candidates: list[Candidate]
    rejected: list[Reject]
    copies: dict[str, list[Candidate]]


def sort_out(
    sources: Sequence[Source], config: DatasetConfig, excluded: Mapping[str, str]
) -> Sorted:
    """Candidates in the order of their names, and the rest with reasons.

    ``excluded`` maps the sha256 of photos that earlier datasets have to where they are. Of files
    with the same bytes the one with the smallest name is decoded.
    """
    found = Sorted([], [], {})
    readable = []
    for source in sorted(sources, key=lambda s: s.name):
        reject = _unreadable(source)
        if reject is None:
            readable.append(source)
        else:
            found.rejected.append(reject)
    first: dict[str, str] = {}
    for candidate in _candidates(readable, config, found.rejected):
        sha256, name = candidate.hr.sha256, candidate.hr.name
        if sha256 in excluded:
            found.rejected.extend(_both(candidate, "excluded", f"in {excluded[sha256]}"))
        elif sha256 in first:
            found.copies.setdefault(first[sha256], []).append(candidate)
        else:
            first[sha256] = name
            found.candidates.append(candidate)
    return found


def photos_of(datasets: Iterable[Dataset]) -> dict[str, str]:
    """sha256 of every photo that ``datasets`` have a record of, and where that is."""
    photos: dict[str, str] = {}
    for dataset in datasets:
        name = storage.base_name(dataset.place)
        for info in read_record_infos(dataset):
            photos.setdefault(info.sha256, f"{name} as {info.source}")
    return photos


def copies_of(found: Sorted, rejected: Mapping[str, Reject], name: str, into: list[Reject]) -> None:
    """Add a reject for every copy of the candidate ``name``; one of a reject has its reason."""
    for candidate in found.copies.get(name, ()):
        verdict = rejected.get(name)
        if verdict is None:
            into.extend(_both(candidate, "duplicate", f"same bytes as {name}"))
        else:
            detail = f"{verdict.detail} (same bytes as {name})"
            into.extend(_both(candidate, verdict.reason, detail))


def lr_name(name: str, paired: PairedConfig) -> str | None:
    """The name without file type that the LR file of an HR file has; ``None`` for other files."""
    replaced, count = re.subn(whole_word(paired.hr), lambda _: paired.lr, _stem(name))
    return replaced if count else None


def whole_word(word: str) -> str:
    """A pattern for ``word`` in a path: ``HR`` in ``HR/a.png`` and ``a_HR.png``, not in ``CHR``."""
    return rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"


def _candidates(
    sources: Sequence[Source], config: DatasetConfig, rejected: list[Reject]
) -> list[Candidate]:
    if config.degradation != "paired":
        return [Candidate(source) for source in sources]
    by_stem: dict[str, list[Source]] = {}
    for source in sources:
        by_stem.setdefault(_stem(source.name), []).append(source)
    partners: dict[str, Source] = {}
    taken: set[str] = set()
    for source in sources:
        wanted = lr_name(source.name, config.paired)
        matches = [] if wanted is None else by_stem.get(wanted, [])
        if len(matches) == 1 and matches[0].name not in taken:
            partners[source.name] = matches[0]
            taken.add(matches[0].name)
    rejected.extend(
        _reject(source, "unpaired", _why_alone(source, by_stem, config.paired))
        for source in sources
        if source.name not in partners and source.name not in taken
    )
    return [
        Candidate(source, partners[source.name]) for source in sources if source.name in partners
    ]


def _why_alone(
    source: Source, by_stem: Mapping[str, Sequence[Source]], paired: PairedConfig
) -> str:
    wanted = lr_name(source.name, paired)
    if wanted is None:
        return f"no {paired.hr!r} in its path, and no HR file that it is the LR file of"
    matches = by_stem.get(wanted, ())
    return f"{len(matches)} LR files called {wanted}.*" if matches else f"no LR file {wanted}.*"


def _unreadable(source: Source) -> Reject | None:
    file = source.file
    if file.problem is not None:
        return _reject(source, *file.problem)
    if file.size == 0:
        return _reject(source, "not_an_image", "empty file")
    return None


def _both(candidate: Candidate, reason: str, detail: str) -> Iterator[Reject]:
    yield _reject(candidate.hr, reason, detail)
    if candidate.lr is not None:
        yield _reject(candidate.lr, reason, f"{detail} (LR of {candidate.hr.name})")


def _reject(source: Source, reason: str, detail: str) -> Reject:
    return Reject(source.name, reason, detail, source.sha256)


def _stem(name: str) -> str:
    folder, separator, base = name.rpartition("/")
    return folder + separator + (base.rpartition(".")[0] or base)
