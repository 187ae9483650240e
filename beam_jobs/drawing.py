"""Text and shapes on the pictures that come with a dataset: the same bytes on every machine."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from srgan.datasets.histogram import Histogram

BACKGROUND, PANEL, LINE = (21, 23, 28), (30, 33, 40), (52, 56, 66)
TEXT, FAINT, ACCENT = (240, 240, 236), (147, 152, 163), (255, 180, 84)
BAR = (96, 132, 178)
ELLIPSIS = "\u2026"
# Height of capitals above the baseline, with some air, as a share of the size.
_ASCENT = 0.93
# No line holds as many characters; measuring more of them would only take time.
_LONGEST = 400

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: Colour = TEXT,
    *,
    align: Literal["left", "middle", "right"] = "left",
) -> None:
    """One line of ``text``, what no font has left out; ``at`` is its top and ``align``."""
    runs = _runs(text, size)
    whole = sum(font.getlength(run) for run, font in runs)
    x = at[0] - whole * {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
    for run, font in runs:
        draw.text((x, at[1] + round(size * _ASCENT)), run, colour, font, anchor="ls")
        x += font.getlength(run)


def text_width(text: str, size: int) -> float:
    """Width of a line of text in pixels."""
    return sum(font.getlength(run) for run, font in _runs(text, size))


def shortened(text: str, size: int, width: float, *, middle: bool = True) -> str:
    """``text`` with an ellipsis in its middle, or at its end, where it is wider than ``width``."""
    text = showable(
        text if len(text) <= _LONGEST else text[: _LONGEST // 2] + text[-_LONGEST // 2 :]
    )
    if text_width(text, size) <= width:
        return text

    def cut(kept: int) -> str:
        if not middle:
            return f"{text[:kept].rstrip()}{ELLIPSIS}"
        return f"{text[: (kept + 1) // 2]}{ELLIPSIS}{text[len(text) - kept // 2 :]}"

    low, high = 2, max(2, len(text) - 1)
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if text_width(cut(kept), size) <= width else (low, kept - 1)
    return cut(low)


def shortened_path(path: str, size: int, width: float) -> str:
    """``path`` without as many of its first folders as must go; what names the file stays."""
    path = showable(path[-_LONGEST:])
    parts = path.split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        text = f"{ELLIPSIS}/{tail}" if start else tail
        if text_width(text, size) <= width:
            return text
    return shortened(parts[-1], size, width)


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``width`` pixels, the last one shortened."""
    words = showable(text[:_LONGEST]).split()
    rows: list[str] = []
    while words and len(rows) < lines - 1:
        count = 1
        while count < len(words) and text_width(" ".join(words[: count + 1]), size) <= width:
            count += 1
        rows.append(shortened(" ".join(words[:count]), size, width))
        words = words[count:]
    if words:
        rows.append(shortened(" ".join(words), size, width, middle=False))
    return rows


@functools.lru_cache(maxsize=4096)
def showable(text: str) -> str:
    """``text`` composed (NFC), every run of characters that no font can show as an ellipsis.

    Scripts from right to left count among those: without shaping they would be wrong, which is
    worse than nothing.
    """
    shown = ""
    for character in unicodedata.normalize("NFC", text):
        if character.isspace():
            shown += " "
        elif _is_showable(character):
            shown += character
        elif not shown.endswith(ELLIPSIS):
            shown += ELLIPSIS
    return shown


def is_showable(text: str) -> bool:
    """Whether nothing of ``text`` is left out."""
    return all(c.isspace() or _is_showable(c) for c in unicodedata.normalize("NFC", text))


def draw_histogram(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    histogram: Histogram,
    marks: Iterable[float] = (),
) -> None:
    """Bars that fill ``box`` (left, top, right, bottom), and below it a tick for each mark."""
    left, top, right, bottom = box
    counts = histogram.counts
    highest = max(counts, default=0) or 1
    step = (right - left) / len(counts)
    for number, count in enumerate(counts):
        if count:
            height = max(1, round(count / highest * (bottom - top)))
            x = left + number * step
            draw.rectangle((round(x), bottom - height, round(x + step) - 2, bottom), BAR)
    draw.line((left, bottom + 1, right - 1, bottom + 1), LINE)
    for mark in marks:
        x = left + histogram.position(mark) * (right - left)
        draw.line((x, bottom + 3, x, bottom + 8), ACCENT)


def fitted(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The largest size of the same shape within ``width`` x ``height``, at least a pixel."""
    factor = min(width / size[0], height / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def place(sheet: Image.Image, image: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Paste ``image`` into the middle of ``box``."""
    left, top, right, bottom = box
    at = (left + right - image.width) // 2, (top + bottom - image.height) // 2
    sheet.paste(image, at)


@functools.lru_cache(maxsize=4096)
def _is_showable(character: str) -> bool:
    if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
        return False
    if unicodedata.category(character)[0] in "CM":
        return False
    return any(_has(font, character) for font in _faces(20))


def _runs(text: str, size: int) -> list[tuple[str, Font]]:
    """``text`` cut where its font changes.

    A word in letters that the first font lacks puts all of the text into the second; of a sign,
    such as a multiplication sign, only the sign.
    """
    own, *others = _faces(size)
    text = showable(text)
    if not others:
        return [(text, own)]
    lacking = {c for c in set(text) if not _has(own, c)}
    if any(c.isalpha() for c in lacking):
        return [(text, others[0])]
    runs: list[tuple[str, Font]] = []
    for lacks, characters in itertools.groupby(text, lambda c: c in lacking):
        runs.append(("".join(characters), others[0] if lacks else own))
    return runs


@functools.lru_cache(maxsize=32)
def _faces(size: int) -> tuple[Font, ...]:
    """Pillow's own font, which knows little more than ASCII, and Matplotlib's DejaVu Sans.

    Fonts of the machine would make other bytes elsewhere, and so would a layout engine that is
    not everywhere.
    """
    basic = ImageFont.Layout.BASIC
    own: Font = ImageFont.load_default(size)
    if isinstance(own, ImageFont.FreeTypeFont):
        own = own.font_variant(layout_engine=basic)
    package = importlib.util.find_spec("matplotlib")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():
            # DejaVu is drawn larger than Pillow's font at the same size.
            return own, ImageFont.truetype(str(path), round(size * 0.92), layout_engine=basic)
    return (own,)


@functools.lru_cache(maxsize=8192)
def _has(font: Font, character: str) -> bool:
    """Whether a font has a glyph of its own for a character."""
    # U+FFFF is no character, so what is drawn for it stands for every missing one.
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))
