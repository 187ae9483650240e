"""Measure super-resolution systems on a split of one or several datasets.

``bicubic`` is always measured first, on the same pictures: a figure without it says nothing.
Pictures stream through in batches of one shape, so that memory does not grow with the data.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srgan import images, records, storage
from srgan.config import EvaluationConfig
from srgan.errors import DatasetError, ModelError
from srgan.images import Pixels
from srgan.measurement import IDENTITY, Measurement, too_small
from srgan.metrics import METRICS
from srgan.network_config import Scale
from srgan.records import Dataset, Split
from srgan.scores import (
    BASELINE,
    CHAMPION,
    MODEL,
    Evaluation,
    ImageRow,
    SliceScores,
    fair_sample,
    means,
    ranked,
    read_evaluation,
    table,
    write_evaluation,
)
from srgan.slices import Slice, memberships
from srgan.workspace import Workspace

Upscaler = Callable[[Pixels], Pixels]

__all__ = [
    "BASELINE",
    "CHAMPION",
    "MODEL",
    "Evaluation",
    "GalleryItem",
    "ImageRow",
    "Upscaler",
    "bicubic",
    "evaluate",
    "fair_sample",
    "gallery",
    "ranked",
    "read_evaluation",
    "table",
    "write_evaluation",
]

# HR pixels that are in flight at once: 32 faces of 256 px.
_BATCH_PIXELS = 32 * 256 * 256
_BATCH_IMAGES = 32


@dataclass(frozen=True)
class GalleryItem:
    """A picture for the report: LR, what every system makes of it by name, and HR."""

    row: ImageRow
    lr: Pixels
    pictures: Mapping[str, Pixels]
    hr: Pixels


@dataclass(frozen=True)
class Sample:
    """A decoded record of a dataset."""

    dataset: str
    record: records.PairRecord
    lr: Pixels
    hr: Pixels


def evaluate(
    systems: Mapping[str, Upscaler],
    datasets: Sequence[Dataset],
    config: EvaluationConfig,
    *,
    workspace: Workspace,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure ``systems`` and bicubic on ``config.split`` of all ``datasets``, and its slices.

    A system maps uint8 ``[N, H, W, 3]`` to uint8 ``[N, sH, sW, 3]``. ``progress`` is called with
    pictures done and in total. With ``max_images`` each dataset gives its share, from the front of
    its shards, whose order is that of a hash. Raises :class:`DatasetError` for an empty split,
    datasets of different scales or damaged shards, :class:`ModelError` for a system that gives
    pictures of another size or type.
    """
    started = time.perf_counter()
    scale = _common_scale(datasets)
    quotas = _quotas(datasets, config)
    total = sum(quotas)
    everything: dict[str, Upscaler] = {BASELINE: bicubic(scale), **_named(systems)}
    seconds = dict.fromkeys(everything, 0.0)
    measurement = Measurement(config)
    slices, members = memberships(datasets, config.split)
    rows: dict[int, ImageRow] = {}
    smallest = sys.maxsize
    for indices, batch in _batches(_samples(datasets, config.split, quotas, scale, workspace)):
        hr = np.stack([sample.hr for sample in batch])
        lr = np.stack([sample.lr for sample in batch])
        smallest = min(smallest, *hr.shape[1:3])
        pictures: dict[str, Pixels] = {}
        for name, system in everything.items():
            before = time.perf_counter()
            pictures[name] = _enlarge(name, system, lr, hr.shape)
            seconds[name] += time.perf_counter() - before
        figures = measurement.figures(hr, pictures, scale)
        for place, (index, sample) in enumerate(zip(indices, batch, strict=True)):
            rows[index] = ImageRow(
                dataset=sample.dataset,
                key=sample.record.key,
                source=sample.record.source,
                group=sample.record.group,
                slices=members.get((sample.dataset, sample.record.key), ()),
                metrics={name: figures[name][place] for name in everything},
            )
        if progress is not None:
            progress(len(rows), total)
    per_image = [rows[index] for index in sorted(rows)]
    systems_means, not_measured = _means(per_image, smallest, scale, measurement.unavailable)
    measured = list(systems_means[BASELINE])
    return Evaluation(
        split=config.split,
        scale=scale,
        images=len(per_image),
        systems=systems_means,
        slices=_slices(slices, per_image, measured),
        per_image=per_image,
        not_measured=not_measured,
        dataset_digests=[dataset.digest for dataset in datasets],
        seconds=time.perf_counter() - started,
        system_seconds=seconds,
    )


def gallery(
    evaluation: Evaluation,
    systems: Mapping[str, Upscaler],
    datasets: Sequence[Dataset],
    count: int,
    *,
    workspace: Workspace,
) -> list[GalleryItem]:
    """The pictures of :func:`fair_sample`, enlarged once more, from most to least gain."""
    chosen = fair_sample(evaluation, count)
    wanted = {(row.dataset, row.key): row for row in chosen}
    everything: dict[str, Upscaler] = {BASELINE: bicubic(evaluation.scale), **_named(systems)}
    counts = [dataset.manifest.records.get(evaluation.split, 0) for dataset in datasets]
    found: dict[tuple[str, str], GalleryItem] = {}
    samples = _samples(datasets, evaluation.split, counts, evaluation.scale, workspace, wanted)
    for sample in samples:
        place = sample.dataset, sample.record.key
        shape = (1, *sample.hr.shape)
        pictures = {n: _enlarge(n, s, sample.lr[None], shape)[0] for n, s in everything.items()}
        found[place] = GalleryItem(wanted[place], sample.lr, pictures, sample.hr)
        if len(found) == len(wanted):
            break
    if absent := [row for row in chosen if (row.dataset, row.key) not in found]:
        raise DatasetError(
            f"{absent[0].source}: measured, but in none of the datasets given; "
            "give those that were evaluated"
        )
    return [found[row.dataset, row.key] for row in chosen]


def bicubic(scale: int) -> Upscaler:
    """The baseline: Pillow's bicubic, picture by picture."""

    def upscale(batch: Pixels) -> Pixels:
        height, width = batch.shape[1] * scale, batch.shape[2] * scale
        return np.stack([images.resize(lr, width, height) for lr in batch])

    return upscale


def _named(systems: Mapping[str, Upscaler]) -> Mapping[str, Upscaler]:
    if BASELINE in systems:
        raise ValueError(f"the name {BASELINE!r} is taken by the baseline")
    return systems


def _common_scale(datasets: Sequence[Dataset]) -> Scale:
    if not datasets:
        raise DatasetError("no dataset to evaluate on; give at least one")
    scales = {dataset.manifest.config.scale: dataset.place for dataset in datasets}
    if len(scales) > 1:
        named = ", ".join(f"x{scale} ({place})" for scale, place in scales.items())
        raise DatasetError(f"datasets of different scales: {named}; evaluate them one by one")
    return next(iter(scales))


def _quotas(datasets: Sequence[Dataset], config: EvaluationConfig) -> list[int]:
    """How many pictures each dataset gives: all, or its share of ``max_images``."""
    counts = [dataset.manifest.records.get(config.split, 0) for dataset in datasets]
    total = sum(counts)
    if total == 0:
        places = ", ".join(dataset.place for dataset in datasets)
        raise DatasetError(
            f"{places}: the {config.split} split is empty; build with a larger "
            f"{config.split}_fraction or more groups, or evaluate another split"
        )
    limit = min(config.max_images or total, total)
    ends = [limit * sum(counts[: i + 1]) // total for i in range(len(counts))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _samples(
    datasets: Sequence[Dataset],
    split: Split,
    quotas: Sequence[int],
    scale: int,
    workspace: Workspace,
    wanted: Mapping[tuple[str, str], Any] | None = None,
) -> Iterator[Sample]:
    """The first ``quotas[i]`` records of each dataset, decoded; only the ``wanted`` ones."""
    for dataset, quota in zip(datasets, quotas, strict=True):
        left = quota
        for shard in dataset.shards(split):
            if left == 0:
                break
            place = storage.join(dataset.place, shard.name)
            if storage.local_path(place) is not None:
                records.verify_shard(dataset, shard)
            path = storage.local_copy(place, shard.sha256, workspace.cache)
            with path.open("rb") as stream:
                for record in records.read_records(stream, place):
                    if left == 0:
                        break
                    left -= 1
                    if wanted is None or (dataset.digest, record.key) in wanted:
                        yield _decode(dataset, record, scale)


def _decode(dataset: Dataset, record: records.PairRecord, scale: int) -> Sample:
    limit = dataset.manifest.config.max_pixels
    try:
        lr = images.decode(record.lr, max_pixels=limit)
        hr = images.decode(record.hr, max_pixels=limit)
    except images.ImageRejectedError as error:
        raise DatasetError(f"{dataset.place}: {record.source}: {error}; build it again") from None
    expected = lr.shape[0] * scale, lr.shape[1] * scale
    if hr.shape[:2] != expected or min(expected) <= 2 * scale:
        raise DatasetError(
            f"{dataset.place}: {record.source}: HR {hr.shape[1]}x{hr.shape[0]} and LR "
            f"{lr.shape[1]}x{lr.shape[0]} are no pair of scale {scale} that can be measured"
        )
    return Sample(dataset.digest, record, lr, hr)


def _batches(samples: Iterator[Sample]) -> Iterator[tuple[list[int], list[Sample]]]:
    """Pictures of one shape together, with their places in the stream."""
    waiting: dict[tuple[int, ...], tuple[list[int], list[Sample]]] = {}
    for index, sample in enumerate(samples):
        shape = sample.hr.shape
        indices, batch = waiting.setdefault(shape, ([], []))
        indices.append(index)
        batch.append(sample)
        size = max(1, min(_BATCH_IMAGES, _BATCH_PIXELS // math.prod(shape[:2])))
        if len(batch) == size:
            yield waiting.pop(shape)
    yield from waiting.values()


def _enlarge(name: str, system: Upscaler, lr: Pixels, expected: tuple[int, ...]) -> Pixels:
    pictures = np.asarray(system(lr))
    if pictures.dtype != np.uint8 or pictures.shape != expected:
        raise ModelError(
            f"{name}: makes {pictures.dtype} {list(pictures.shape)} of {list(lr.shape)}, the "
            f"dataset needs uint8 {list(expected)}; evaluate it on a dataset of its own scale"
        )
    return pictures


def _means(
    rows: Sequence[ImageRow], smallest: int, scale: int, unavailable: Mapping[str, str]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Means over all pictures, and the reasons of the metrics that were not measured."""
    not_measured = {**too_small(smallest, scale), **unavailable}
    faceless = f"none of the {len(rows)} pictures shows a face from the front"
    for metric in IDENTITY:
        if not any(metric in row.metrics[BASELINE] for row in rows):
            not_measured.setdefault(metric, faceless)
    return means(rows, [name for name in METRICS if name not in not_measured]), not_measured


def _slices(
    slices: Sequence[Slice], rows: Sequence[ImageRow], measured: Sequence[str]
) -> dict[str, SliceScores]:
    """Means over the parts of what was measured; a part without pictures is left out."""
    found = {part: [row for row in rows if part.name in row.slices] for part in slices}
    return {
        part.name: SliceScores(title=part.title, images=len(held), systems=means(held, measured))
        for part, held in found.items()
        if held
    }
