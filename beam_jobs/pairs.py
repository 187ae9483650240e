"""One source to its LR/HR pairs, and the split it belongs to. Pure functions; no Beam here."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_jobs.crops import Crop, check_size, crops_of, decoded_side, tile_corners
from beam_jobs.sorting import whole_word
from srgan import images, quality, storage
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
from srgan.errors import ConfigError
from srgan.images import DecodedImage, DecodeOptions, ImageRejectedError, Pixels
from srgan.imageset import ImageFile
from srgan.quality import Measures
from srgan.records import Split

if TYPE_CHECKING:
    from srgan.faces import Detector


@dataclass(frozen=True)
class Pair:
    """A pair and what was measured on it. ``hr`` uint8 [H, W, 3], ``lr`` [H/scale, W/scale, 3]."""

    key: str
    hr: Pixels
    lr: Pixels
    side: float
    measures: Measures


@dataclass(frozen=True)
class SourcePairs:
    """What a photo gives; ``rejected`` are (number, reason, detail) of crops beside the pairs."""

    width: int
    height: int
    pairs: list[Pair]
    rejected: list[tuple[int, str, str]]


def make_pairs(
    data: bytes,
    config: DatasetConfig,
    *,
    key: str,
    lr_data: bytes | None = None,
    detector: Detector | None = None,
) -> SourcePairs:
    """The pairs of an encoded image with the sha256 ``key``; at least one.

    ``lr_data`` is the LR file with ``degradation: paired``; ``detector`` is for ``crop: faces``.

    Raises :class:`ImageRejectedError` with the reason why there is no pair.
    """
    options = DecodeOptions.of(config)
    image = images.decode_image(data, options, least=decoded_side(config))
    if lr_data is None:
        crops = crops_of(image, config, detector)
        several = config.crop in ("faces", "tiles")
        made = [
            crop
            if isinstance(crop, ImageRejectedError)
            else _degraded(crop, record_key(key, number if several else None), config)
            for number, crop in enumerate(crops)
        ]
    else:
        lr = images.decode_image(lr_data, options)
        made = _paired(image, lr, config, key)
    pairs: list[Pair] = []
    rejected: list[tuple[int, str, str]] = []
    for number, item in enumerate(made):
        if isinstance(item, ImageRejectedError):
            rejected.append((number, item.reason, item.detail))
        else:
            pairs.append(item)
    if not pairs:
        _, reason, detail = rejected[0]
        others = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
        raise ImageRejectedError(reason, detail + others)
    return SourcePairs(image.width, image.height, pairs, rejected)


def record_key(sha256: str, number: int | None) -> str:
    """The key of a record: the source's sha256, and the crop's number where it gives several."""
    return sha256 if number is None else f"{sha256}-{number:03d}"


def _degraded(crop: Crop, key: str, config: DatasetConfig) -> Pair | ImageRejectedError:
    try:
        measures = _checked(crop.hr, config)
    except ImageRejectedError as error:
        return error
    return Pair(key, crop.hr, degrade(crop.hr, config, key), crop.side, measures)


def _paired(
    hr: DecodedImage, lr: DecodedImage, config: DatasetConfig, key: str
) -> list[Pair | ImageRejectedError]:
    """HR and LR as they come, cut at the same places; neither is ever resized."""
    scale, side = config.scale, config.hr_size
    if (hr.width, hr.height) != (lr.width * scale, lr.height * scale):
        raise ImageRejectedError(
            "pair_mismatch",
            f"HR {hr.width}x{hr.height}, LR {lr.width}x{lr.height}: not {scale} times as large",
        )
    check_size(hr, config)
    height, width = hr.pixels.shape[:2]
    if config.crop == "tiles":
        places = [(top, left, side, side) for top, left in tile_corners((height, width), config)]
    elif config.crop == "center":
        top, left = (extent // scale - config.lr_size for extent in (height, width))
        places = [(top // 2 * scale, left // 2 * scale, side, side)]
    else:
        places = [(0, 0, height, width)]
    made: list[Pair | ImageRejectedError] = []
    for number, (top, left, rows, columns) in enumerate(places):
        high = hr.pixels[top : top + rows, left : left + columns]
        at = (slice(top // scale, (top + rows) // scale), slice(left // scale, None))
        low = lr.pixels[at][:, : columns // scale]
        own_key = record_key(key, number if config.crop == "tiles" else None)
        try:
            measures = _checked(high, config)
        except ImageRejectedError as error:
            made.append(error)
        else:
            made.append(Pair(own_key, high, low, min(rows, columns), measures))
    return made


def _checked(hr: Pixels, config: DatasetConfig) -> Measures:
    """What is measured of an HR image that has enough contrast and sharpness."""
    found = quality.measure(hr)
    if found.contrast < config.min_contrast:
        raise ImageRejectedError(
            "flat", f"contrast {found.contrast:.1f}, min_contrast is {config.min_contrast:g}"
        )
    if found.sharpness < config.min_sharpness:
        raise ImageRejectedError(
            "blurred", f"sharpness {found.sharpness:.2f}, min_sharpness is {config.min_sharpness:g}"
        )
    return found


def group_of(inside: str, key: str, config: DatasetConfig) -> str:
    """What a source shares its split with.

    ``inside`` is the path relative to the source's input; a name that some systems write in other
    code points (Unicode NFD) is the same name. A source that belongs to no group (a
    file directly in the root, one that the regular expression does not match, any with ``none``)
    is its own: its ``key``, so that it keeps its split when it is renamed.
    """
    if config.group == "none":
        return key
    inside = unicodedata.normalize("NFC", inside)
    if config.group == "parent":
        folders = inside.split("/")[:-1]
        if config.degradation == "paired":
            # "HR" in Ann/HR/1.png and HR/1.png says what the file is, not who.
            folders = [folder for folder in folders if folder != config.paired.hr]
        return (folders[-1] if folders else "") or key
    found = re.search(config.group, inside)
    return (found.group(1) if found else None) or key


def check_group(files: Sequence[ImageFile], config: DatasetConfig) -> None:
    """:class:`ConfigError` where every image would be a group by itself, and nobody meant it.

    That is a regular expression that finds no group in any path, and several folders beside one
    another with images directly in them: one person would be in several splits.
    """
    if config.group == "none":
        return
    if config.group == "parent":
        for above, folders in _flat_folders(files).items():
            if config.degradation == "paired":
                folders = {f for f in folders if not re.search(whole_word(config.paired.lr), f)}
            if len(folders) > 1:
                raise ConfigError(
                    f"{len(folders)} inputs in {above} (such as {min(folders)}) hold images and no "
                    "folder, so that no folder is a group; give the folder above them (quote "
                    "globs), or --group none to have every image by itself"
                )
        return
    if not any(group_of(file.inside, "", config) for file in files):
        raise ConfigError(
            f"group {config.group!r} matches none of {len(files)} files (such as "
            f"{files[0].inside}); it is searched in the path relative to the image set"
        )


def _flat_folders(files: Sequence[ImageFile]) -> dict[str, set[str]]:
    """Folders that are inputs and hold no folder, by the folder that they lie in."""
    roots: dict[str, bool] = {}
    for file in files:
        if file.place.endswith(f"/{file.inside}"):  # Not a member of an archive.
            root = file.place.removesuffix(f"/{file.inside}")
            roots[root] = roots.get(root, True) and "/" not in file.inside
    flat: dict[str, set[str]] = {}
    for root, without_folders in roots.items():
        if without_folders:
            flat.setdefault(root.rpartition("/")[0], set()).add(storage.base_name(root))
    return flat


def split_of(group: str, config: DatasetConfig) -> Split:
    """The split of a group: nothing but its hash decides, so nobody moves when data grows."""
    digest = hashlib.sha256(f"{config.split_salt}\0{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test_fraction:
        return "test"
    if place < config.test_fraction + config.val_fraction:
        return "val"
    return "train"
