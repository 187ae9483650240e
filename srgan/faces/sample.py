"""A turned square of a photo, resampled once at full detail and then reduced."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from srgan import images
from srgan.faces.face import Point
from srgan.images import Pixels

# A square of three times the pixels wanted still has all the detail that the last reduction
# keeps (measured: no difference beyond it), and turning a larger one takes longer.
_OVERSAMPLING = 3
# Room for the support of the bicubic kernel at the square's corners.
_SUPPORT = 3


@dataclass(frozen=True)
class Square:
    """A square in pixels of a photo; ``right`` is the unit vector along its upper side."""

    centre: Point
    side: float
    right: Point = (1.0, 0.0)

    @property
    def reach(self) -> float:
        """Half the side of the upright square around it."""
        return self.side / 2 * (abs(self.right[0]) + abs(self.right[1]))

    def to_photo(self, point: Point, size: int) -> Point:
        """Where a point of the sampled image, ``size`` pixels wide, lies in the photo."""
        scale = self.side / size
        x, y = (point[0] - size / 2) * scale, (point[1] - size / 2) * scale
        (c, s), (left, top) = self.right, self.centre
        return left + c * x - s * y, top + s * x + c * y

    def to_square(self, point: Point, size: int) -> Point:
        """Where a point of the photo lies in the sampled image: inverse of :meth:`to_photo`."""
        scale = size / self.side
        x, y = point[0] - self.centre[0], point[1] - self.centre[1]
        c, s = self.right
        return (c * x + s * y) * scale + size / 2, (c * y - s * x) * scale + size / 2


def sample_square(pixels: Pixels, square: Square, size: int, *, exact: bool = True) -> Pixels:
    """The square as ``size`` x ``size`` pixels, antialiased; beyond the photo its edge goes on.

    An upright square is cut at whole pixels and only reduced, so that no pixel is interpolated.
    A turned one is interpolated at the photo's resolution (bicubic), which keeps 93 % of the finest
    detail where the square has just ``size`` pixels and all of it from twice that; enlarging it
    first would keep 80 %. Without ``exact`` it is good enough to look for a face in, and faster.
    """
    if square.right == (1.0, 0.0):
        side = max(1, round(square.side))
        left = math.floor(square.centre[0] - side / 2 + 0.5)
        top = math.floor(square.centre[1] - side / 2 + 0.5)
        upright = _cut(pixels, left, top, side)
        return images.resize(upright, size, size) if exact else _reduced(upright, size)
    half = math.ceil(square.reach) + _SUPPORT
    left, top = math.floor(square.centre[0]) - half, math.floor(square.centre[1]) - half
    region = _cut(pixels, left, top, 2 * half + 1)
    x, y, width = square.centre[0] - left, square.centre[1] - top, square.side
    grid = max(size, round(width))
    largest = size * (_OVERSAMPLING if exact else 1)
    if grid > largest:
        grid = largest
        reduced = math.ceil(len(region) * grid / width)
        scale = reduced / len(region)
        x, y, width = x * scale, y * scale, width * scale
        region = _lanczos(region, reduced) if exact else _reduced(region, reduced)
    step = width / grid
    c, s = square.right[0] * step, square.right[1] * step
    turned = Image.fromarray(region).transform(
        (grid, grid),
        Image.Transform.AFFINE,
        (c, -s, x - (c - s) * grid / 2, s, c, y - (s + c) * grid / 2),
        Image.Resampling.BICUBIC,
    )
    return images.resize(np.asarray(turned), size, size)


def _lanczos(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def _reduced(pixels: Pixels, side: int) -> Pixels:
    if len(pixels) == side:
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _cut(pixels: Pixels, left: int, top: int, side: int) -> Pixels:
    """That square of the photo; what lies beyond it repeats the photo's edge."""
    height, width = pixels.shape[:2]
    if min(left, top) >= 0 and left + side <= width and top + side <= height:
        return pixels[top : top + side, left : left + side]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return pixels[rows[:, None], columns]
