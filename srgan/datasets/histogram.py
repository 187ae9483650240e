"""How measures of a dataset are distributed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Beyond that ratio equal steps would put nearly everything into one bin.
_LOG_RATIO = 8.0
# Measures differ by far more, and rounding to so many digits still works.
_FINEST = 1e-12
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Histogram:
    """``counts[i]`` values lie in ``[edges[i], edges[i + 1])``, in the outer bins also beyond.

    ``p05`` and ``p95`` are percentiles.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    minimum: float
    p05: float
    median: float
    p95: float
    maximum: float

    def position(self, value: float) -> float:
        """Where a value lies between the first edge (0.0) and the last one (1.0)."""
        bins = len(self.counts)
        return float(np.interp(value, self.edges, np.arange(bins + 1))) / bins

    def at(self, position: float) -> float:
        """The value at a position; the inverse of :meth:`position`."""
        bins = len(self.counts)
        return float(np.interp(position * bins, np.arange(bins + 1), self.edges))


def histogram(
    values: Iterable[float] | NDArray[np.float64],
    bins: int,
    *,
    log: bool = False,
    whole: bool = False,
) -> Histogram | None:
    """The distribution of ``values`` in at most ``bins`` bins; ``None`` for no value.

    Edges are round numbers, and few values get fewer bins. ``log``: equal ratios instead of equal
    steps where values span orders of magnitude. ``whole``: no bin is narrower than 1. One value in
    two hundred may lie beyond the last edge and counts in the last bin, so that a single outlier
    does not flatten all the rest.
    """
    data = np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values), float))
    data = data[np.isfinite(data)]
    if not len(data):
        return None
    # With fewer values than that in a bin, chance draws the outline.
    bins = min(bins, max(8, round(3 * len(data) ** (1 / 3))))
    low, high = float(data[0]), float(data[-1])
    if log and low > 0 and high / low > _LOG_RATIO:
        edges = np.geomspace(low, high, bins + 1)
    else:
        edges = _even_edges(low, float(np.quantile(data, 0.995)), bins, least=1.0 if whole else 0.0)
    clipped = np.clip(data, edges[0], edges[-1])
    p05, median, p95 = (round(float(np.quantile(data, share)), 4) for share in (0.05, 0.5, 0.95))
    return Histogram(
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in np.histogram(clipped, edges)[0]),
        minimum=low,
        p05=p05,
        median=median,
        p95=p95,
        maximum=high,
    )


def _even_edges(low: float, high: float, bins: int, *, least: float) -> NDArray[np.float64]:
    # No finer than the values themselves can be told apart.
    least = max(least, 1e-9 * max(abs(low), abs(high)), _FINEST)
    step = max((high - low) / bins, least) or 1.0
    unit = 10.0 ** math.floor(math.log10(step))
    for factor in (*_STEPS, 20.0):
        step = unit * factor
        first = math.floor(low / step + 1e-9)
        count = math.floor(high / step + 1e-9) + 1 - first
        if count <= bins and step >= least:
            break
    # 3 * 0.1 is 0.30000000000000004.
    digits = 10 - math.floor(math.log10(step))
    return np.round(np.arange(first, first + count + 1) * step, digits)
