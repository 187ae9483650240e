"""A face as an upright square portrait, from the photo's own pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from srgan.dataset_config import FaceConfig
from srgan.faces.face import Face, Point
from srgan.faces.sample import Square, sample_square
from srgan.images import ImageRejectedError, Pixels

# Below two degrees nobody sees the roll, and unturned pixels stay as sharp as they are.
_UPRIGHT = math.sin(math.radians(2))
# FFHQ's centre: a tenth of the way from the eyes to the mouth.
_CENTRE = 0.1
# Of the face's width, to each side of that centre.
_WHOLE = 0.4


@dataclass(frozen=True)
class AlignedFace:
    """``pixels`` uint8 [hr_size, hr_size, 3]; ``side`` of the crop in pixels of the photo."""

    pixels: Pixels
    side: float


def align_face(pixels: Pixels, face: Face, config: FaceConfig, hr_size: int) -> AlignedFace:
    """The portrait of a face: eyes level, a margin around the face, never enlarged.

    The square is ``1 + 2 * margin`` times as wide as the face. With a margin of 0.4 that is
    FFHQ's own framing, the eyes at 0.47 of the height and a quarter of the width apart.

    No pixel is ever made up at the photo's edge. The square moves inwards as far as it must; where
    the photo is too small for it, it shrinks by up to half its margin; where that is not enough,
    a head that leans by less than 45 degrees stays so, in a square as large as the photo allows.
    A face that the edge cuts off is no face: its crop would show what is beside it.

    Raises :class:`ImageRejectedError`: ``small_face`` where the square has fewer source pixels
    than ``hr_size`` or ``min_size``, ``no_face`` where the photo's edge cuts the face off.
    """
    needed = max(hr_size, config.min_size)
    side = wanted_side(face, config)
    if side < needed:
        raise ImageRejectedError(
            "small_face", f"{side:.0f} px with its margin, the crop needs {needed}"
        )
    height, width = pixels.shape[:2]
    if _is_cut_off(face, (width, height)):
        raise ImageRejectedError("no_face", "the photo's edge cuts it off")
    for square in _squares(face, config, side, (width, height)):
        if square.side >= needed and _holds(square, face):
            return AlignedFace(sample_square(pixels, square, hr_size), square.side)
    raise ImageRejectedError(
        "small_face", f"at the edge of a photo of {width}x{height} px, the crop needs {needed}"
    )


def wanted_side(face: Face, config: FaceConfig) -> float:
    """Side of the crop in pixels of the photo, before its edges are looked at."""
    return face.size * (1 + 2 * config.margin)


def least_size(config: FaceConfig, hr_size: int) -> float:
    """Size of the smallest face whose crop is large enough."""
    return max(hr_size, config.min_size) / (1 + 2 * config.margin)


def _squares(
    face: Face, config: FaceConfig, side: float, photo: tuple[int, int]
) -> Iterator[Square]:
    centre = _centre(face)
    c, s = face.right
    if c > 0 and abs(s) < _UPRIGHT:
        c, s = 1.0, 0.0
    fitting = min(side, min(photo) / (abs(c) + abs(s)))
    if fitting >= face.size * (1 + config.margin) and (c, s) != (1.0, 0.0):
        yield _inside(Square(centre, fitting, (c, s)), photo)
    if c > abs(s):
        yield _inside(Square(centre, math.floor(min(side, *photo))), photo)


def _inside(square: Square, photo: tuple[int, int]) -> Square:
    """The square moved so that all of it lies in the photo, which is large enough for it."""
    x, y = (
        min(max(place, square.reach), extent - square.reach)
        for place, extent in zip(square.centre, photo, strict=True)
    )
    return Square((x, y), square.side, square.right)


def _is_cut_off(face: Face, photo: tuple[int, int]) -> bool:
    """Whether eyes, mouth or a fifth of the face are beyond the photo's edge."""
    reach = _WHOLE * face.size
    if not all(
        reach <= at <= extent - reach for at, extent in zip(_centre(face), photo, strict=True)
    ):
        return True
    return not all(
        0 <= at <= extent
        for feature in (face.left_eye, face.right_eye, face.mouth)
        for at, extent in zip(feature, photo, strict=True)
    )


def _holds(square: Square, face: Face) -> bool:
    """Whether eyes and mouth lie in the square, and in a turned one not at its very edge."""
    room = 0.05 if square.right != (1.0, 0.0) else 0.0
    return all(
        room <= at <= 1 - room
        for feature in (face.left_eye, face.right_eye, face.mouth)
        for at in square.to_square(feature, 1)
    )


def _centre(face: Face) -> Point:
    (x, y), (down_x, down_y) = face.eyes, face.down
    return x + _CENTRE * down_x, y + _CENTRE * down_y
