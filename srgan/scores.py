"""What an evaluation found: its figures, the ranking of the pictures, tables and files."""

from __future__ import annotations

import csv
import io

from pydantic import ValidationError

from srgan import storage
from srgan.config import canonical_json, explain
from srgan.errors import ModelError
from srgan.frozen import Frozen
from srgan.metrics import METRICS
from srgan.network_config import Scale
from srgan.records import Split

BASELINE = "bicubic"
MODEL = "model"
PRETRAIN = "pretrain"
CHAMPION = "champion"
EVALUATION = "evaluation.json"
PER_IMAGE = "per_image.csv"


class ImageRow(Frozen):
    """One picture: where it comes from and every system's figures on it."""

    dataset: str
    key: str
    source: str
    group: str
    metrics: dict[str, dict[str, float]]


class Evaluation(Frozen):
    """What was measured. ``systems`` and ``ImageRow.metrics`` map system to metric to value.

    ``systems`` holds the means over the pictures, ``bicubic`` first; ``not_measured`` says of each
    missing metric why; ``system_seconds`` is the time each system took to enlarge.
    """

    split: Split
    scale: Scale
    images: int
    systems: dict[str, dict[str, float]]
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


def ranked(
    evaluation: Evaluation, *, system: str | None = None, metric: str | None = None
) -> list[ImageRow]:
    """Pictures from the most to the least gain of a system over bicubic; ties by key.

    ``system`` is :attr:`Evaluation.subject` and ``metric`` :attr:`Evaluation.target` by default.
    """
    subject, target = system or evaluation.subject, metric or evaluation.target
    return sorted(
        evaluation.per_image,
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
        for row in evaluation.per_image
    )


def table(evaluation: Evaluation) -> list[list[str]]:
    """Rows of text for printing: a heading, then each metric; ``*`` marks the best value."""
    names = list(evaluation.systems)
    rows = [["metric", "better", *names]]
    for name in evaluation.measured:
        metric = METRICS[name]
        shown = [metric.show(evaluation.systems[system][name]) for system in names]
        top = best_system(evaluation, name)
        marked = [f"{s} *" if n == top else s for n, s in zip(names, shown, strict=True)]
        rows.append([name, "higher" if metric.higher_is_better else "lower", *marked])
    for name, reason in evaluation.not_measured.items():
        rows.append([name, "", f"not measured, because {reason}", *[""] * (len(names) - 1)])
    return rows


def best_system(evaluation: Evaluation, metric: str) -> str:
    """The system with the best mean; of equal ones the first."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(evaluation.systems, key=lambda name: sign * evaluation.systems[name][metric])


def per_image_csv(evaluation: Evaluation) -> bytes:
    """``per_image.csv``: a row a picture, a column ``system/metric`` for every figure.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    figures = [(s, m) for s in evaluation.systems for m in evaluation.measured]
    heading = [f"{system}/{metric}" for system, metric in figures]
    writer.writerow(["dataset", "key", "source", "group", *heading])
    for row in evaluation.per_image:
        texts = [_inert(t) for t in (row.dataset, row.key, row.source, row.group)]
        writer.writerow([*texts, *(repr(row.metrics[s][m]) for s, m in figures)])
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_evaluation(folder: str, evaluation: Evaluation) -> None:
    """Write ``per_image.csv``, then ``evaluation.json`` into a folder, each atomically."""
    storage.write_bytes(storage.join(folder, PER_IMAGE), per_image_csv(evaluation))
    data = canonical_json(evaluation.model_dump(mode="json")) + b"\n"
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
