"""``preview.jpg``: pairs of a dataset, LR enlarged without smoothing beside HR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.images import Pixels
from srgan.records import PairRecord

_BACKGROUND, _TEXT, _FAINT = (22, 24, 29), (240, 240, 236), (142, 147, 158)
_MARGIN, _GAP, _SEAM, _CAPTION, _HEADING = 36, 24, 2, 26, 92
_WIDTH = 1320
_MAX_PAIRS = 20
_SMALLEST_TILE, _LARGEST_TILE = 128, 256


def choose(records: Iterable[PairRecord]) -> list[PairRecord]:
    """The pairs to show, in their order: each group once before any group twice."""
    first: list[PairRecord] = []
    others: list[PairRecord] = []
    seen: set[str] = set()
    for record in records:
        (others if record.group in seen else first).append(record)
        seen.add(record.group)
        if len(first) == _MAX_PAIRS:
            break
    return (first + others)[:_MAX_PAIRS]


def contact_sheet(pairs: Sequence[PairRecord], config: DatasetConfig, count: int) -> bytes:
    """A JPEG of ``pairs`` out of a dataset with ``count`` of them."""
    tile = _tile(config.hr_size)
    columns = max(1, min((_WIDTH - 2 * _MARGIN + _GAP) // (2 * tile + _SEAM + _GAP), len(pairs)))
    rows = -(-len(pairs) // columns)
    pair_width = 2 * tile + _SEAM
    cell_width, cell_height = pair_width + _GAP, tile + _CAPTION + _GAP
    content = max(columns * cell_width - _GAP, 620)
    width = content + 2 * _MARGIN
    height = _HEADING + _MARGIN + rows * cell_height - _GAP + _MARGIN // 2
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _heading(draw, config, count, shown=len(pairs), width=width)
    indent = (content - (columns * cell_width - _GAP)) // 2
    for index, pair in enumerate(pairs):
        left = _MARGIN + indent + index % columns * cell_width
        top = _HEADING + _MARGIN // 2 + index // columns * cell_height
        lr = images.decode(pair.lr, max_pixels=config.max_pixels)
        hr = images.decode(pair.hr, max_pixels=config.max_pixels)
        sheet.paste(_enlarged(lr, tile), (left, top))
        sheet.paste(_enlarged(hr, tile), (left + tile + _SEAM, top))
        caption = _fitted(pair.source, _font(13), pair_width)
        draw.text((left, top + tile + 6), caption, _FAINT, _font(13))
    return images.encode_jpeg(np.asarray(sheet))


def _heading(
    draw: ImageDraw.ImageDraw, config: DatasetConfig, count: int, *, shown: int, width: int
) -> None:
    draw.text((_MARGIN, 26), config.name, _TEXT, _font(30))
    # Pillow's own font has neither the multiplication sign nor arrows.
    sizes = (
        f"LR {config.lr_size} x {config.lr_size}   \u00b7   HR {config.hr_size} x {config.hr_size}"
    )
    draw.text((width - _MARGIN, 30), sizes, _TEXT, _font(18), anchor="ra")
    pairs = f"{shown} of {count:,} pairs" if shown < count else f"{count:,} pairs"
    line = f"{pairs} \u00b7 LR left, HR right \u00b7 {config.degradation} x{config.scale}"
    draw.text((width - _MARGIN, 56), line, _FAINT, _font(15), anchor="ra")
    draw.line((_MARGIN, _HEADING - 4, width - _MARGIN, _HEADING - 4), (52, 56, 66))


def _tile(hr_size: int) -> int:
    """Side of an image on the sheet: HR in whole multiples where that is possible."""
    if hr_size > _LARGEST_TILE:
        return _LARGEST_TILE
    return hr_size * -(-_SMALLEST_TILE // hr_size)


def _enlarged(pixels: Pixels, side: int) -> Image.Image:
    image = Image.fromarray(pixels)
    shrinks = pixels.shape[0] > side
    method = Image.Resampling.BICUBIC if shrinks else Image.Resampling.NEAREST
    return image.resize((side, side), method)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """``text`` shortened in its middle until it fits; the font that comes with Pillow is Latin."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    kept, short = len(text), text
    while kept > 2 and font.getlength(short) > width:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}\u2026{text[len(text) - kept // 2 :]}"
    return short
