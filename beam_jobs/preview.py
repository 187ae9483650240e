"""``preview.jpg``: a dataset at a glance; pairs from the softest to the sharpest, and figures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from beam_jobs import drawing
from beam_jobs.drawing import BACKGROUND, FAINT, LINE, PANEL, draw_text
from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.datasets.charts import figure
from srgan.datasets.histogram import Histogram, histogram
from srgan.images import Pixels
from srgan.records import PairRecord, RecordInfo

SHOWN = 24
_MARGIN, _GAP, _SEAM, _CAPTION, _HEADING = 40, 24, 2, 44, 104
_WIDTH, _LEAST_WIDTH, _HEIGHT = 1670, 1130, 1500
_SMALLEST_TILE, _LARGEST_TILE, _DETAIL_TILE = 128, 256, 176
_PANEL, _BINS, _LEAST_INFOS = 172, 40, 20
_LABELS: tuple[tuple[float, Literal["left", "middle", "right"]], ...] = (
    (0.0, "left"),
    (0.5, "middle"),
    (1.0, "right"),
)


def choose_spread(infos: Iterable[RecordInfo], count: int = SHOWN) -> list[RecordInfo]:
    """From the softest record to the sharpest in even ranks, as many groups as there can be.

    Both ends are always among them: what is wrong with a dataset is seen there first.
    """
    ranked = sorted(infos, key=lambda info: (info.sharpness, info.key))
    cuts = [number * len(ranked) // count for number in range(count + 1)]
    chosen: list[RecordInfo] = []
    seen: set[str] = set()
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        middle = (start + end) // 2
        wanted = start if number == 0 else end - 1 if number == count - 1 else middle
        nearest = sorted(range(start, end), key=lambda rank: abs(rank - wanted))
        for rank in [r for r in nearest if ranked[r].group not in seen][:1] or nearest[:1]:
            chosen.append(ranked[rank])
            seen.add(ranked[rank].group)
    return chosen


def contact_sheet(
    pairs: Sequence[PairRecord], config: DatasetConfig, count: int, infos: Sequence[RecordInfo]
) -> bytes:
    """A JPEG of ``pairs`` out of a dataset with ``count`` of them, and how ``infos`` spread.

    ``infos`` may be of any part of the dataset. Equal arguments give equal bytes.
    """
    known = {info.key: info for info in infos}
    pairs = sorted(pairs, key=lambda p: (known[p.key].sharpness if p.key in known else 0.0, p.key))
    layout = _Layout(config)
    pairs = layout.fitting(pairs)
    columns = min(layout.columns, max(1, len(pairs)))
    rows = -(-len(pairs) // columns)
    content = max(columns * (layout.width + _GAP) - _GAP, _LEAST_WIDTH)
    panels = _panels(infos, config)
    foot = _PANEL + _MARGIN if panels else 0
    below = _HEADING + rows * layout.cell_height
    sheet = Image.new("RGB", (content + 2 * _MARGIN, below + foot + _GAP // 2), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    order = ", softest to sharpest" if pairs and known.keys() >= {p.key for p in pairs} else ""
    _draw_heading(draw, config, count, len(pairs), order, sheet.width)
    for index, pair in enumerate(pairs):
        left = _MARGIN + index % columns * (layout.width + _GAP)
        top = _HEADING + index // columns * layout.cell_height
        _draw_pair(sheet, pair, config, layout, (left, top))
        _draw_caption(
            draw, pair, known.get(pair.key), config, layout, (left, top + layout.tile + 7)
        )
    marks = [known[pair.key].sharpness for pair in pairs if pair.key in known]
    _draw_panels(draw, panels, (_MARGIN, below, content), marks, len(infos), count)
    return images.encode_jpeg(np.asarray(sheet))


class _Layout:
    """How a pair is shown: LR | HR, or the whole image | LR | HR of its most detailed part."""

    def __init__(self, config: DatasetConfig) -> None:
        self.detail = config.crop == "none" or config.hr_size > _LARGEST_TILE
        whole = config.hr_size * -(-_SMALLEST_TILE // config.hr_size)
        self.tile = _DETAIL_TILE if self.detail else whole
        tiles = 3 if self.detail else 2
        self.width = tiles * (self.tile + _SEAM) - _SEAM
        self.cell_height = self.tile + _CAPTION + _GAP
        self.columns = max(1, (_WIDTH + _GAP) // (self.width + _GAP))

    def fitting(self, pairs: Sequence[PairRecord]) -> Sequence[PairRecord]:
        """As many of ``pairs`` as the sheet has room for, evenly chosen, both ends among them."""
        room = self.columns * max(1, _HEIGHT // self.cell_height)
        if len(pairs) <= room:
            return pairs
        return [pairs[round(n * (len(pairs) - 1) / max(1, room - 1))] for n in range(room)]


def _draw_heading(
    draw: ImageDraw.ImageDraw, config: DatasetConfig, count: int, shown: int, order: str, width: int
) -> None:
    hr, lr = config.hr_size, config.lr_size
    draw_text(draw, (_MARGIN, 26), config.name, 32)
    sizes = f"LR {lr}×{lr}  →  HR {hr}×{hr}"
    if config.crop == "none":
        sizes = f"whole images of {hr} pixels and more"
    draw_text(draw, (width - _MARGIN, 26), sizes, 19, align="right")
    pairs = f"{shown} of {count:,} pairs" if shown < count else f"{count:,} pairs"
    line = f"{pairs}{order}  ·  crop {config.crop}  ·  {config.degradation} ×{config.scale}"
    draw_text(draw, (width - _MARGIN, 56), line, 15, FAINT, align="right")
    draw.line((_MARGIN, _HEADING - 18, width - _MARGIN, _HEADING - 18), LINE)


def _draw_pair(
    sheet: Image.Image,
    pair: PairRecord,
    config: DatasetConfig,
    layout: _Layout,
    at: tuple[int, int],
) -> None:
    hr = images.decode(pair.hr, max_pixels=config.max_pixels)
    lr = images.decode(pair.lr, max_pixels=config.max_pixels)
    tiles = [lr, hr]
    if layout.detail:
        top, left = most_detailed(lr, layout.tile // config.scale)
        extent = layout.tile // config.scale
        low = lr[top : top + extent, left : left + extent]
        y, x = top * config.scale, left * config.scale
        high = hr[y : y + low.shape[0] * config.scale, x : x + low.shape[1] * config.scale]
        tiles = [hr, low, high]
    for number, pixels in enumerate(tiles):
        x = at[0] + number * (layout.tile + _SEAM)
        box = (x, at[1], x + layout.tile, at[1] + layout.tile)
        ImageDraw.Draw(sheet).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), PANEL)
        drawing.place(sheet, _fitted(pixels, layout.tile), box)


def most_detailed(pixels: Pixels, extent: int) -> tuple[int, int]:
    """Top and left of the ``extent`` x ``extent`` pixels with the strongest edges.

    Windows half an extent apart are compared, and the first of equals is taken.
    """
    luma = pixels.astype(np.float32).mean(axis=2)
    edges = np.zeros_like(luma)
    edges[1:] += np.abs(np.diff(luma, axis=0))
    edges[:, 1:] += np.abs(np.diff(luma, axis=1))
    best, place = -1.0, (0, 0)
    for top in _starts(luma.shape[0], extent):
        for left in _starts(luma.shape[1], extent):
            found = float(edges[top : top + extent, left : left + extent].sum())
            if found > best:
                best, place = found, (top, left)
    return place


def _starts(length: int, extent: int) -> list[int]:
    last = max(0, length - extent)
    return sorted({*range(0, last, max(1, extent // 2)), last})


def _fitted(pixels: Pixels, side: int) -> Image.Image:
    """An image as large as fits, in whole multiples and without smoothing where it is smaller."""
    image = Image.fromarray(pixels)
    if max(image.size) > side:
        return image.resize(drawing.fitted(image.size, side, side), Image.Resampling.BICUBIC)
    factor = side // max(image.size)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    pair: PairRecord,
    info: RecordInfo | None,
    config: DatasetConfig,
    layout: _Layout,
    at: tuple[int, int],
) -> None:
    # A name that cannot be shown is found by its key.
    key = "" if drawing.is_showable(pair.source) else f"  {pair.key[:8]}"
    room = layout.width - drawing.text_width(key, 13)
    draw_text(draw, at, drawing.shortened_path(pair.source, 13, room) + key, 13)
    if info is not None:
        crop = f", crop {info.side:.0f}" if _is_crop(info, config) else ""
        line = f"{info.split} · {info.width}×{info.height}{crop} · sharpness {info.sharpness:.2f}"
        line = drawing.shortened(line, 12, layout.width, middle=False)
        draw_text(draw, (at[0], at[1] + 18), line, 12, FAINT)


def _is_crop(info: RecordInfo, config: DatasetConfig) -> bool:
    """Whether more of the shorter side is missing than what fits no LR pixel."""
    return min(info.width, info.height) - info.side >= config.scale


_Panel = tuple[str, str, Histogram]


def _panels(infos: Sequence[RecordInfo], config: DatasetConfig) -> list[_Panel]:
    """Title, unit and distribution of what is known of all records; of a few there is none."""
    if len(infos) < _LEAST_INFOS:
        return []
    shorter = [min(info.width, info.height) for info in infos]
    sides = [round(info.side) for info in infos]
    found = [
        ("sharpness of HR", "", histogram([i.sharpness for i in infos], _BINS)),
        ("contrast of HR", "", histogram([i.contrast for i in infos], _BINS)),
        ("source, shorter side", " px", histogram(shorter, _BINS, log=True, whole=True)),
    ]
    if any(_is_crop(info, config) for info in infos):
        found.append(("crop in the source", " px", histogram(sides, _BINS, log=True, whole=True)))
    return [(title, unit, measured) for title, unit, measured in found if measured is not None]


def _draw_panels(
    draw: ImageDraw.ImageDraw,
    panels: Sequence[_Panel],
    at: tuple[int, int, int],
    marks: Sequence[float],
    known: int,
    count: int,
) -> None:
    left, top, content = at
    width = (content + _GAP) // max(1, len(panels)) - _GAP
    for number, (title, unit, measured) in enumerate(panels):
        x = left + number * (width + _GAP)
        draw.rounded_rectangle((x, top, x + width, top + _PANEL), 6, PANEL)
        draw_text(draw, (x + 16, top + 13), title, 15)
        if measured.minimum == measured.maximum:
            text = f"all {figure(measured.minimum)}{unit}"
            at_middle = x + width / 2, top + _PANEL / 2 - 6
            draw_text(draw, at_middle, text, 24, FAINT, align="middle")
            continue
        median = f"median {figure(measured.median)}{unit}"
        draw_text(draw, (x + width - 16, top + 15), median, 13, FAINT, align="right")
        box = (x + 16, top + 46, x + width - 16, top + _PANEL - 38)
        drawing.draw_histogram(draw, box, measured, marks if number == 0 else ())
        _draw_axis(draw, measured, box)
    if panels and known < count:
        note = f"figures of {known:,} of {count:,} pairs"
        draw_text(draw, (left + content, top + _PANEL + 10), note, 12, FAINT, align="right")


def _draw_axis(
    draw: ImageDraw.ImageDraw, measured: Histogram, box: tuple[int, int, int, int]
) -> None:
    left, _, right, bottom = box
    for share, align in _LABELS:
        beyond = "+" if share == 1.0 and measured.maximum > measured.edges[-1] else ""
        text = figure(measured.at(share)) + beyond
        draw_text(draw, (left + share * (right - left), bottom + 12), text, 12, FAINT, align=align)
