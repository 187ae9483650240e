"""From finished shards to a published dataset: account for every source, then the manifest."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from beam_jobs.inventory import Source
from beam_jobs.preview import choose, contact_sheet
from beam_jobs.shards import PARTS, SCHEMA_VERSION, Part, Reject, ShardPlan
from srgan import __version__, records, storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError
from srgan.records import (
    PREVIEW,
    REJECTED,
    SPLITS,
    Manifest,
    PairRecord,
    PixelStatistics,
    ShardInfo,
)


def build_id_of(sources: Sequence[Source], config: DatasetConfig) -> str:
    """First 12 hex digits of the sha256 of all that decides the dataset's bytes.

    That is the config, and of every source the sha256 of its bytes and its path relative to the
    image set's root, which decides its group and is part of its record. Where the image set lies
    and how it is called is not.
    """
    tree = [SCHEMA_VERSION, config.model_dump(mode="json"), sources_digest(sources)]
    return hashlib.sha256(canonical_json(tree)).hexdigest()[:12]


def sources_digest(sources: Sequence[Source]) -> str:
    """sha256 of an image set: of the sorted (sha256, relative path) of its files."""
    rows = sorted([source.sha256, source.name] for source in sources)
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def sort_out(
    sources: Sequence[Source], config: DatasetConfig
) -> tuple[list[Source], list[Reject], dict[str, list[str]]]:
    """Sources to decode, sources rejected unread, and the copies of each source to decode.

    Of files with the same bytes the one with the smallest relative path is decoded; the names of
    the others are listed under its key.
    """
    candidates: dict[str, Source] = {}
    rejected: list[Reject] = []
    copies: dict[str, list[str]] = {}
    for source in sorted(sources, key=lambda s: s.name):
        if source.size == 0:
            rejected.append(Reject(source.name, "not_an_image", "empty file"))
        elif source.size > config.max_bytes:
            detail = f"{source.size} bytes, the limit is {config.max_bytes}"
            rejected.append(Reject(source.name, "too_many_bytes", detail))
        elif source.sha256 in candidates:
            copies.setdefault(source.sha256, []).append(source.name)
        else:
            candidates[source.sha256] = source
    return list(candidates.values()), rejected, copies


def all_rejects(
    parts: Sequence[Part],
    unread: Sequence[Reject],
    candidates: Sequence[Source],
    copies: dict[str, list[str]],
) -> list[Reject]:
    """Every reject, sorted by source. A copy of a rejected file is rejected for its reason."""
    rejected = [*unread, *(reject for part in parts for reject in part.rejected)]
    verdicts = {reject.source: reject for reject in rejected}
    for source in candidates:
        for name in copies.get(source.sha256, ()):
            verdict = verdicts.get(source.name)
            if verdict is None:
                rejected.append(Reject(name, "duplicate", f"same bytes as {source.name}"))
            else:
                detail = f"{verdict.detail} (same bytes as {source.name})"
                rejected.append(Reject(name, verdict.reason, detail))
    return sorted(rejected, key=lambda reject: reject.source)


def check_accounts(
    sources: Sequence[Source], parts: Sequence[Part], rejected: Sequence[Reject]
) -> None:
    """Every source is in one record or one reject; a violation is a defect and no dataset."""
    used = Counter(key for part in parts for key in part.keys)
    refused = Counter(reject.source for reject in rejected)
    twice = [what for what, count in (used + refused).items() if count > 1]
    names = {source.name for source in sources}
    keys = {source.sha256 for source in sources}
    if (
        twice
        or len(sources) != used.total() + refused.total()
        or not refused.keys() <= names
        or not used.keys() <= keys
    ):
        raise DatasetError(
            f"the accounts do not balance: {len(sources)} sources, {used.total()} records, "
            f"{refused.total()} rejects, {len(twice)} of them twice; nothing was published"
        )


def publish(
    dataset: str,
    build_id: str,
    config: DatasetConfig,
    sources: Sequence[Source],
    plans: Sequence[ShardPlan],
    parts: Sequence[Part],
    rejected: Sequence[Reject],
) -> bool:
    """Write rejects, preview and, last, the manifest; ``False`` when another builder was first."""
    lines = [canonical_json(vars(reject)) + b"\n" for reject in rejected]
    extra = {REJECTED: b"".join(lines), PREVIEW: _preview(dataset, config, parts)}
    for name, data in extra.items():
        storage.write_bytes(storage.join(dataset, name), data)
    used = {key for part in parts for key in part.keys}
    groups = {
        (plan.split, record.group)
        for plan in plans
        for record in plan.records
        if record.key in used
    }
    manifest = Manifest(
        build_id=build_id,
        config=config,
        image_set=f"sha256:{sources_digest(sources)}",
        inputs=len(sources),
        used_sources=len(used),
        rejected_sources=len(rejected),
        rejected_crops=0,
        records={s: sum(len(p.keys) for p in parts if p.split == s) for s in SPLITS},
        groups={s: sum(1 for split, _ in groups if split == s) for s in SPLITS},
        reject_reasons=dict(sorted(Counter(r.reason for r in rejected).items())),
        shards=[
            ShardInfo(
                name=part.name,
                split=part.split,
                records=len(part.keys),
                bytes=part.size,
                sha256=part.sha256,
            )
            for part in parts
            if part.keys
        ],
        files={name: hashlib.sha256(data).hexdigest() for name, data in extra.items()},
        statistics=_statistics(parts, config),
        code_version=__version__,
    )
    return storage.publish_once(storage.join(dataset, records.MANIFEST), manifest.to_bytes())


def tidy(dataset: str) -> None:
    """Remove what only building needed. Another builder of the same dataset bears that."""
    storage.delete(storage.join(dataset, PARTS))
    storage.delete_temporaries(dataset)


def _preview(dataset: str, config: DatasetConfig, parts: Sequence[Part]) -> bytes:
    count = sum(len(part.keys) for part in parts)
    return contact_sheet(choose(_records(dataset, parts)), config, count)


def _records(dataset: str, parts: Sequence[Part]) -> Iterator[PairRecord]:
    # Enough to choose from; in the order of the keys, which is a random one.
    for part in itertools.islice((part for part in parts if part.keys), 3):
        place = storage.join(dataset, part.name)
        with storage.open_read(place) as stream:
            yield from records.read_records(stream, place)


def _statistics(parts: Sequence[Part], config: DatasetConfig) -> PixelStatistics | None:
    train = [part for part in parts if part.split == "train"]
    pixels = sum(len(part.keys) for part in train) * config.hr_size**2
    if not pixels:
        return None
    means, deviations = [], []
    for channel in range(3):
        total = sum(part.sums[channel] for part in train)
        squares = sum(part.squares[channel] for part in train)
        means.append(total / pixels / 255)
        deviations.append(math.sqrt(pixels * squares - total * total) / pixels / 255)
    return PixelStatistics(
        mean=(means[0], means[1], means[2]), std=(deviations[0], deviations[1], deviations[2])
    )
