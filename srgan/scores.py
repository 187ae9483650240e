"""What an evaluation found: its figures, the ranking of the pictures, tables and files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field, ValidationError

from srgan import storage
from srgan.config import explain
from srgan.errors import ModelError
from srgan.frozen import Frozen
from srgan.metrics import METRICS
from srgan.network_config import Scale
from srgan.records import Split

BASELINE = "bicubic"
MODEL = "model"
PRETRAIN = "pretrain"
CHAMPION = "champion"
Systems = Mapping[str, Mapping[str, float]]
EVALUATION = "evaluation.json"
PER_IMAGE = "per_image.csv"


class ImageRow(Frozen):
    """One picture: where it comes from, the slices it is in, and every system's figures on it.

    Identity is missing where no face was found.
    """

    dataset: str
    key: str
    source: str
    group: str
    slices: tuple[str, ...] = ()
    metrics: dict[str, dict[str, float]]


class SliceScores(Frozen):
    """Means over a part of the pictures. ``title`` continues "on …"."""

    title: str
    images: int
    systems: dict[str, dict[str, float]]


class Evaluation(Frozen):
    """What was measured. ``systems`` and ``ImageRow.metrics`` map system to metric to value.

    ``systems`` holds the means over the pictures, ``bicubic`` first, and ``slices`` those over
    parts of them; ``not_measured`` says of each missing metric why; ``system_seconds`` is the time
    each system took to enlarge.
    """

    split: Split
    scale: Scale
    images: int
    systems: dict[str, dict[str, float]]
    slices: dict[str, SliceScores] = Field(default_factory=dict)
    per_image: list[ImageRow]
    not_measured: dict[str, str]
    dataset_digests: list[str]
    seconds: float
    system_seconds: dict[str, float]

    @property
    def measured(self) -> list[str]:
        """Names of the metrics that were measured, in their usual order."""
        return [name for name in METRICS if name in self.systems[BASELINE]]

    @property
    def target(self) -> str:
        """The metric that ranks pictures and systems: perceptual where it was measured."""
        return "lpips_alex" if "lpips_alex" in self.systems[BASELINE] else "psnr_y"

    @property
    def subject(self) -> str:
        """The system that is judged: ``model``, else the last one."""
        return MODEL if MODEL in self.systems else list(self.systems)[-1]

    def gain(self, metric: str, system: str, over: str = BASELINE) -> float:
        """How much better ``system`` is than ``over`` in the mean; negative: worse."""
        return METRICS[metric].gain(self.systems[system][metric], self.systems[over][metric])


def means(rows: Sequence[ImageRow], metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """System to metric to mean over the rows that have it; without any, there is no mean."""
    found: dict[str, dict[str, float]] = {system: {} for system in rows[0].metrics}
    for system, figures in found.items():
        for metric in metrics:
            values = [row.metrics[system][metric] for row in rows if metric in row.metrics[system]]
            if values:
                figures[metric] = math.fsum(values) / len(values)
    return found


def measured_on(evaluation: Evaluation, metric: str) -> list[ImageRow]:
    """The pictures that have a figure of ``metric``: all of them but for identity."""
    return [row for row in evaluation.per_image if metric in row.metrics[BASELINE]]


def ranked(
    evaluation: Evaluation, *, system: str | None = None, metric: str | None = None
) -> list[ImageRow]:
    """Pictures from the most to the least gain of a system over bicubic; ties by key.

    ``system`` is :attr:`Evaluation.subject` and ``metric`` :attr:`Evaluation.target` by default.
    """
    subject, target = system or evaluation.subject, metric or evaluation.target
    return sorted(
        measured_on(evaluation, target),
        key=lambda row: (-image_gain(row, target, subject), row.key, row.dataset),
    )


def image_gain(row: ImageRow, metric: str, system: str) -> float:
    """How much better ``system`` is than bicubic on this picture; negative: worse."""
    return METRICS[metric].gain(row.metrics[system][metric], row.metrics[BASELINE][metric])


def best_images(evaluation: Evaluation, count: int) -> list[ImageRow]:
    """The pictures with the most gain, the best one first."""
    return ranked(evaluation)[:count]


def worst_images(evaluation: Evaluation, count: int) -> list[ImageRow]:
    """The pictures with the least gain, the worst one first."""
    return ranked(evaluation)[::-1][:count]


def fair_sample(evaluation: Evaluation, count: int) -> list[ImageRow]:
    """``count`` pictures evenly spaced by gain, from the best one to the worst one, both in it."""
    rows = ranked(evaluation)
    if count >= len(rows):
        return rows
    if count == 1:
        return [rows[len(rows) // 2]]
    return [rows[round(i * (len(rows) - 1) / (count - 1))] for i in range(count)]


def wins(evaluation: Evaluation, metric: str, system: str, over: str = BASELINE) -> int:
    """On how many pictures ``system`` is better than ``over``."""
    better = METRICS[metric].gain
    return sum(
        better(row.metrics[system][metric], row.metrics[over][metric]) > 0
        for row in measured_on(evaluation, metric)
    )


def table(evaluation: Evaluation) -> list[list[str]]:
    """Rows of text for printing: a heading, each metric, then the slices'; ``*`` marks the best."""
    names = list(evaluation.systems)
    rows = [["metric", "better", *names], *_metric_rows(evaluation.systems)]
    for name, part in evaluation.slices.items():
        rows += [[f"{name}/{row[0]}", *row[1:]] for row in _metric_rows(part.systems)]
    for name, reason in evaluation.not_measured.items():
        rows.append([name, "", f"not measured, because {reason}", *[""] * (len(names) - 1)])
    return rows


def _metric_rows(systems: Systems) -> Iterator[list[str]]:
    for name in (name for name in METRICS if name in systems[BASELINE]):
        metric, top = METRICS[name], marked_system(systems, name)
        shown = [
            metric.show(values[name]) + (" *" if system == top else "")
            for system, values in systems.items()
        ]
        yield [name, "higher" if metric.higher_is_better else "lower", *shown]


def best_system(systems: Systems, metric: str) -> str:
    """The system with the best mean; of equal ones the first."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(systems, key=lambda name: sign * systems[name][metric])


def marked_system(systems: Systems, metric: str) -> str | None:
    """As :func:`best_system`; ``None`` where all look the same in the digits that are shown."""
    show = METRICS[metric].show
    alike = len(systems) > 1 and len({show(values[metric]) for values in systems.values()}) == 1
    return None if alike else best_system(systems, metric)


def per_image_csv(evaluation: Evaluation) -> bytes:
    """``per_image.csv``: a row a picture, a column ``system/metric`` for every figure.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = [(s, m) for s in evaluation.systems for m in evaluation.measured]
    heading = [f"{system}/{metric}" for system, metric in figures]
    writer.writerow(["dataset", "key", "source", "group", "slices", *heading])
    for row in evaluation.per_image:
        texts = [_inert(t) for t in (row.dataset, row.key, row.source, row.group)]
        values = [row.metrics[s].get(m) for s, m in figures]
        shown = ["" if value is None else repr(value) for value in values]
        writer.writerow([*texts, " ".join(row.slices), *shown])
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_evaluation(folder: str, evaluation: Evaluation) -> None:
    """Write ``per_image.csv``, then ``evaluation.json`` into a folder, each atomically."""
    storage.write_bytes(storage.join(folder, PER_IMAGE), per_image_csv(evaluation))
    # Keys stay in their order: that of the systems is the order in which they are shown.
    text = json.dumps(evaluation.model_dump(mode="json"), ensure_ascii=False)
    data = text.encode("utf-8", "backslashreplace") + b"\n"
    storage.write_bytes(storage.join(folder, EVALUATION), data)


def read_evaluation(folder: str) -> Evaluation:
    """What :func:`write_evaluation` wrote; :class:`ModelError` when it is damaged."""
    place = storage.join(folder, EVALUATION)
    try:
        return Evaluation.model_validate_json(storage.read_bytes(place))
    except ValidationError as error:
        raise ModelError(f"{place}: damaged: {explain(error)}; evaluate again") from None


def _inert(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
