"""One source to one LR/HR pair, and the split it belongs to. Pure functions; no Beam here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
from srgan.errors import ConfigError
from srgan.images import ImageRejectedError, Pixels
from srgan.records import Split


def make_pair(data: bytes, config: DatasetConfig) -> tuple[Pixels, Pixels]:
    """HR and LR, uint8 [S, S, 3] and [S/scale, S/scale, 3], of an encoded image.

    The central square is shrunk to HR and HR is degraded to LR; nothing is ever enlarged.

    Raises :class:`ImageRejectedError` with reason ``not_an_image``, ``too_many_pixels``,
    ``corrupt`` or ``too_small``.
    """
    pixels = images.decode(data, max_pixels=config.max_pixels)
    square = images.centre_square(pixels, config.crop)
    if square.shape[0] < config.hr_size:
        height, width = pixels.shape[:2]
        raise ImageRejectedError(
            "too_small", f"{width}x{height} pixels, the HR image needs {config.hr_size}"
        )
    hr = images.resize(square, config.hr_size, config.hr_size)
    return hr, degrade(hr, config)


def group_of(name: str, key: str, config: DatasetConfig) -> str:
    """What a source shares its split with.

    ``name`` is the path relative to the image set's root. A source that belongs to no group (a
    file directly in the root, one that the regular expression does not match, any with ``none``)
    is its own: its ``key``, so that it keeps its split when it is renamed.
    """
    if config.group == "none":
        return key
    if config.group == "parent":
        folder = name.rpartition("/")[0]
        return folder.rpartition("/")[2] or key
    found = re.search(config.group, name)
    return (found.group(1) if found else None) or key


def check_group(names: Sequence[str], config: DatasetConfig) -> None:
    """:class:`ConfigError` for a regular expression that finds no group in any of ``names``.

    Every image would be a group by itself then, and one person in several splits.
    """
    if config.group in ("parent", "none"):
        return
    if not any(group_of(name, "", config) for name in names):
        raise ConfigError(
            f"group {config.group!r} matches none of {len(names)} files (such as {names[0]}); "
            "it is searched in the path relative to the image set"
        )


def split_of(group: str, config: DatasetConfig) -> Split:
    """The split of a group: nothing but its hash decides, so nobody moves when data grows."""
    digest = hashlib.sha256(f"{config.split_salt}\0{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test_fraction:
        return "test"
    if place < config.test_fraction + config.val_fraction:
        return "val"
    return "train"
