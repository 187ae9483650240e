"""Every face of a photo as an upright portrait: detectors, alignment, and their model files."""

from srgan.faces.align import AlignedFace, align_face
from srgan.faces.detect import Detector
from srgan.faces.face import Face
from srgan.faces.model import FaceModel, find_model, open_detector

__all__ = [
    "AlignedFace",
    "Detector",
    "Face",
    "FaceModel",
    "align_face",
    "find_model",
    "open_detector",
]
