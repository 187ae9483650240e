"""Histograms and bars in characters."""

from __future__ import annotations

from srgan.datasets.histogram import Histogram

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A horizontal bar of ``share`` (0 to 1) of ``width`` columns; something for more than 0."""
    if ascii_only:
        return "#" * max(round(share * width), 1 if share > 0 else 0)
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_PARTS[part] if part else "")


def columns(
    histogram: Histogram, width: int, height: int, *, ascii_only: bool = False
) -> list[str]:
    """``height`` lines of upright bars, at most ``width`` wide: one column or more for each bin."""
    repeat = max(1, width // len(histogram.counts))
    highest = max(histogram.counts)
    levels = [
        max(round(count / highest * height * 8), 1 if count else 0) for count in histogram.counts
    ]
    lines = []
    for row in reversed(range(height)):
        line = ""
        for level in levels:
            left = min(max(level - row * 8, 0), 8)
            sign = (
                ("#" if left >= 4 or (left and not row) else " ") if ascii_only else _EIGHTHS[left]
            )
            line += sign * repeat
        lines.append(line)
    return lines


def axis(histogram: Histogram, width: int) -> str:
    """The first, the middle and the last value below :func:`columns` of that width."""
    room = max(1, width // len(histogram.counts)) * len(histogram.counts)
    low, middle = figure(histogram.edges[0]), figure(histogram.at(0.5))
    high = figure(histogram.edges[-1]) + ("+" if histogram.maximum > histogram.edges[-1] else "")
    left = max(0, (room - len(middle)) // 2 - len(low))
    right = max(0, room - len(low) - left - len(middle) - len(high))
    return low + " " * left + middle + " " * right + high


def figure(value: float) -> str:
    """A number of three digits or more: 0.62, 3.14, 250, 4,000."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size(count: float) -> str:
    """A number of bytes: 812 bytes, 4.3 kB, 1.2 GB."""
    if count < 1000:
        return f"{count:.0f} bytes"
    units = iter(("kB", "MB", "GB", "TB"))
    unit = ""
    while count >= 999.5 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:,.1f} {unit}" if count < 9.95 else f"{count:,.0f} {unit}"
