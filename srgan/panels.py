"""Parts of a chart of several panels below each other: axes, scales, smooth lines, labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Inches, and the left edge of the panels as a share of the width.
WIDTH, LEFT = 11, 0.075
GAP, TOP, BOTTOM = 0.5, 1.0, 0.6
# The least ratio of the ends of a logarithmic axis.
LEAST_RANGE = 4.0
# Of a line's points, the width of the bell that they are averaged with.
SMOOTHING = 0.015


def stacked_axes(figure: Any, heights: Sequence[float]) -> list[Any]:
    """Panels below each other, with the same distances however many they are."""
    total = TOP + sum(heights) + GAP * (len(heights) - 1) + BOTTOM
    figure.set_size_inches(WIDTH, total)
    axes: list[Any] = []
    top = total - TOP
    for height in heights:
        box = (LEFT, (top - height) / total, 0.805, height / total)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        top -= height + GAP
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    return axes


def log_scale(axis: Any) -> None:
    """Logarithmic, with as many plain numbers as there is room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if high < LEAST_RANGE * low:
        # A loss that hardly moves should look like it.
        middle, reach = float(np.sqrt(low * high)), float(np.sqrt(LEAST_RANGE))
        low, high = axis.set_ylim(middle / reach, middle * reach)
    decades = np.log10(high / low)
    digits: tuple[float, ...]
    digits = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axis.yaxis.set_major_locator(LogLocator(subs=digits))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(which="minor", length=0)


def smoothed(values: Floats) -> Floats:
    """The mean under a Gaussian bell around each value; at the ends under what is left of it."""
    width = max(1.0, SMOOTHING * len(values))
    reach = int(3 * width)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weights = np.convolve(np.ones(len(values)), bell, "full")[reach : reach + len(values)]
    sums = np.convolve(values, bell, "full")[reach : reach + len(values)]
    return np.asarray(sums / weights)


def label_ends(axis: Any, lines: Sequence[tuple[str, str, float]]) -> None:
    """Texts beside the ends of lines, moved apart where they would touch: (text, colour, value)."""
    # Asking for the limits settles them, which the place of a value depends on.
    axis.get_ylim()
    height = axis.get_position().height * axis.figure.get_figheight() * 72
    least = 12.5 / height
    to_share = axis.transAxes.inverted()
    wanted = sorted(
        (float(to_share.transform(axis.transData.transform((0, value)))[1]), text, colour)
        for text, colour, value in lines
    )
    places: list[float] = []
    for at, *_ in wanted:
        places.append(max(at, places[-1] + least) if places else at)
    # What was pushed out at the top goes down again, and the ones below with it.
    overflow = max(0.0, places[-1] - 1.0) if places else 0.0
    for (_, text, colour), place in zip(wanted, places, strict=True):
        axis.annotate(
            text,
            (1.012, place - overflow),
            xycoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
        )
