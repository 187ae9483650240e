"""The same faces from step 0 on: frames while training, an animation at the end.

A frame shows three fixed examples as rows: LR | now | HR.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan import storage
from srgan.data import Pair
from srgan.images import Pixels
from srgan.runs import STAGES, Stage

# Most of the change happens at once; later frames may be far apart.
_EARLY = (5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400)
_CELL, _GAP, _BAR = 224, 8, 40
_PAPER, _INK, _SOFT = (18, 20, 24), (240, 240, 236), (150, 156, 164)
_FRAME_MS, _LAST_MS = 160, 2500
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
    """All frames as an animated WebP; the last one stays for a while."""
    lr, hr = _read(folder / "lr.png"), _read(folder / "hr.png")
    paths = [p for stage in STAGES for p in sorted(folder.glob(f"{stage}-*.png"))]
    if len(paths) > _MOST_FRAMES:
        keep = np.unique(np.linspace(0, len(paths) - 1, _MOST_FRAMES).round().astype(int))
        paths = [paths[index] for index in keep]
    frames = [compose(lr, _read(path), hr, _caption(path)) for path in paths]
    durations = [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=85,
        method=4,
    )
    storage.write_bytes(str(target), buffer.getvalue())


def compose(lr: Pixels, now: Pixels, hr: Pixels, caption: str) -> Image.Image:
    """One frame: rows of LR | now | HR under headings, with the step at the bottom."""
    side = hr.shape[0]
    rows = hr.shape[1] // side
    width = 3 * _CELL + 4 * _GAP
    height = _BAR + rows * (_CELL + _GAP) + _BAR
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=17)
    for column, (strip, title) in enumerate(((lr, "LR"), (now, "SR"), (hr, "HR"))):
        left = _GAP + column * (_CELL + _GAP)
        draw.text((left + _CELL / 2, _BAR / 2), title, _SOFT, font, anchor="mm")
        # LR is shown as the pixels that it has; the others as a screen shows photos.
        how = Image.Resampling.NEAREST if title == "LR" else Image.Resampling.BICUBIC
        step = strip.shape[1] // rows
        for row in range(rows):
            cell = Image.fromarray(strip[:, row * step : (row + 1) * step])
            page.paste(cell.resize((_CELL, _CELL), how), (left, _BAR + row * (_CELL + _GAP)))
    draw.text((width / 2, height - _BAR / 2), caption, _INK, font, anchor="mm")
    return page


def _caption(path: Path) -> str:
    stage, _, step = path.stem.partition("-")
    label = {"pretrain": "pre-training", "gan": "GAN"}[stage]
    return f"{label}, step {int(step):,}"


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
