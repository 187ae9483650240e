"""``rejected.jpg``: for every reason some of the files that were rejected for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from beam_jobs import drawing
from beam_jobs.drawing import ACCENT, BACKGROUND, FAINT, LINE, PANEL, draw_text
from beam_jobs.thumbnails import NotShownError, kind_of, thumbnail
from srgan import images
from srgan.datasets.reasons import meaning
from srgan.records import Reject

EXAMPLES = 8
_MARGIN, _GAP, _HEADING = 40, 14, 104
_WORDS, _TILE, _CAPTION, _ROW_GAP = 250, 140, 56, 26
_WIDTH = 2 * _MARGIN + _WORDS + EXAMPLES * (_TILE + _GAP) - _GAP
_ROW = _TILE + _CAPTION + _ROW_GAP
# Known without reading: these are rejected for what reading or decoding them would cost or do.
_UNREAD: Mapping[str, str] = {
    "too_many_bytes": "not read",
    "too_many_pixels": "not decoded",
    "encrypted": "encrypted",
    "unsafe_path": "not unpacked",
}
_MOST_REASONS = 40
_MAX_BYTES, _ALL_BYTES = 64 * 2**20, 512 * 2**20


def choose_rejects(rejects: Sequence[Reject]) -> list[Reject]:
    """Up to :data:`EXAMPLES` for each reason, in the order of the sheet.

    Of each reason one for every kind of detail, then some spread evenly over the image set; no
    file twice.
    """
    by_reason: dict[str, list[Reject]] = {}
    for reject in rejects:
        by_reason.setdefault(reject.reason, []).append(reject)
    chosen: list[Reject] = []
    for reason in sorted(by_reason, key=lambda r: (-len(by_reason[r]), r)):
        chosen += _examples(by_reason[reason])
    return chosen


def reject_sheet(
    rejects: Sequence[Reject], read: Callable[[str], bytes], counts: Mapping[str, int]
) -> bytes:
    """A JPEG about each reason in ``counts``: how many, what it means, and examples.

    ``rejects`` are those of :func:`choose_rejects` (all would do, and only those are read);
    ``read`` gives the bytes of a source by its name and may raise what it likes. Equal arguments
    give equal bytes, and no file makes it fail.
    """
    examples: dict[str, list[Reject]] = {}
    for reject in choose_rejects(rejects):
        examples.setdefault(reject.reason, []).append(reject)
    reasons = sorted(counts, key=lambda reason: (-counts[reason], reason))[:_MOST_REASONS]
    places, rows = _flow([len(examples.get(reason, ())) for reason in reasons])
    sheet = Image.new("RGB", (_WIDTH, _HEADING + _ROW * rows + 6), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (_MARGIN, 26), "rejected", 32)
    total = f"{sum(counts.values()):,} rejected, {len(counts)} reasons"
    draw_text(draw, (_WIDTH - _MARGIN, 34), total, 19, align="right")
    for row in range(rows):
        y = _HEADING + row * _ROW - 16
        draw.line((_MARGIN, y, _WIDTH - _MARGIN, y), LINE)
    tiles = _Tiles(sheet, read)
    for reason, (x, row) in zip(reasons, places, strict=True):
        left, top = _MARGIN + x, _HEADING + row * _ROW
        _draw_words(draw, reason, counts[reason], (left, top))
        left += _WORDS
        for reject in examples.get(reason, ()):
            tiles.draw(reject, (left, top))
            _draw_caption(draw, reject, (left, top + _TILE + 6))
            left += _TILE + _GAP
    return images.encode_jpeg(np.asarray(sheet))


def _flow(tiles: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Left and row of every reason, and the number of rows: reasons with few files share one."""
    content = _WIDTH - 2 * _MARGIN + _GAP
    places: list[tuple[int, int]] = []
    x, row = 0, 0
    for count in tiles:
        share = 3 if count <= 1 else 2 if count <= 3 else 1
        width = content // share
        if x + width > content:
            x, row = 0, row + 1
        places.append((x, row))
        x += width
    return places, row + 1 if tiles else 0


def _examples(rejects: Sequence[Reject]) -> list[Reject]:
    files: dict[str, Reject] = {}
    for reject in sorted(rejects, key=_order):
        files.setdefault(reject.sha256, reject)
    distinct = list(files.values())
    kinds: dict[str, Reject] = {}
    for reject in distinct:
        kinds.setdefault(re.sub(r"\d+", "0", reject.detail), reject)
    chosen = _spread(list(kinds.values()), EXAMPLES)
    left = [reject for reject in distinct if reject not in chosen]
    chosen += _spread(left, EXAMPLES - len(chosen))
    return sorted(chosen, key=_order)


def _order(reject: Reject) -> tuple[str, int, str, str]:
    return reject.source, -1 if reject.crop is None else reject.crop, reject.sha256, reject.detail


def _spread(rejects: Sequence[Reject], count: int) -> list[Reject]:
    if len(rejects) <= count:
        return list(rejects)
    return [rejects[number * len(rejects) // count] for number in range(count)]


def _draw_words(draw: ImageDraw.ImageDraw, reason: str, count: int, at: tuple[int, int]) -> None:
    left, top = at
    draw_text(draw, (left, top - 3), f"{count:,}", 26, ACCENT)
    words = reason.replace("_", " ")
    room = _WORDS - 24
    draw_text(draw, (left, top + 34), drawing.shortened(words, 19, room), 19)
    for number, line in enumerate(drawing.wrapped(meaning(reason), 13, room, 4)):
        draw_text(draw, (left, top + 64 + 18 * number), line, 13, FAINT)


def _draw_caption(draw: ImageDraw.ImageDraw, reject: Reject, at: tuple[int, int]) -> None:
    key = "" if drawing.is_showable(reject.source) else f" {reject.sha256[:6]}"
    room = _TILE - drawing.text_width(key, 12)
    draw_text(draw, at, drawing.shortened_path(reject.source, 12, room) + key, 12)
    crop = "" if reject.crop is None else f"crop {reject.crop}: "
    for number, line in enumerate(drawing.wrapped(crop + reject.detail, 12, _TILE, 2)):
        draw_text(draw, (at[0], at[1] + 17 + 15 * number), line, 12, FAINT)


class _Tiles:
    """Draws files; what all of them together may cost is bounded."""

    def __init__(self, sheet: Image.Image, read: Callable[[str], bytes]) -> None:
        self._sheet, self._read = sheet, read
        self._draw = ImageDraw.Draw(sheet)
        self._bytes_left = _ALL_BYTES

    def draw(self, reject: Reject, at: tuple[int, int]) -> None:
        """The picture in a file, or a tile that says what it is instead."""
        box = (at[0], at[1], at[0] + _TILE, at[1] + _TILE)
        self._draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), PANEL)
        if reject.reason in _UNREAD:
            self._words(box, _UNREAD[reject.reason])
            return
        if self._bytes_left <= 0:
            self._words(box, "not shown")
            return
        try:
            data = self._read(reject.source)
        except Exception:
            suffix = reject.source.rpartition("/")[2].rpartition(".")[2]
            self._document(box, suffix.upper() if len(suffix) <= 5 else "FILE", "cannot be read")
            return
        self._bytes_left -= len(data)
        try:
            if len(data) > _MAX_BYTES:
                raise NotShownError("too large to show")
            picture = thumbnail(data, _TILE)
        except NotShownError as error:
            words = str(error)
            line = words if words != "cannot be decoded" else _size(len(data))
            self._document(box, kind_of(data), line)
        else:
            drawing.place(self._sheet, picture, box)

    def _words(self, box: tuple[int, int, int, int], words: str) -> None:
        self._draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=LINE)
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - 8
        draw_text(self._draw, middle, words, 15, FAINT, align="middle")

    def _document(self, box: tuple[int, int, int, int], kind: str, line: str) -> None:
        """A sheet of paper with a folded corner, on it the kind of file and below it a line."""
        left, top = box[0] + 40, box[1] + 16
        right, bottom, fold = left + 60, top + 76, 16
        outline = [
            (left, top),
            (right - fold, top),
            (right, top + fold),
            (right, bottom),
            (left, bottom),
        ]
        self._draw.polygon(outline, fill=BACKGROUND, outline=FAINT)
        corner = [(right - fold, top), (right - fold, top + fold), (right, top + fold)]
        self._draw.line(corner, fill=FAINT)
        middle = (left + right) / 2
        draw_text(self._draw, (middle, top + 32), kind, 17 if len(kind) < 5 else 15, align="middle")
        draw_text(self._draw, (middle, bottom + 14), line, 12, FAINT, align="middle")


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e3:,.0f} kB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"
