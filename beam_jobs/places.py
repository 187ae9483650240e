"""Whether the output of a build would be read by the next one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase

from srgan import storage
from srgan.errors import StorageError
from srgan.records import PREVIEW


def check_apart(inputs: Sequence[str], root: str) -> None:
    """:class:`StorageError` where datasets in ``root`` would lie in one of the image sets."""
    made = [*_parts(root), "faces-0123456789ab", PREVIEW]  # An image of a dataset.
    for image_set in inputs:
        if _reaches(image_set, made):
            raise StorageError(
                f"{root}: the output lies inside the image set {storage.absolute(image_set)}, "
                "so that the next build would read it; choose another place"
            )


def _reaches(image_set: str, made: Sequence[str]) -> bool:
    parts = _parts(image_set)
    if not storage.is_glob(image_set):
        return len(parts) <= len(made) - 2 and made[: len(parts)] == parts
    if "**" in parts:
        parts = parts[: parts.index("**")]
    return len(parts) <= len(made) and all(
        fnmatchcase(name, part) for name, part in zip(made, parts, strict=False)
    )


def _parts(place: str) -> list[str]:
    if storage.local_path(place) is not None:
        # A link, or "..", may lead there.
        return os.path.realpath(storage.absolute(place)).split("/")
    return storage.absolute(place).split("/")
