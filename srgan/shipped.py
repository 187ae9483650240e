"""Trained generators that come with the package, so that photos can be enlarged at once.

``infra/models/make.py`` makes them; each one's card says from what, and what it is good for.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import ModelError

if TYPE_CHECKING:
    from srgan.export import ExportedModel

# For photos as people have them: blurred a little, noisy, saved as JPEG.
DEFAULT = "faces-x4-real"


def shipped_folder() -> Path:
    """Where the packaged models are: a folder for each, by its name."""
    return Path(str(resources.files("srgan"))) / "models"


def shipped_names() -> list[str]:
    """Names of the packaged models, sorted."""
    folder = shipped_folder()
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / "SHA256SUMS").is_file())


def load_shipped(name: str) -> ExportedModel:
    """A packaged model, verified by its sha256; :class:`ModelError` lists the names there are."""
    from srgan.packed import load_packed

    if name not in shipped_names():
        known = ", ".join(shipped_names()) or "none in this installation"
        raise ModelError(f"no packaged model {name!r}; there is {known}")
    return load_packed(shipped_folder() / name)
