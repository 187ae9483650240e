"""What of a photo becomes HR images: the central square, every face, tiles, or the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.images import DecodedImage, ImageRejectedError, Pixels

if TYPE_CHECKING:
    from srgan.faces import Detector

# JPEG may be decoded at a half, quarter or eighth as long as that many times the pixels needed
# are left to the antialiased resize, which then hides the difference.
_SPARE_PIXELS = images.DRAFT_GAP


@dataclass(frozen=True)
class Crop:
    """HR pixels, uint8 [H, W, 3], and the side of that part of the photo in source pixels."""

    hr: Pixels
    side: float


def decoded_side(config: DatasetConfig) -> int | None:
    """The shorter side that decoding must leave; ``None``: every pixel is wanted."""
    if config.crop == "center" and config.crop_size is None and config.degradation != "paired":
        return round(_SPARE_PIXELS * config.hr_size)
    return None


def crops_of(
    image: DecodedImage, config: DatasetConfig, detector: Detector | None
) -> Iterator[Crop | ImageRejectedError]:
    """The HR images of a photo, each in its place: what cannot be one is the reason why.

    Nothing is ever enlarged. Raises :class:`ImageRejectedError` where the photo as a whole has
    none: ``too_small`` or ``no_face``.
    """
    if config.crop == "faces":
        assert detector is not None
        yield from _faces(image.pixels, config, detector)
        return
    check_size(image, config)
    if config.crop == "center":
        yield _center(image, config)
    elif config.crop == "tiles":
        for top, left in tile_corners(image.pixels.shape[:2], config):
            tile = image.pixels[top : top + config.hr_size, left : left + config.hr_size]
            yield Crop(tile, config.hr_size)
    else:
        height, width = (side - side % config.scale for side in image.pixels.shape[:2])
        yield Crop(image.pixels[:height, :width], min(height, width))


def check_size(image: DecodedImage, config: DatasetConfig) -> None:
    """:class:`ImageRejectedError` ``too_small`` for a photo without one HR image in it."""
    needed = config.crop_size or config.hr_size
    if min(image.width, image.height) < needed:
        raise ImageRejectedError(
            "too_small", f"{image.width}x{image.height} pixels, the crop needs {needed}"
        )


def tile_corners(shape: tuple[int, ...], config: DatasetConfig) -> list[tuple[int, int]]:
    """Top and left of each tile, row by row; what the grid leaves over is cut evenly all round.

    Corners lie on the LR grid.
    """
    stride = config.tile_stride or config.hr_size
    rows, columns = ((side - config.hr_size) // stride + 1 for side in shape[:2])
    margins = [
        (side - (count - 1) * stride - config.hr_size) // 2
        for side, count in zip(shape[:2], (rows, columns), strict=True)
    ]
    top, left = (margin - margin % config.scale for margin in margins)
    return [(top + r * stride, left + c * stride) for r in range(rows) for c in range(columns)]


def _center(image: DecodedImage, config: DatasetConfig) -> Crop:
    square = images.centre_square(image.pixels, config.crop_size)
    side = config.crop_size or min(image.width, image.height)
    return Crop(images.resize(square, config.hr_size, config.hr_size), side)


def _faces(
    pixels: Pixels, config: DatasetConfig, detector: Detector
) -> Iterator[Crop | ImageRejectedError]:
    from srgan.faces import align_face

    faces = detector.find(pixels)
    if not faces:
        raise ImageRejectedError(
            "no_face", f"no face that fills {config.hr_size} px together with its margin"
        )
    for face in faces:
        try:
            aligned = align_face(pixels, face, config.faces, config.hr_size)
        except ImageRejectedError as error:
            yield error
        else:
            yield Crop(aligned.pixels, aligned.side)
