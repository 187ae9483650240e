"""Every face of a photo that is large enough: found on small copies, measured on the photo.

A crop has at least ``hr_size`` pixels of the photo, so that faces below a certain size need not be
seen. The photo is reduced until a face of that size is the smallest that a detector still finds
for sure: a photo of 12 megapixels becomes one of 1. Landmarks found there would be off by some
pixels of the photo. So each face is looked for again, upright and at one size, in a patch of the
photo itself; what does not score as a face there is dropped.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from srgan.faces.face import Face, Point, ordered, quantised, suppressed
from srgan.faces.landmarks import Landmarks
from srgan.faces.sample import Square, sample_square
from srgan.images import Pixels

# A patch is so many times as wide as the face in its middle: YuNet needs to see some hair.
_PATCH = 2.4
# Each copy is so much smaller than the one before; well within the range of sizes of a detector.
_OCTAVE = 4
# All of it is done in a close-up, so many times as wide as the face, of so many pixels at most.
_CLOSE_UP, _CLOSE_UP_PIXELS = 4, 320
# From a head that leans by 45 degrees to the last half degree.
_FITS = 2
# What looks smaller than this part of the size that is needed, is; so it is not measured.
_HOPELESS = 0.7
# In sizes of the face.
_AGREEMENT = 0.15


@dataclass(frozen=True)
class Finder:
    """One look at one image, and what is known of how well it sees. Sizes are in pixels."""

    look: Callable[[Pixels], list[Face]]
    """The faces of uint8 RGB [H, W, 3] in its coordinates, doubtful ones too."""
    smallest: float
    """Size of the smallest face that is found for sure."""
    largest: int
    """Size of the largest face that is found for sure."""
    patch: int
    """Side of the patch in which a face is measured."""
    min_score: float
    """Least score of a face in its patch."""
    upright_score: float
    """No face that stands on its head scores so much."""
    tile: int
    """Larger copies are looked at in squares of this side."""
    max_scale: float
    """How far a photo may be enlarged to see its small faces."""
    max_pixels: int
    """Of a copy; looking at more would take too long."""


@dataclass(frozen=True)
class Detector:
    """Finds the faces of a photo that are at least ``least_size`` pixels wide."""

    finder: Finder
    landmarks: Landmarks
    least_size: float

    def find(self, pixels: Pixels) -> list[Face]:
        """Faces of uint8 RGB [H, W, 3], the largest first; equal ones from top to bottom.

        Smaller ones than ``least_size`` are among them when they happen to be seen. Coordinates
        are multiples of a quarter of a pixel, and of faces that overlap only one is there: the
        same photo gives the same list.
        """
        # Whole pixels, so that what is measured is the same on every processor.
        seen = [quantised(face, 1) for copy in self._copies(pixels) for face in self._look(*copy)]
        measured = [self._measured(pixels, face) for face in suppressed(seen)]
        return ordered(suppressed([quantised(face, 4) for face in measured if face is not None]))

    def _copies(self, pixels: Pixels) -> Iterator[tuple[Pixels, float]]:
        """Ever smaller copies of the photo, and how many pixels of it each of theirs is."""
        finder = self.finder
        height, width = pixels.shape[:2]
        scale = min(
            finder.smallest / self.least_size,
            finder.max_scale,
            math.sqrt(finder.max_pixels / (width * height)),
        )
        image = Image.fromarray(pixels)
        while True:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            if size != image.size:
                image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
            yield np.asarray(image), 1 / scale
            if max(size) <= finder.largest:
                return
            scale /= _OCTAVE

    def _look(self, pixels: Pixels, scale: float) -> Iterator[Face]:
        tile = self.finder.tile
        height, width = pixels.shape[:2]
        # What one tile cuts through, the next one has whole.
        step = max(1, tile - self.finder.largest)
        for top in range(0, max(1, height - tile + step), step):
            for left in range(0, max(1, width - tile + step), step):
                part = pixels[top : top + tile, left : left + tile]
                place = functools.partial(_scaled, left=left, top=top, scale=scale)
                yield from (_moved(face, place, scale) for face in self.finder.look(part))

    def _measured(self, pixels: Pixels, rough: Face) -> Face | None:
        """The face as it looks upright in the middle of a patch; ``None`` when it is none."""
        if rough.size < self.least_size * _HOPELESS:
            return rough if rough.score >= self.finder.min_score else None
        around = Square(rough.centre, _CLOSE_UP * rough.size)
        side = min(math.ceil(around.side), _CLOSE_UP_PIXELS)
        scale = around.side / side
        close_up = sample_square(pixels, around, side, exact=False)
        face = self._upright(
            close_up, _moved(rough, lambda point: around.to_square(point, side), 1 / scale)
        )
        return face and _moved(face, lambda point: around.to_photo(point, side), scale)

    def _upright(self, pixels: Pixels, rough: Face) -> Face | None:
        face = self._fitted(pixels, rough) or self._seen(pixels, rough)
        if face is None or face.score >= self.finder.upright_score:
            return face
        over = self._fitted(pixels, face.turned_over())
        return over if over is not None and over.score > face.score else face

    def _fitted(self, pixels: Pixels, rough: Face) -> Face | None:
        """The face with landmarks on which model and detector agree.

        They do not where a face is turned away or covered: the model knows only faces from the
        front.
        """
        face = rough
        for _ in range(_FITS):
            face = self.landmarks.fit(pixels, face)
        if not rough.size / 2 < face.size < rough.size * 2:
            return None
        seen = self._seen(pixels, face)
        if seen is None or math.dist(seen.eyes, face.eyes) > _AGREEMENT * face.size:
            return None
        face = replace(face, box=seen.box, score=seen.score)
        return face if _is_one(face) else None

    def _seen(self, pixels: Pixels, face: Face) -> Face | None:
        """What the detector sees in the middle of the upright patch around a face."""
        finder = self.finder
        square = Square(face.centre, _PATCH * face.size, face.right)
        if square.side < 1:
            return None
        middle = finder.patch / 2, finder.patch / 2
        patch = sample_square(pixels, square, finder.patch, exact=False)
        seen = [other for other in finder.look(patch) if other.score >= finder.min_score]
        if not seen:
            return None
        nearest = min(seen, key=lambda other: math.dist(_centre(other), middle))
        if math.dist(_centre(nearest), middle) > finder.patch / _PATCH / 2 or not _is_one(nearest):
            return None
        scale = square.side / finder.patch
        return _moved(nearest, lambda point: square.to_photo(point, finder.patch), scale)


def _is_one(face: Face) -> bool:
    """Whether box and landmarks are those of one face: its width is that of the box, about."""
    return 0.6 * face.box[2] < face.size < 1.7 * face.box[2]


def _moved(face: Face, place: Callable[[Point], Point], scale: float) -> Face:
    """The face where ``place`` puts it; its box stays upright."""
    x, y = place(_centre(face))
    width, height = face.box[2] * scale, face.box[3] * scale
    return Face(
        left_eye=place(face.left_eye),
        right_eye=place(face.right_eye),
        mouth=place(face.mouth),
        box=(x - width / 2, y - height / 2, width, height),
        score=face.score,
    )


def _scaled(point: Point, *, left: int, top: int, scale: float) -> Point:
    return (point[0] + left) * scale, (point[1] + top) * scale


def _centre(face: Face) -> Point:
    left, top, width, height = face.box
    return left + width / 2, top + height / 2
