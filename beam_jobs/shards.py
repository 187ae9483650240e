"""Second pass: plan the shards, and write one whole shard in one worker.

A shard is done when its statistics (its *part*) lie beside it and fit the plan: a build that was
killed goes on with the shards that are missing. Pixels never leave the worker that decoded them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
from PIL import Image

from beam_jobs.inventory import Source, in_order, read_if_exists
from beam_jobs.pairs import group_of, make_pair, split_of
from srgan import __version__, images, records, storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError
from srgan.images import ImageRejectedError, Pixels
from srgan.records import SPLITS, PairRecord, Split

SCHEMA_VERSION: int = records.Manifest.model_fields["schema_version"].default
PARTS = ".parts"
PART = ".json"
_PLAN = ".plan"
# A worker holds one shard in memory; this bounds it where HR images are large.
_MAX_RAW_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Reject:
    """A line of ``rejected.jsonl``."""

    source: str
    reason: str
    detail: str


@dataclass(frozen=True)
class PlannedRecord:
    """A record to be: everything but its pixels."""

    key: str
    group: str
    source: str
    place: str


@dataclass(frozen=True)
class ShardPlan:
    """What one worker does at a time."""

    name: str
    split: Split
    config: DatasetConfig
    records: Sequence[PlannedRecord]

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides the shard's bytes; where the sources lie does not."""
        rows = [[record.key, record.group, record.source] for record in self.records]
        code = [__version__, SCHEMA_VERSION, PIL.__version__]
        tree = [code, self.config.model_dump(mode="json"), self.split, self.name, rows]
        return hashlib.sha256(canonical_json(tree)).hexdigest()

    def to_bytes(self) -> bytes:
        tree = {
            "name": self.name,
            "split": self.split,
            "config": self.config.model_dump(mode="json"),
            "records": [[r.key, r.group, r.source, r.place] for r in self.records],
        }
        return json.dumps(tree).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardPlan:
        tree = json.loads(data)
        config = DatasetConfig.model_validate(tree["config"])
        return cls(
            tree["name"], tree["split"], config, [PlannedRecord(*r) for r in tree["records"]]
        )


@dataclass(frozen=True)
class Part:
    """What is known of a finished shard. ``sums`` and ``squares`` are exact integers."""

    fingerprint: str
    name: str
    split: Split
    keys: list[str]
    size: int
    sha256: str
    rejected: list[Reject]
    sums: list[int]
    squares: list[int]

    def to_bytes(self) -> bytes:
        tree = {**vars(self), "rejected": [vars(reject) for reject in self.rejected]}
        return json.dumps(tree).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Part:
        tree: Mapping[str, Any] = json.loads(data)
        return cls(**{**tree, "rejected": [Reject(**line) for line in tree["rejected"]]})


def plan_shards(sources: Sequence[Source], config: DatasetConfig) -> list[ShardPlan]:
    """Shards of all splits. Order and shard come from the key; a split without sources has none."""
    by_split: dict[Split, list[PlannedRecord]] = {split: [] for split in SPLITS}
    for source in sorted(sources, key=lambda s: s.sha256):
        group = group_of(source.name, source.sha256, config)
        record = PlannedRecord(source.sha256, group, source.name, source.place)
        by_split[split_of(group, config)].append(record)
    size = max(1, min(config.records_per_shard, _MAX_RAW_BYTES // (3 * config.hr_size**2)))
    plans = []
    for split, planned in by_split.items():
        count = -(-len(planned) // size)
        for index in range(count):
            start, end = (len(planned) * i // count for i in (index, index + 1))
            name = records.shard_name(split, index, count)
            plans.append(ShardPlan(name, split, config, planned[start:end]))
    return plans


def plan_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + _PLAN)


def part_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + PART)


def read_part(dataset: str, plan: ShardPlan) -> Part | None:
    """The part of a plan; ``None`` when there is none or it belongs to another plan."""
    data = read_if_exists(part_place(dataset, plan.name))
    if data is None:
        return None
    part = Part.from_bytes(data)
    return part if part.fingerprint == plan.fingerprint else None


def write_shard(place: str) -> None:
    """Worker: decode the sources of the plan at ``place``, write the shard, then its part.

    Nothing happens when the plan is gone: another builder has published the dataset meanwhile.
    """
    data = read_if_exists(place)
    if data is None:
        return
    plan = ShardPlan.from_bytes(data)
    dataset = place.removesuffix(f"/{PARTS}/{plan.name}{_PLAN}")
    shard, keys, rejected = io.BytesIO(), [], []
    histogram, levels = np.zeros((3, 256), np.int64), np.arange(256)
    contents = in_order(storage.read_bytes, (record.place for record in plan.records))
    for planned, content in zip(plan.records, contents, strict=True):
        if hashlib.sha256(content).hexdigest() != planned.key:
            raise DatasetError(
                f"{planned.place}: changed while the dataset was being built; "
                "run the build again when nobody writes to the image set"
            )
        try:
            hr, lr = make_pair(content, plan.config)
        except ImageRejectedError as error:
            rejected.append(Reject(planned.source, error.reason, error.detail))
            continue
        records.write_records(shard, [_record(planned, hr, lr)])
        keys.append(planned.key)
        histogram += np.asarray(Image.fromarray(hr).histogram(), np.int64).reshape(3, 256)
    encoded = shard.getvalue()
    if keys:
        storage.write_bytes(storage.join(dataset, plan.name), encoded)
    part = Part(
        fingerprint=plan.fingerprint,
        name=plan.name,
        split=plan.split,
        keys=keys,
        size=len(encoded),
        sha256=hashlib.sha256(encoded).hexdigest(),
        rejected=rejected,
        sums=(histogram @ levels).tolist(),
        squares=(histogram @ levels**2).tolist(),
    )
    storage.write_bytes(part_place(dataset, plan.name), part.to_bytes())


def _record(planned: PlannedRecord, hr: Pixels, lr: Pixels) -> PairRecord:
    return PairRecord(
        key=planned.key,
        group=planned.group,
        source=planned.source,
        hr=images.encode_png(hr),
        lr=images.encode_png(lr),
    )
