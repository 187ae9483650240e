"""From finished shards to a published dataset: account for every source, then the manifest."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from beam_jobs.compose import ShardPlan, kept_records
from beam_jobs.inventory import Source
from beam_jobs.preview import choose_spread, contact_sheet
from beam_jobs.reject_sheet import choose_rejects, reject_sheet
from beam_jobs.sorting import Sorted, copies_of
from beam_jobs.units import PARTS, MadeRecord, Part
from srgan import __version__, imageset, records, storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError, StorageError
from srgan.records import (
    PREVIEW,
    RECORDS,
    REJECT_SHEET,
    REJECTED,
    SPLITS,
    Dataset,
    Manifest,
    PairRecord,
    PixelStatistics,
    RecordInfo,
    Reject,
    ShardInfo,
    Split,
)

# The preview draws a strip of figures below the pairs; so many records say enough.
_PREVIEW_INFOS = 2_000


@dataclass(frozen=True)
class Build:
    """What a build has come to: all that the manifest is made of but the shards' bytes."""

    place: str
    build_id: str
    config: DatasetConfig
    excluded: Sequence[str]
    sources: Sequence[Source]
    shards: Sequence[ShardPlan]
    parts: Callable[[], Iterable[Part]]
    dropped: Collection[str]
    used: Collection[str]
    rejected: Sequence[Reject]


def build_id_of(sources: Sequence[Source], config: DatasetConfig, excluded: Sequence[str]) -> str:
    """First 12 hex digits of the sha256 of all that decides the dataset's bytes.

    That is the config, the digests of the excluded datasets, and of every source the sha256 of
    its bytes and its path relative to the image set's root, which decides its group and is part
    of its record. Where the image set lies and how it is called is not.
    """
    tree = [
        records.SCHEMA_VERSION,
        config.model_dump(mode="json"),
        sorted(excluded),
        sources_digest(sources),
    ]
    return hashlib.sha256(canonical_json(tree)).hexdigest()[:12]


def sources_digest(sources: Sequence[Source]) -> str:
    """sha256 of an image set: of the sorted (sha256, name, path in its input) of its files."""
    digest = hashlib.sha256(b"[")
    comma = b""
    # Row by row: the whole would be as large in memory as all that is known of the sources.
    for source in sorted(sources, key=lambda s: (s.sha256, s.name)):
        digest.update(comma + canonical_json([source.sha256, source.name, source.file.inside]))
        comma = b","
    digest.update(b"]")
    return digest.hexdigest()


def account(
    found: Sorted, parts: Iterable[Part], dropped: dict[str, tuple[str, str]]
) -> tuple[set[str], list[Reject]]:
    """Names of the sources that are in a record, and every reject, sorted by source.

    A source all of whose records were dropped is rejected for the reason of the first.
    """
    names = {candidate.hr.name: candidate for candidate in found.candidates}
    used: set[str] = set()
    rejected = list(found.rejected)
    whole: dict[str, Reject] = {}
    for part in parts:
        lost: dict[str, Reject] = {}
        for record in part.records:
            if record.key not in dropped:
                used.update(names[record.source].names)
                continue
            reason, detail = dropped[record.key]
            number = int(record.key[65:]) if len(record.key) > 64 else None
            reject = Reject(record.source, reason, detail, record.key[:64], number)
            lost.setdefault(record.source, reject)
            rejected.append(reject)
        rejected += part.rejected
        for source, first in lost.items():
            if source not in used:
                for file in (names[source].hr, names[source].lr):
                    if file is not None:
                        whole[file.name] = Reject(
                            file.name, first.reason, first.detail, file.sha256
                        )
    # The crops of an accepted photo count by themselves; those of a rejected one are no news.
    rejected = [
        r for r in rejected if r.source not in whole and (r.crop is None or r.source in used)
    ]
    rejected += whole.values()
    verdicts = {reject.source: reject for reject in rejected if reject.crop is None}
    for candidate in found.candidates:
        copies_of(found, verdicts, candidate.hr.name, rejected)
    return used, sorted(rejected, key=lambda r: (r.source, -1 if r.crop is None else r.crop))


def check_accounts(
    sources: Sequence[Source], used: Collection[str], rejected: Sequence[Reject]
) -> None:
    """Every source is in a record or one reject; a violation is a defect and no dataset."""
    refused = Counter(reject.source for reject in rejected if reject.crop is None)
    accounts = Counter(used) + refused
    names = {source.name for source in sources}
    twice = [name for name, count in accounts.items() if count > 1]
    if twice or accounts.keys() != names or len(names) != len(sources):
        raise DatasetError(
            f"the accounts do not balance: {len(sources)} sources, {len(used)} used, "
            f"{refused.total()} rejected, {len(twice)} of them twice; nothing was published"
        )


def publish(build: Build, sha256s: Sequence[str]) -> bool:
    """Write records, rejects, sheets and, last, the manifest.

    ``sha256s`` are those of the shards. ``False`` when another builder was first.
    """
    place = storage.join(build.place, records.MANIFEST)
    if storage.exists(place):  # Its lists and sheets stay, too.
        return False
    summary = _Summary(sum(plan.records for plan in build.shards))
    files = {RECORDS: _write_records(build, summary)}
    extra = {
        REJECTED: b"".join(reject.to_line() for reject in build.rejected),
        PREVIEW: _preview(build, summary),
    }
    if build.rejected:
        extra[REJECT_SHEET] = _reject_sheet(build)
    for name, data in extra.items():
        storage.write_bytes(storage.join(build.place, name), data)
        files[name] = hashlib.sha256(data).hexdigest()
    whole = Counter(r.reason for r in build.rejected if r.crop is None)
    crops = Counter(r.reason for r in build.rejected if r.crop is not None)
    manifest = Manifest(
        build_id=build.build_id,
        config=build.config,
        image_set=f"sha256:{sources_digest(build.sources)}",
        excluded=sorted(build.excluded),
        inputs=len(build.sources),
        used_sources=len(build.used),
        rejected_sources=whole.total(),
        rejected_crops=crops.total(),
        records={s: sum(p.records for p in build.shards if p.split == s) for s in SPLITS},
        groups={split: len(summary.groups[split]) for split in SPLITS},
        reject_reasons=dict(sorted(whole.items())),
        reject_crop_reasons=dict(sorted(crops.items())),
        shards=[
            ShardInfo(
                name=plan.name,
                split=plan.split,
                records=plan.records,
                bytes=plan.size,
                sha256=sha256,
            )
            for plan, sha256 in zip(build.shards, sha256s, strict=True)
        ],
        files=files,
        statistics=summary.statistics(),
        code_version=__version__,
    )
    return storage.publish_once(place, manifest.to_bytes())


def tidy(dataset: Dataset) -> None:
    """Remove what only building needed. Another builder of the same dataset bears that."""
    storage.delete(storage.join(dataset.place, PARTS))
    storage.delete_temporaries(dataset.place)
    listed = {shard.name for shard in dataset.manifest.shards}
    with suppress(StorageError):  # What the other builder removes cannot be listed.
        for file in storage.list_files(dataset.place):
            # Another version of the builder was killed, and cut the shards otherwise.
            if records.is_shard_name(file.name) and file.name not in listed:
                storage.delete(file.place)


class _Summary:
    """What is summed up while the ``total`` records go by.

    ``infos``: records spread evenly over the dataset; ``spans``: where in its shard each lies.
    """

    def __init__(self, total: int) -> None:
        self.groups: dict[Split, set[str]] = {split: set() for split in SPLITS}
        self.infos: list[RecordInfo] = []
        self.spans: dict[str, tuple[int, int]] = {}
        self._every = -(-total // _PREVIEW_INFOS)
        self._seen = self._offset = 0
        self._shard = ""
        self._count = 0
        self._sums, self._squares = [0, 0, 0], [0, 0, 0]

    def add(self, info: RecordInfo, record: MadeRecord) -> None:
        self.groups[info.split].add(info.group)
        if info.shard != self._shard:
            self._shard, self._offset = info.shard, 0
        if self._seen % self._every == 0:
            self.infos.append(info)
            self.spans[info.key] = (self._offset, record.length)
        self._seen += 1
        self._offset += record.length
        if info.split == "train":
            self._count += record.count
            for channel in range(3):
                self._sums[channel] += record.sums[channel]
                self._squares[channel] += record.squares[channel]

    def statistics(self) -> PixelStatistics | None:
        count = self._count
        if not count:
            return None
        means, deviations = [], []
        for total, squares in zip(self._sums, self._squares, strict=True):
            means.append(total / count / 255)
            deviations.append(math.sqrt(count * squares - total * total) / count / 255)
        return PixelStatistics(
            mean=(means[0], means[1], means[2]), std=(deviations[0], deviations[1], deviations[2])
        )


def _write_records(build: Build, summary: _Summary) -> str:
    """Write ``records.jsonl``; its sha256."""
    digest = hashlib.sha256()
    with storage.open_write(storage.join(build.place, RECORDS)) as stream:
        for shard, record in kept_records(build.parts(), build.dropped, build.shards):
            info = RecordInfo(
                key=record.key,
                source=record.source,
                group=record.group,
                split=shard.split,
                shard=shard.name,
                width=record.width,
                height=record.height,
                side=record.side,
                sharpness=record.sharpness,
                contrast=record.contrast,
                hash=record.hash,
            )
            summary.add(info, record)
            line = info.to_line()
            digest.update(line)
            stream.write(line)
    return digest.hexdigest()


def _preview(build: Build, summary: _Summary) -> bytes:
    pairs: list[PairRecord] = []
    for info in choose_spread(summary.infos):
        place = storage.join(build.place, info.shard)
        frame = storage.read_range(place, *summary.spans[info.key])
        pairs += records.read_records(io.BytesIO(frame), place)
    count = sum(plan.records for plan in build.shards)
    return contact_sheet(pairs, build.config, count, summary.infos)


def _reject_sheet(build: Build) -> bytes:
    files = {source.name: source.file for source in build.sources}

    def read(name: str) -> bytes:
        return imageset.read_file(files[name], max_bytes=build.config.max_bytes)

    counts = Counter(reject.reason for reject in build.rejected)
    return reject_sheet(choose_rejects(build.rejected), read, counts)
