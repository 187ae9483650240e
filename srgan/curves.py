"""``curves.png``: the losses and the validation figures of a run over its steps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srgan import storage
from srgan.metricslog import read_metrics
from srgan.runs import STAGES, Stage

_TITLES = {"pretrain": "pre-training", "gan": "GAN"}
_COLOURS = {
    "g/content": "#2563eb",
    "g/total": "#0f172a",
    "g/adversarial": "#d97706",
    "d/real": "#059669",
    "d/fake": "#dc2626",
    "val/psnr_y": "#2563eb",
    "val/lpips_alex": "#d97706",
}


def draw(metrics: Path, target: Path) -> None:
    """Losses on a log scale above, validation below; the stages side by side and marked."""
    # The object interface: pyplot keeps state and picks a window system.
    from matplotlib.figure import Figure

    entries = list(read_metrics(metrics))
    offsets, boundaries = _offsets(entries)
    figure = Figure(figsize=(11, 6.6), layout="constrained", facecolor="white")
    losses, validation = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for name in ("g/content", "g/total", "g/adversarial", "d/real", "d/fake"):
        _plot(losses, entries, offsets, name, smooth=True)
    losses.set_yscale("log")
    losses.set_ylabel("loss")
    _plot(validation, entries, offsets, "val/psnr_y", marker=True)
    validation.set_ylabel("PSNR-Y on val, dB", color=_COLOURS["val/psnr_y"])
    validation.set_xlabel("step")
    if any("val/lpips_alex" in entry for entry in entries):
        perception = validation.twinx()
        _plot(perception, entries, offsets, "val/lpips_alex", marker=True)
        perception.set_ylabel("LPIPS on val (lower: closer)", color=_COLOURS["val/lpips_alex"])
        perception.spines[["top"]].set_visible(False)
    for axis in (losses, validation):
        axis.grid(color="#e2e8f0", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        for stage, begin, end in boundaries:
            if begin:
                axis.axvline(begin, color="#94a3b8", linestyle=(0, (4, 3)), linewidth=1)
            if axis is losses and end > begin:
                axis.annotate(
                    _TITLES[stage],
                    ((begin + end) / 2, 1.01),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    color="#475569",
                )
    if losses.get_legend_handles_labels()[0]:
        # Outside: inside it would lie on the curves of one stage or the other.
        figure.legend(frameon=False, loc="outside upper center", ncols=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    storage.write_bytes(str(target), buffer.getvalue())


def _offsets(
    entries: Sequence[dict[str, Any]],
) -> tuple[dict[Stage, int], list[tuple[Stage, int, int]]]:
    """First step of each stage on the common axis, and (stage, begin, end)."""
    offsets: dict[Stage, int] = {}
    boundaries: list[tuple[Stage, int, int]] = []
    begin = 0
    for stage in STAGES:
        steps = [entry["step"] for entry in entries if entry["stage"] == stage]
        if steps:
            offsets[stage] = begin
            boundaries.append((stage, begin, begin + max(steps)))
            begin += max(steps)
    return offsets, boundaries


def _plot(
    axis: Any,
    entries: Sequence[dict[str, Any]],
    offsets: dict[Stage, int],
    name: str,
    *,
    smooth: bool = False,
    marker: bool = False,
) -> None:
    label: str | None = name
    for stage, offset in offsets.items():
        points = [
            (e["step"] + offset, e[name]) for e in entries if e["stage"] == stage and name in e
        ]
        if not points:
            continue
        steps, values = [p[0] for p in points], [p[1] for p in points]
        colour = _COLOURS[name]
        if smooth and len(values) > 20:
            axis.plot(steps, values, color=colour, alpha=0.22, linewidth=0.8)
            values = _smoothed(values)
        axis.plot(
            steps,
            values,
            color=colour,
            linewidth=1.6,
            label=label,
            marker="o" if marker else None,
            markersize=3.5,
        )
        label = None


def _smoothed(values: Sequence[float], weight: float = 0.8) -> list[float]:
    """Exponential mean, drawn over the values that it smooths."""
    smooth, mean = [], values[0]
    for value in values:
        mean = weight * mean + (1 - weight) * value
        smooth.append(mean)
    return smooth
