"""What a new build of an image set would add to a dataset: files compared by their sha256."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Literal

from srgan.records import Dataset, read_record_infos, read_rejects

Kind = Literal["new", "changed", "copy", "renamed", "gone", "unchanged", "unknown"]
KINDS: tuple[Kind, ...] = ("new", "changed", "copy", "renamed", "gone", "unchanged", "unknown")
_READERS = 16


@dataclass(frozen=True, order=True)
class FileChange:
    """A file of the image set or of the dataset.

    * ``new``: bytes that the dataset does not know; ``changed``: such bytes under a name that it
      knows
    * ``copy``: the same bytes as another file, ``was``; a build rejects it as a duplicate
    * ``renamed``: bytes that the dataset knows as ``was``, which is gone
    * ``gone``: in the dataset, no longer in the image set; ``used`` when records are made of it
    * ``unchanged``: the same bytes under the same name
    * ``unknown``: the LR file of a pair; a dataset does not know the sha256 of those
    """

    name: str
    kind: Kind
    was: str | None = None
    used: bool = False


@dataclass(frozen=True)
class SourceDiff:
    """Every file of either side once, sorted by name."""

    dataset: str
    inputs: tuple[str, ...]
    files: tuple[FileChange, ...]

    def of(self, kind: Kind) -> list[FileChange]:
        """The files of one kind."""
        return [file for file in self.files if file.kind == kind]


def diff_sources(
    dataset: Dataset,
    inputs: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> SourceDiff:
    """Hash every file of an image set and compare; ``progress`` is told (hashed, files)."""
    found = hash_image_set(inputs, dataset.manifest.config.max_bytes, progress)
    lr_word = None
    if dataset.manifest.config.degradation == "paired":
        lr_word = dataset.manifest.config.paired.lr
    changes = compare_sources(_known(dataset), found, lr_word)
    return SourceDiff(dataset.place, tuple(inputs), tuple(sorted(changes)))


def hash_image_set(
    inputs: Sequence[str], max_bytes: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """The sha256 of every file of an image set by its name."""
    from srgan.imageset import list_image_set, sha256_of

    hashes: dict[str, str] = {}
    with TemporaryDirectory(prefix="srgan-") as spool, ThreadPoolExecutor(_READERS) as pool:
        files = list_image_set(inputs, spool=spool, max_bytes=max_bytes)
        for file, sha256 in zip(files, pool.map(sha256_of, files), strict=True):
            hashes[file.name] = sha256
            if progress is not None:
                progress(len(hashes), len(files))
    return hashes


def compare_sources(
    known: Mapping[str, tuple[str, bool]], found: Mapping[str, str], lr_word: str | None = None
) -> Iterator[FileChange]:
    """Every file of ``known`` and ``found`` once.

    ``known`` maps the names that a dataset has to (sha256, whether it is used), ``found`` those
    of an image set to sha256. ``lr_word`` marks LR files of a paired image set by their path.
    """
    is_lr = re.compile(rf"(?<![A-Za-z0-9]){re.escape(lr_word)}(?![A-Za-z0-9])") if lr_word else None
    names = _by_sha256((name, sha256) for name, (sha256, _) in known.items())
    files = _by_sha256(found.items())
    for sha256 in sorted(names.keys() | files.keys()):
        before, now = names.get(sha256, []), files.get(sha256, [])
        same = sorted(set(before) & set(now))
        lost, added = sorted(set(before) - set(now)), sorted(set(now) - set(before))
        for name in same:
            yield FileChange(name, "unchanged", used=known[name][1])
        for name, was in zip(added, lost, strict=False):
            yield FileChange(name, "renamed", was, used=known[was][1])
        for was in lost[len(added) :]:
            # Another file with its name: said of that one.
            if was not in found:
                yield FileChange(was, "gone", used=known[was][1])
        first = same[0] if same else added[0] if added else None
        for name in added[len(lost) :]:
            if not before and is_lr is not None and is_lr.search(name):
                yield FileChange(name, "unknown")
            elif before or name != first:
                yield FileChange(name, "copy", first)
            else:
                used = name in known and known[name][1]
                yield FileChange(name, "changed" if name in known else "new", used=used)


def _known(dataset: Dataset) -> dict[str, tuple[str, bool]]:
    known = {
        reject.source: (reject.sha256, False)
        for reject in read_rejects(dataset)
        if reject.crop is None
    }
    known |= {info.source: (info.sha256, True) for info in read_record_infos(dataset)}
    return known


def _by_sha256(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, sha256 in pairs:
        names[sha256].append(name)
    return names
