"""The same faces from step 0 on: frames while training, an animation at the end.

A frame shows three fixed examples as rows: LR | now | HR.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan import storage
from srgan.data import Pair
from srgan.images import Pixels
from srgan.runs import STAGES, Stage

Place = tuple[Stage, int]

# Most of the change happens at once; later frames may be far apart.
_EARLY = (5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400)
# Twice 128 pixels: the usual face is enlarged by a whole number.
_CELL, _GAP, _EDGE, _HEAD, _FOOT = 256, 6, 18, 46, 58
_PAPER, _INK, _SOFT, _TRACK = (18, 20, 24), (240, 240, 236), (150, 156, 164), (52, 57, 66)
_STAGES: Mapping[Stage, tuple[str, tuple[int, int, int]]] = {
    "pretrain": ("pre-training", (96, 165, 250)),
    "gan": ("GAN", (251, 146, 60)),
}
# The first frames differ most, and the eye needs a moment to know what it sees.
_FIRST_MS, _FRAME_MS, _LAST_MS = 900, 160, 3000
_MOST_FRAMES = 80


def is_due(step: int, every: int) -> bool:
    """Whether ``step`` gets a frame: often at first, then ``every`` so many steps."""
    return step in _EARLY or step % every == 0


def add_frame(
    folder: Path, stage: Stage, step: int, examples: Sequence[Pair], generator: Any
) -> None:
    """Write ``samples/<stage>-<step>.png``: the examples' SR images side by side, with LR and HR
    written once beside it."""
    from srgan.validation import upscale_pairs

    folder.mkdir(parents=True, exist_ok=True)
    side = _common_side(examples)
    for name, pixels in (("lr", [p.lr for p in examples]), ("hr", [p.hr for p in examples])):
        path = folder / f"{name}.png"
        if not path.exists():
            _write(path, _strip(pixels, side))
    srs = [upscale_pairs(generator, [pair])[0] for pair in examples]
    _write(folder / f"{stage}-{step:07d}.png", _strip(srs, side))


def clear(folder: Path) -> None:
    """Remove the frames of a run that starts afresh."""
    for path in folder.glob("*.png"):
        path.unlink()


def write(folder: Path, target: Path) -> None:
    """All frames as an animation that goes on for ever; the last one stays for a while.

    ``target`` ends in ``.webp``, or in ``.gif`` for places that show nothing else (three times as
    large, with 255 colours).
    """
    lr, hr = _read(folder / "lr.png"), _read(folder / "hr.png")
    paths = [path for stage in STAGES for path in sorted(folder.glob(f"{stage}-*.png"))]
    places = [_place(path) for path in paths]
    if len(paths) > _MOST_FRAMES:
        keep = np.unique(np.linspace(0, len(paths) - 1, _MOST_FRAMES).round().astype(int))
        paths = [paths[index] for index in keep]
    frames = [compose(lr, _read(path), hr, _place(path), places) for path in paths]
    durations = [_FIRST_MS] + [_FRAME_MS] * (len(frames) - 2) + [_LAST_MS]
    options: dict[str, Any] = {"format": "WEBP", "quality": 88, "method": 4}
    if target.suffix.lower() == ".gif":
        palette = _palette(frames)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        options = {"format": "GIF", "disposal": 1}
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        save_all=True,
        append_images=frames[1:],
        duration=durations[-len(frames) :],
        loop=0,
        **options,
    )
    storage.write_bytes(str(target), buffer.getvalue())


def compose(
    lr: Pixels, now: Pixels, hr: Pixels, place: Place, places: Sequence[Place]
) -> Image.Image:
    """One frame: rows of LR | now | HR under headings, and where in the run (``places``) it is."""
    side, small = hr.shape[0], lr.shape[0]
    rows = hr.shape[1] // side
    width = 2 * _EDGE + 3 * _CELL + 2 * _GAP
    height = _HEAD + rows * (_CELL + _GAP) - _GAP + _FOOT
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    headings = (
        (lr, "LR", f"{small} px"),
        (now, "SR", f"x {side // small}"),
        (hr, "HR", f"{side} px"),
    )
    for column, (strip, title, size) in enumerate(headings):
        left = _EDGE + column * (_CELL + _GAP)
        draw.text((left, _HEAD / 2), title, _INK, _font(18), anchor="lm")
        after = left + draw.textlength(title + " ", _font(18)) + 2
        draw.text((after, _HEAD / 2 + 1), size, _SOFT, _font(15), anchor="lm")
        # LR is shown as the pixels that it has; the others as a screen shows photos.
        how = Image.Resampling.NEAREST if title == "LR" else Image.Resampling.LANCZOS
        step = strip.shape[1] // rows
        for row in range(rows):
            cell = Image.fromarray(strip[:, row * step : (row + 1) * step])
            page.paste(cell.resize((_CELL, _CELL), how), (left, _HEAD + row * (_CELL + _GAP)))
    _draw_timeline(draw, place, places, width, height)
    return page


def _draw_timeline(
    draw: ImageDraw.ImageDraw, place: Place, places: Sequence[Place], width: int, height: int
) -> None:
    """Stage and step in words, and how far along the run that is."""
    title, colour = _STAGES[place[0]]
    y = height - _FOOT + 24
    draw.text((_EDGE, y), title, colour, _font(18), anchor="lm")
    draw.text((width - _EDGE, y), f"step {place[1]:,}", _INK, _font(18), anchor="rm")
    ends = {stage: max((n for s, n in places if s == stage), default=0) for stage in STAGES}
    between = 3 if all(ends.values()) else 0
    scale = (width - 2 * _EDGE - between) / max(1, sum(ends.values()))
    left, line = float(_EDGE), height - 16
    for stage in STAGES:
        passed = STAGES.index(stage) < STAGES.index(place[0])
        done = place[1] if stage == place[0] else ends[stage] if passed else 0
        for steps, shade in ((ends[stage], _TRACK), (done, _STAGES[stage][1])):
            if steps:
                draw.rectangle((left, line, left + steps * scale - 1, line + 3), shade)
        left += ends[stage] * scale + between


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all frames, from frames all along the run: colours must not flicker."""
    some = frames[:: max(1, len(frames) // 6)]
    sheet = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for row, frame in enumerate(some):
        sheet.paste(frame, (0, row * frame.height))
    return sheet.quantize(255, Image.Quantize.MEDIANCUT)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _place(path: Path) -> Place:
    stage, _, step = path.stem.partition("-")
    return (STAGES[STAGES.index(stage)], int(step))


def _common_side(examples: Sequence[Pair]) -> int:
    return min(int(side) for pair in examples for side in pair.hr.shape[:2])


def _strip(pictures: Sequence[Pixels], side: int) -> Pixels:
    """Pictures of possibly different sizes side by side as squares of one size."""
    smallest = min(min(p.shape[:2]) for p in pictures)
    return np.concatenate([_square(p, min(side, smallest)) for p in pictures], axis=1)


def _square(pixels: Pixels, side: int) -> Pixels:
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write(path: Path, pixels: Pixels) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    storage.write_bytes(str(path), buffer.getvalue())
