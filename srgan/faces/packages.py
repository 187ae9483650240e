"""The optional packages of the extra ``faces``, imported when they are needed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from pathlib import Path
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


def model_file(name: str, sha256: str) -> Path:
    """A model of the package ``face_recognition_models``, its bytes checked.

    The package itself is not imported: it needs pkg_resources, which new environments lack.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "models", name)
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != sha256:
                raise ConfigError(
                    f"{path}: not the known model (sha256 {found[:12]}…, expected {sha256[:12]}…): "
                    'pip install --force-reinstall "srgan-faces[faces]"'
                )
            return path
    raise missing("face_recognition_models", f"{name} not found")
