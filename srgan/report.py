"""The report of a run: one HTML file that needs nothing else and asks no server for anything."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srgan import storage
from srgan.evaluation import GalleryItem
from srgan.images import Pixels
from srgan.metrics import METRICS
from srgan.records import Dataset
from srgan.scores import (
    BASELINE,
    CHAMPION,
    MODEL,
    Evaluation,
    Systems,
    image_gain,
    marked_system,
    measured_on,
    ranked,
    wins,
)
from srgan.verdict import verdict

REPORT = "report.html"
_LABELS = {
    BASELINE: "Bicubic",
    "pretrain": "Pre-trained",
    MODEL: "Model",
    CHAMPION: "Champion",
}
_PHRASES = {MODEL: "the model", CHAMPION: "the champion", BASELINE: "bicubic"}
# psnr_rgb says much the same of a single picture as psnr_y; per_image.csv has it.
_SHORT = {
    "psnr_y": "PSNR",
    "ssim_y": "SSIM",
    "lpips_alex": "LPIPS",
    "identity_distance": "Identity",
}
# More bars than this are no longer told apart.
_BARS = 200


@dataclass(frozen=True)
class RunSummary:
    """What the report says of the run beside its figures.

    ``notes`` are what a reader must know, e.g. that a perceptual loss was left out; ``facts`` are
    short pairs such as ``{"Training": "12 min"}``; ``curves`` and ``progress`` are picture files,
    left out when they do not exist; ``version`` is the registered model.
    """

    name: str
    run_id: str
    config: str
    datasets: Sequence[Dataset] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    curves: Path | None = None
    progress: Path | None = None
    version: str | None = None


def write_report(
    path: Path,
    evaluation: Evaluation,
    gallery: Sequence[GalleryItem],
    *,
    title: str,
    run: RunSummary,
) -> None:
    """Write the report atomically; every picture is inside it as a data URI."""
    html = render_report(evaluation, gallery, title=title, run=run)
    storage.write_bytes(str(path), html.encode("utf-8", "backslashreplace"))


def render_report(
    evaluation: Evaluation, gallery: Sequence[GalleryItem], *, title: str, run: RunSummary
) -> str:
    """The report's HTML. File names and notes are escaped: they may come from anywhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("srgan"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ranks = {(row.dataset, row.key): i for i, row in enumerate(ranked(evaluation), start=1)}
    shown = [ranks[item.row.dataset, item.row.key] for item in gallery]
    examples = [_example(evaluation, item, rank) for item, rank in zip(gallery, shown, strict=True)]
    return environment.get_template(REPORT).render(
        title=title,
        run=run,
        evaluation=evaluation,
        verdict=verdict(evaluation),
        headline_figures=[
            _headline_figure(evaluation, n) for n in reversed(_chart_metrics(evaluation))
        ],
        facts=_facts(evaluation, gallery, run),
        labels=[_label(name) for name in evaluation.systems],
        rows=[_metric_row(evaluation, name) for name in evaluation.measured],
        slices=[_slice(evaluation, name) for name in evaluation.slices],
        metrics=METRICS,
        subject=_PHRASES.get(evaluation.subject, evaluation.subject),
        charts=[_chart(evaluation, name, shown) for name in _chart_metrics(evaluation)],
        examples=examples,
        leading=examples[len(examples) // 2] if len(examples) > 2 else None,
        curves=_file_uri(run.curves),
        progress=_file_uri(run.progress),
        last_frame=_last_frame_uri(run.progress),
        lineage=_lineage(run),
        degradations=sorted({d.manifest.config.degradation for d in run.datasets}),
    )


def _facts(
    evaluation: Evaluation, gallery: Sequence[GalleryItem], run: RunSummary
) -> dict[str, str]:
    sizes = {(_size(item.lr), _size(item.hr)) for item in gallery}
    scale = f"×{evaluation.scale}"
    if len(sizes) == 1:
        lr, hr = next(iter(sizes))
        scale += f", {lr} to {hr}"
    return {
        "Measured on": f"{evaluation.images:,} pictures of the {evaluation.split} split",
        "Enlargement": scale,
        **run.facts,
        **({"Version": run.version} if run.version else {}),
    }


def _headline_figure(evaluation: Evaluation, name: str) -> dict[str, str]:
    """The gain over bicubic in large print: in dB, or as a share of bicubic's distance."""
    metric, gain = METRICS[name], evaluation.gain(name, evaluation.subject)
    base = evaluation.systems[BASELINE][name]
    if metric.higher_is_better:
        text, meaning = (
            _signed(gain, metric.digits, metric.unit),
            "closeness to the original, pixel by pixel",
        )
    else:
        text = _signed(-100 * gain / (base or 1), 0, "") + "%"
        meaning = "perceptual distance, lower is better"
    return {"text": text, "meaning": meaning, "name": name, "tone": _tone(gain)}


def _metric_row(evaluation: Evaluation, name: str) -> dict[str, Any]:
    return {
        **_means_row(evaluation.systems, name, evaluation.subject),
        # Of what is either so or not, most pictures are alike with every system.
        "wins": None if name == "identity_kept" else wins(evaluation, name, evaluation.subject),
        "of": len(measured_on(evaluation, name)),
    }


def _slice(evaluation: Evaluation, name: str) -> dict[str, Any]:
    part = evaluation.slices[name]
    measured = [metric for metric in METRICS if metric in part.systems[BASELINE]]
    return {
        "title": part.title,
        "images": part.images,
        "rows": [_means_row(part.systems, metric, evaluation.subject) for metric in measured],
    }


def _means_row(systems: Systems, name: str, subject: str) -> dict[str, Any]:
    metric, best = METRICS[name], marked_system(systems, name)
    gain = metric.gain(systems[subject][name], systems[BASELINE][name])
    return {
        "metric": metric,
        "cells": [
            {"label": _label(s), "text": metric.show(values[name]), "best": s == best}
            for s, values in systems.items()
        ],
        "gain": _signed(gain, metric.digits, metric.unit),
        "tone": _tone(gain),
    }


def _chart_metrics(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys([evaluation.target, "psnr_y"]))


def _chart(evaluation: Evaluation, name: str, shown: Sequence[int]) -> dict[str, Any]:
    """Every picture's gain as a bar, best first, in a box of 1000 x 200 with the zero line."""
    metric, subject = METRICS[name], evaluation.subject
    rows = ranked(evaluation, metric=name)
    gains = [image_gain(row, name, subject) for row in rows]
    picked = np.unique(np.linspace(0, len(gains) - 1, min(_BARS, len(gains))).round().astype(int))
    top, bottom = max(*gains, 0.0), min(*gains, 0.0)
    unit = 200 / ((top - bottom) or 1.0)
    width = 1000 / len(picked)
    bars = [
        {
            "x": round(i * width + width * 0.12, 2),
            "y": round((top - max(gains[k], 0.0)) * unit, 2),
            "width": round(width * 0.76, 2),
            "height": round(max(abs(gains[k]) * unit, 0.5), 2),
            "tone": _tone(gains[k]),
        }
        for i, k in enumerate(picked)
    ]
    marks = [round((rank - 0.5) / len(gains) * 1000, 2) for rank in shown]
    return {
        "metric": metric,
        "bars": bars,
        "zero": round(top * unit, 2),
        "marks": marks if name == evaluation.target else [],
        "best": _signed(gains[0], metric.digits, metric.unit),
        "middle": _signed(float(np.median(gains)), metric.digits, metric.unit),
        "worst": _signed(gains[-1], metric.digits, metric.unit),
        "better": sum(gain > 0 for gain in gains),
        "count": len(gains),
    }


def _example(evaluation: Evaluation, item: GalleryItem, rank: int) -> dict[str, Any]:
    row, target = item.row, METRICS[evaluation.target]
    gain = image_gain(row, target.name, evaluation.subject)
    panels = [_panel("input", "Input", item.lr, "Small input picture", [], pixelated=True)]
    for system, pixels in item.pictures.items():
        label = _label(system)
        figures = []
        for name in (n for n in evaluation.measured if n in _SHORT and n in row.metrics[system]):
            metric, values = METRICS[name], {s: m[name] for s, m in row.metrics.items()}
            top = (max if metric.higher_is_better else min)(values.values())
            best = values[system] == top
            figures.append(
                {
                    "name": name,
                    "short": _SHORT[name],
                    "text": metric.show(values[system]),
                    "best": best,
                }
            )
        panels.append(_panel(system, label, pixels, f"Enlarged by: {label}", figures))
    panels.append(_panel("original", "Original", item.hr, "Original picture", []))
    last = evaluation.images
    place = {1: "Most gain", last: "Least gain"}.get(rank, f"Rank {rank:,}")
    return {
        "place": place,
        "of": f"of {last:,}",
        "source": row.source,
        "gain": _signed(gain, target.digits, target.unit),
        "metric": target.name,
        "tone": _tone(gain),
        "panels": panels,
    }


def _panel(
    kind: str,
    label: str,
    pixels: Pixels,
    alt: str,
    figures: list[dict[str, Any]],
    *,
    pixelated: bool = False,
) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {
        "kind": kind,
        "label": label,
        "uri": _png_uri(pixels),
        "alt": f"{alt}, {width} by {height} pixels",
        "width": width,
        "height": height,
        "size": _size(pixels),
        "figures": figures,
        "pixelated": pixelated,
    }


def _lineage(run: RunSummary) -> list[dict[str, Any]]:
    """From the image sets to the version: steps with a kind and (name, detail) entries."""
    steps: list[dict[str, Any]] = []
    if run.datasets:
        image_sets = [(d.manifest.image_set, f"{d.manifest.inputs:,} files") for d in run.datasets]
        steps.append({"kind": "Image sets", "entries": image_sets})
        built = [(storage.base_name(d.place), f"sha256 {d.digest[:16]}…") for d in run.datasets]
        steps.append({"kind": "Datasets", "entries": built})
    steps.append({"kind": "Run", "entries": [(run.name, run.run_id)]})
    if run.version:
        steps.append({"kind": "Registered version", "entries": [(run.version, "")]})
    return steps


def _label(system: str) -> str:
    return _LABELS.get(system, system)


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} × {pixels.shape[0]} px"


def _tone(gain: float) -> str:
    return "good" if gain > 0 else "bad" if gain < 0 else "even"


def _signed(value: float, digits: int, unit: str) -> str:
    sign = "+" if round(value, digits) > 0 else "−" if round(value, digits) < 0 else "±"
    return f"{sign}{abs(value):.{digits}f}{' ' + unit if unit else ''}"


def _png_uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return _data_uri("image/png", buffer.getvalue())


def _file_uri(path: Path | None) -> str | None:
    if path is None or not path.is_file():
        return None
    kind = {".webp": "image/webp", ".gif": "image/gif"}.get(path.suffix, "image/png")
    return _data_uri(kind, path.read_bytes())


def _last_frame_uri(path: Path | None) -> str | None:
    """The last frame of an animation, for readers who asked for less motion."""
    if path is None or not path.is_file():
        return None
    with Image.open(path) as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        return _png_uri(np.asarray(image.convert("RGB")))


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
