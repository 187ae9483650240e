"""What a detector says of a face, and the numbers that framing needs. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Point = tuple[float, float]
Box = tuple[float, float, float, float]

# Seen from the side the eyes fall together, and their line says nothing of the head's roll.
_TURNED_AWAY = 0.6


@dataclass(frozen=True)
class Face:
    """A face in pixels of the photo: x to the right, y down, (0, 0) the corner of the first pixel.

    ``left_eye`` is the one on the left for who looks at an upright face; ``mouth`` is the mouth's
    centre; ``box`` is (left, top, width, height); ``score`` is the detector's own confidence.
    """

    left_eye: Point
    right_eye: Point
    mouth: Point
    box: Box
    score: float

    @property
    def eyes(self) -> Point:
        """The point between the eyes."""
        return middle(self.left_eye, self.right_eye)

    @property
    def down(self) -> Point:
        """From between the eyes to the mouth."""
        return self.mouth[0] - self.eyes[0], self.mouth[1] - self.eyes[1]

    @property
    def size(self) -> float:
        """Width of the face as if seen from the front, in pixels.

        The greater of what the eyes' distance and the eyes' height above the mouth say, in the
        proportions of FFHQ's alignment (Karras et al. 2019, appendix A), so that a head turned or
        bowed is framed as wide as one that looks at us. YuNet's boxes are as wide (median 1.01).
        """
        apart = math.dist(self.left_eye, self.right_eye)
        return max(apart * 4.0, math.hypot(*self.down) * 3.6) / 1.8

    @property
    def right(self) -> Point:
        """Unit vector to the right in the face's own frame: (1, 0) when the head is upright."""
        x, y = self.right_eye[0] - self.left_eye[0], self.right_eye[1] - self.left_eye[1]
        if math.hypot(x, y) < _TURNED_AWAY * math.hypot(*self.down):
            x, y = self.down[1], -self.down[0]
        length = math.sqrt(x * x + y * y)
        return (x / length, y / length) if length else (1.0, 0.0)

    @property
    def centre(self) -> Point:
        """The point between eyes and mouth."""
        return middle(self.eyes, self.mouth)

    def turned_over(self) -> Face:
        """The same place taken for a face that stands on its head."""
        (x, y), (mouth_x, mouth_y) = self.eyes, self.mouth
        dx, dy = self.right_eye[0] - x, self.right_eye[1] - y
        return replace(
            self,
            left_eye=(mouth_x + dx, mouth_y + dy),
            right_eye=(mouth_x - dx, mouth_y - dy),
            mouth=(x, y),
        )


def middle(a: Point, b: Point) -> Point:
    """The point halfway between two."""
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2


def quantised(face: Face, steps: int) -> Face:
    """The face with coordinates in ``steps`` to a pixel and the score in hundredths.

    A network's sums differ in the last digits from one processor to the next, and a dataset's
    bytes must not.
    """
    left, top, width, height = (_quantise(value, steps) for value in face.box)
    return Face(
        left_eye=(_quantise(face.left_eye[0], steps), _quantise(face.left_eye[1], steps)),
        right_eye=(_quantise(face.right_eye[0], steps), _quantise(face.right_eye[1], steps)),
        mouth=(_quantise(face.mouth[0], steps), _quantise(face.mouth[1], steps)),
        box=(left, top, width, height),
        score=round(face.score, 2),
    )


def ordered(faces: Sequence[Face]) -> list[Face]:
    """Largest box first; equal ones from the top, then from the left."""
    return sorted(faces, key=lambda f: (-f.box[2] * f.box[3], f.box[1], f.box[0], f.left_eye))


def suppressed(faces: Sequence[Face]) -> list[Face]:
    """One face of those that overlap: the one with the best score, larger before smaller."""
    kept: list[Face] = []
    for face in sorted(ordered(faces), key=lambda f: -f.score):
        if not any(_same(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    shared = _shared(a, b)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared) if shared else 0.0


def _same(a: Box, b: Box) -> bool:
    # People stand before one another; what lies mostly within another box is a part of that face.
    smaller = min(a[2] * a[3], b[2] * b[3])
    return overlap(a, b) > 0.3 or _shared(a, b) > 0.6 * smaller


def _shared(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _quantise(value: float, steps: int) -> float:
    return math.floor(value * steps + 0.5) / steps
