"""Photos for tests of faces, and the detectors that look at them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from srgan.dataset_config import FaceConfig
from srgan.faces import Detector, Face, align_face, open_detector
from srgan.images import Pixels
from srgan.portraits import render
from tests.support import needs, shared_data

YUNET = "yunet_n_dynamic.onnx"


def yunet_file(name: str = YUNET) -> Path:
    path = shared_data() / "weights" / name
    needs("shared-data", path.is_file(), f"{path} is not there")
    return path


def detector(kind: str, hr_size: int, config: FaceConfig | None = None) -> Detector:
    config = config or FaceConfig()
    if kind == "dlib":
        return open_detector("dlib", None, config, hr_size)
    return open_detector("yunet", yunet_file().read_bytes(), config, hr_size)


@functools.cache
def portrait(person: int, size: int = 192) -> Pixels:
    return render(person + 500, person=person, size=size)


@functools.cache
def group_photo(rows: int = 4, columns: int = 5, size: int = 160) -> Pixels:
    """People side by side, each in a square of their own."""
    people = [portrait(number, size) for number in range(rows * columns)]
    return np.vstack([np.hstack(people[r * columns : (r + 1) * columns]) for r in range(rows)])


def photo(name: str) -> Pixels:
    path = shared_data() / "photos" / name
    return np.asarray(Image.open(path).convert("RGB"))


def crops(pixels: Pixels, kind: str, hr_size: int) -> list[Pixels]:
    config = FaceConfig()
    faces = detector(kind, hr_size).find(pixels)
    return [align_face(pixels, face, config, hr_size).pixels for face in faces]


def face_at(
    x: float, y: float, *, apart: float, down: float | None = None, roll: float = 0.0
) -> Face:
    """A face with its eyes around (x, y), ``apart`` pixels from each other, rolled clockwise."""
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    below = apart if down is None else down
    return Face(
        left_eye=(x - c * apart / 2, y - s * apart / 2),
        right_eye=(x + c * apart / 2, y + s * apart / 2),
        mouth=(x - s * below, y + c * below),
        box=(x - 1.1 * apart, y - apart, 2.2 * apart, 2.8 * apart),
        score=0.9,
    )


def drawn(width: int, height: int, colour: Callable[..., object]) -> Pixels:
    """A photo from a function of x and y at the centres of pixels, with values 0 to 255."""
    y, x = np.mgrid[:height, :width] + 0.5
    levels = np.broadcast_to(np.stack(np.broadcast_arrays(*colour(x, y)), -1), (height, width, 3))
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def turned(pixels: Pixels, degrees: float) -> Pixels:
    """The photo turned clockwise, on a grey ground that is large enough for it."""
    image = Image.fromarray(pixels).rotate(
        -degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(96, 96, 96)
    )
    return np.asarray(image)


def turned_point(
    point: tuple[float, float], before: tuple[int, ...], after: tuple[int, ...], degrees: float
) -> tuple[float, float]:
    """Where :func:`turned` puts a point; the arguments are the shapes of both photos."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = point[0] - before[1] / 2, point[1] - before[0] / 2
    return c * x - s * y + after[1] / 2, s * x + c * y + after[0] / 2


def decibels(a: Pixels, b: Pixels) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
