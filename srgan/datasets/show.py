"""What is in a dataset: read from its manifest and its list of records, never from pixels."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from srgan import storage
from srgan.dataset_config import DatasetConfig
from srgan.datasets.histogram import Histogram, histogram
from srgan.records import PREVIEW, REJECT_SHEET, SPLITS, Dataset, Split, read_record_infos

_BINS = 64
_EVERY = 1000


@dataclass(frozen=True)
class SplitSummary:
    """A split: its records, the groups they are of, and its shards with their size in bytes."""

    name: Split
    records: int
    groups: int
    shards: int
    bytes: int


@dataclass(frozen=True)
class Setting:
    """A setting and what it is compared with, both as JSON values."""

    name: str
    value: Any
    other: Any


@dataclass(frozen=True)
class Summary:
    """A dataset at a glance.

    ``rejects`` maps a reason to (sources, crops), the most frequent first. ``settings`` are those
    that differ from the defaults (``other``). ``bytes`` are those of all its files.
    ``distributions`` are of the records: ``source_side`` (shorter side in pixels), ``crop_side``
    (in source pixels) and ``sharpness`` (of HR).
    """

    name: str
    place: str
    digest: str
    code_version: str
    config: DatasetConfig
    splits: tuple[SplitSummary, ...]
    bytes: int
    inputs: int
    used_sources: int
    rejected_sources: int
    rejected_crops: int
    rejects: Mapping[str, tuple[int, int]]
    settings: tuple[Setting, ...]
    image_set: str
    excluded: tuple[str, ...]
    distributions: Mapping[str, Histogram]
    preview: str | None
    reject_sheet: str | None

    @property
    def records(self) -> int:
        """Pairs in all splits together."""
        return sum(split.records for split in self.splits)


def summarize(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Summary:
    """Read all that is known of a dataset; ``progress`` is told (records read, records)."""
    manifest = dataset.manifest
    counts = {
        reason: (
            manifest.reject_reasons.get(reason, 0),
            manifest.reject_crop_reasons.get(reason, 0),
        )
        for reason in {**manifest.reject_reasons, **manifest.reject_crop_reasons}
    }
    ranked = sorted(counts, key=lambda reason: (-sum(counts[reason]), reason))
    return Summary(
        name=storage.base_name(dataset.place),
        place=dataset.place,
        digest=dataset.digest,
        code_version=manifest.code_version,
        config=manifest.config,
        splits=tuple(_split(dataset, split) for split in SPLITS),
        bytes=sum(file.size for file in storage.list_files(dataset.place)),
        inputs=manifest.inputs,
        used_sources=manifest.used_sources,
        rejected_sources=manifest.rejected_sources,
        rejected_crops=manifest.rejected_crops,
        rejects={reason: counts[reason] for reason in ranked},
        settings=tuple(differing_settings(manifest.config, DatasetConfig())),
        image_set=manifest.image_set,
        excluded=tuple(manifest.excluded),
        distributions=_distributions(dataset, progress),
        preview=_picture(dataset, PREVIEW),
        reject_sheet=_picture(dataset, REJECT_SHEET),
    )


def differing_settings(config: DatasetConfig, other: DatasetConfig) -> list[Setting]:
    """Settings that differ, but the name; those of a sub-model as ``faces.margin``."""
    here, there = (_flat(c.model_dump(mode="json")) for c in (config, other))
    return [
        Setting(name, value, there[name])
        for name, value in here.items()
        if value != there[name] and name != "name"
    ]


def _picture(dataset: Dataset, name: str) -> str | None:
    return storage.join(dataset.place, name) if name in dataset.manifest.files else None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _split(dataset: Dataset, split: Split) -> SplitSummary:
    manifest, shards = dataset.manifest, dataset.shards(split)
    return SplitSummary(
        split,
        manifest.records.get(split, 0),
        manifest.groups.get(split, 0),
        len(shards),
        sum(shard.bytes for shard in shards),
    )


def _distributions(
    dataset: Dataset, progress: Callable[[int, int], None] | None
) -> dict[str, Histogram]:
    sides, crops, sharpness = array("d"), array("d"), array("d")
    total = sum(dataset.manifest.records.values())
    for number, info in enumerate(read_record_infos(dataset), 1):
        sides.append(min(info.width, info.height))
        crops.append(info.side)
        sharpness.append(info.sharpness)
        if progress is not None and (number % _EVERY == 0 or number == total):
            progress(number, total)
    found = {
        "source_side": histogram(sides, _BINS, log=True, whole=True),
        "crop_side": histogram(crops, _BINS, log=True, whole=True),
        "sharpness": histogram(sharpness, _BINS),
    }
    return {name: measured for name, measured in found.items() if measured is not None}
