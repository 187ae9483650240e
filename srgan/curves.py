"""``curves.png``: losses, validation and learning rate of a run over its steps.

The stages lie side by side on one axis and every panel has its own scale: losses and learning rate
are logarithmic. Each value that was logged is drawn faintly, and over it what it is on the whole.
Where a guard stepped in there is a red line through all panels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan import storage
from srgan.metricslog import read_metrics
from srgan.panels import LEFT, Floats, label_ends, log_scale, smoothed, stacked_axes
from srgan.runs import STAGES, Stage

_STAGES = {"pretrain": "pre-training", "gan": "GAN"}


@dataclass(frozen=True)
class _Panel:
    """Which metrics are drawn together: by name, or all that begin so. ``height`` in inches."""

    title: str
    names: tuple[str, ...]
    logarithmic: bool
    height: float


_PANELS = (
    _Panel("Generator loss", ("g/content", "g/adversarial", "g/total"), True, 2.7),
    _Panel("Discriminator loss", ("d/real", "d/fake", "d/r1"), True, 1.6),
    _Panel("Taken for real by the discriminator", ("d/p_real", "d/p_fake"), False, 1.2),
    _Panel("PSNR on val, dB (higher is closer)", ("val/psnr_y",), False, 1.6),
    _Panel("LPIPS on val (lower is closer)", ("val/lpips_alex",), False, 1.6),
    _Panel("Learning rate", ("learning_rate",), True, 0.9),
)
_COLOURS = {
    "g/content": "#2563eb",
    "g/total": "#0f172a",
    "g/adversarial": "#d97706",
    "d/real": "#059669",
    "d/fake": "#dc2626",
    "d/p_real": "#059669",
    "d/p_fake": "#dc2626",
    "val/psnr_y": "#2563eb",
    "val/lpips_alex": "#7c3aed",
    "learning_rate": "#475569",
}
_OTHERS = ("#0891b2", "#be185d", "#65a30d", "#9333ea")
# What a guard did, in short; figures that go with it say nothing in a picture.
_EVENTS = {
    "guard/returns": "went back to here",
    "guard/discriminator_collapse": "D of no use",
    "guard/failed_at": "",
    "guard/slow_down": "",
}
_INK, _SOFT, _GRID, _SHADE, _ALARM = "#0f172a", "#64748b", "#e2e8f0", "#f6f7fb", "#dc2626"
# Fewer values than this are shown as they are.
_MANY = 30


@dataclass(frozen=True)
class _Span:
    """Where a stage lies on the common axis."""

    stage: Stage
    begin: int
    end: int


def draw(metrics: Path, target: Path) -> None:
    """Write the picture of a ``metrics.jsonl``; also of one with nothing in it yet."""
    # The object interface: pyplot keeps state and picks a window system.
    from matplotlib.figure import Figure

    entries = list(read_metrics(metrics))
    spans = _spans(entries)
    panels = [panel for panel in _PANELS if _names(entries, panel)] or list(_PANELS[:1])
    figure = Figure(facecolor="white")
    axes = stacked_axes(figure, [panel.height for panel in panels])
    for axis, panel in zip(axes, panels, strict=True):
        _frame(axis, panel.title, spans)
        lines = [
            line
            for place, name in enumerate(_names(entries, panel))
            if (line := _plot(axis, entries, spans, name, place, panel.logarithmic)) is not None
        ]
        if panel.logarithmic:
            log_scale(axis)
        elif "d/p_real" in panel.names:
            axis.set_ylim(-0.03, 1.03)
        label_ends(axis, lines)
        _mark_guards(axis, entries, spans, named=axis is axes[0])
    _headings(figure, axes[0], spans, target.absolute().parent.name)
    axes[-1].set_xlabel("step", color=_SOFT)
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if spans:
        axes[-1].set_xlim(0, max(1, spans[-1].end))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    storage.write_bytes(str(target), buffer.getvalue())


def _spans(entries: Sequence[Mapping[str, Any]]) -> list[_Span]:
    spans: list[_Span] = []
    begin = 0
    for stage in STAGES:
        steps = [entry["step"] for entry in entries if entry["stage"] == stage]
        if steps:
            spans.append(_Span(stage, begin, begin + max(steps)))
            begin += max(steps)
    return spans


def _names(entries: Sequence[Mapping[str, Any]], panel: _Panel) -> list[str]:
    """Metrics of a panel that were logged, in the order of their colours."""
    found = {name for entry in entries for name in entry if name.startswith(panel.names)}
    known = [name for name in _COLOURS if name in found]
    return known + sorted(found - set(known))


def _series(entries: Sequence[Mapping[str, Any]], stage: Stage, name: str) -> tuple[Floats, Floats]:
    """Steps and values within a stage. Of a step that was done again the last value counts."""
    values = {e["step"]: e[name] for e in entries if e["stage"] == stage and name in e}
    steps = sorted(values)
    return np.array(steps, float), np.array([values[step] for step in steps], float)


def _plot(
    axis: Any,
    entries: Sequence[Mapping[str, Any]],
    spans: Sequence[_Span],
    name: str,
    place: int,
    logarithmic: bool,
) -> tuple[str, str, float] | None:
    """Draw a metric over all stages; for the line that ends the run its text, colour and value."""
    colour = _COLOURS.get(name, _OTHERS[place % len(_OTHERS)])
    last: tuple[str, str, float] | None = None
    for span in spans:
        steps, values = _series(entries, span.stage, name)
        shown = np.isfinite(values) & ((values > 0) | (not logarithmic))
        steps, values = steps[shown] + span.begin, values[shown]
        if name == "g/total" and _same(values, _series(entries, span.stage, "g/content")[1]):
            # Without an adversarial part it would only hide the content loss.
            continue
        if not len(values):
            continue
        sparse = len(values) < _MANY
        if name == "learning_rate" or name.startswith("val/") or sparse:
            smooth = values
        else:
            axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            smooth = np.exp(smoothed(np.log(values))) if logarithmic else smoothed(values)
        axis.plot(
            steps,
            smooth,
            color=colour,
            linewidth=1.7,
            linestyle=(0, (4, 2)) if name == "g/total" else "-",
            marker="o" if name.startswith("val/") and sparse else None,
            markersize=3.2,
            solid_capstyle="round",
        )
        if span is spans[-1]:
            end = float(smooth[-1])
            last = f"{_label(name)} {_number(name, end)}".strip(), colour, end
    return last


def _same(one: Floats, other: Floats) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=1e-3))


def _frame(axis: Any, title: str, spans: Sequence[_Span]) -> None:
    axis.set_title(title, loc="left", fontsize=10, color=_INK, pad=6)
    axis.grid(color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_SOFT, labelsize=9, length=0)
    for side, spine in axis.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#cbd5e1")
    for span in spans:
        if span.stage == "gan" and span.end > span.begin:
            axis.axvspan(span.begin, span.end, color=_SHADE, zorder=0, linewidth=0)
        if span.begin:
            axis.axvline(span.begin, color="#94a3b8", linestyle=(0, (4, 3)), linewidth=1)


def _label(name: str) -> str:
    known = {
        "d/real": "HR",
        "d/fake": "SR",
        "d/p_real": "HR",
        "d/p_fake": "SR",
        # Alone in their panels, whose titles say it.
        "val/psnr_y": "",
        "val/lpips_alex": "",
        "learning_rate": "",
    }
    return known.get(name, name.rpartition("/")[2].replace("_", " "))


def _number(name: str, value: float) -> str:
    if name == "val/psnr_y":
        return f"{value:.2f} dB"
    return f"{value:.2f}" if name.startswith("d/p_") else f"{value:.3g}"


def _mark_guards(
    axis: Any, entries: Sequence[Mapping[str, Any]], spans: Sequence[_Span], *, named: bool
) -> None:
    """Lines where a guard stepped in: metrics that begin with ``guard/``."""
    begin = {span.stage: span.begin for span in spans}
    for entry in entries:
        events = [name for name in entry if name.startswith("guard/")]
        texts = [_EVENTS.get(name, name.removeprefix("guard/")) for name in events]
        if not events:
            continue
        step = begin[entry["stage"]] + entry["step"]
        axis.axvline(step, color=_ALARM, linewidth=1, alpha=0.75)
        if named:
            axis.annotate(
                ", ".join(text for text in texts if text).replace("_", " "),
                (step, 0.97),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="center",
                va="top",
                fontsize=8,
                color=_ALARM,
                bbox={"boxstyle": "square,pad=0.25", "facecolor": "white", "edgecolor": "none"},
            )


def _headings(figure: Any, top: Any, spans: Sequence[_Span], run: str) -> None:
    """The run's name, and the name of each stage where it begins."""
    figure.text(LEFT, 1 - 0.3 / figure.get_figheight(), run, fontsize=13, color=_INK, weight="bold")
    for span in spans:
        if span.end > span.begin:
            top.annotate(
                f"{_STAGES[span.stage]}, {span.end - span.begin:,} steps",
                (span.begin, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0 if span is spans[0] else 5, 25),
                textcoords="offset points",
                fontsize=10,
                color=_SOFT,
            )
            if span.begin:
                # The line between the stages goes up to their names.
                top.annotate(
                    "",
                    (span.begin, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 36),
                    textcoords="offset points",
                    arrowprops={"arrowstyle": "-", "color": "#94a3b8", "linestyle": (0, (4, 3))},
                )
