"""dlib's frontal face detector: HOG (Dalal & Triggs 2005) and a linear classifier."""

from __future__ import annotations

import numpy as np

from srgan.faces.detect import Finder
from srgan.faces.face import Face
from srgan.faces.landmarks import load_landmarks
from srgan.faces.packages import require
from srgan.images import Pixels

# The classifier's own threshold. Faces score up to 3.
_THRESHOLD = 0.0


def hog() -> Finder:
    """The finder. It needs no model file, sees no face from the side, and takes 0.1 s/megapixel."""
    detector = require("dlib").get_frontal_face_detector()
    landmarks = load_landmarks()

    def look(pixels: Pixels) -> list[Face]:
        image = np.ascontiguousarray(pixels)
        boxes, scores, _ = detector.run(image, 0, _THRESHOLD)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            left, top, side = float(box.left()), float(box.top()), float(box.width())
            eyes_and_mouth = landmarks.points(image, left, top, side)
            faces.append(Face(*eyes_and_mouth, (left, top, side, side), float(score)))
        return faces

    return Finder(
        look,
        # Its window is 80 pixels wide, a little more than the face.
        smallest=80,
        largest=1 << 29,
        patch=256,
        min_score=_THRESHOLD,
        # It does not find those at all.
        upright_score=_THRESHOLD,
        tile=1 << 30,
        max_scale=2.0,
        max_pixels=16_000_000,
    )
