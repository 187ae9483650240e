"""Decode, orient, convert, crop, resize and encode images. uint8 RGB ``[H, W, 3]`` throughout."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

Pixels = NDArray[np.uint8]

# A file that ends early is rejected, never padded with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# The header is compared with our own limit before decoding; Pillow's would only warn up to twice.
Image.MAX_IMAGE_PIXELS = None
# Pictures only: Pillow would also start Ghostscript for EPS and take some text files for images.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageRejectedError(Exception):
    """An image that cannot be used: ``reason`` is a fixed word, ``detail`` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(data: bytes, *, max_pixels: int) -> Pixels:
    """An encoded image as it should be seen: EXIF orientation applied, in RGB, uint8 [H, W, 3].

    16-bit grey is scaled to 8 bits, transparency is composited on white. The header is compared
    with ``max_pixels`` before any pixel is decoded: a 300 KB file can hold 100 megapixels.

    Raises :class:`ImageRejectedError` with reason ``not_an_image``, ``too_many_pixels`` or
    ``corrupt``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pixels decide.
        image = open_checked(data, max_pixels=max_pixels)
        try:
            image.load()
            return np.asarray(_to_rgb(_oriented(image)))
        except Exception as error:
            # Decoders raise whatever they like on hostile bytes: SyntaxError, struct.error, ...
            raise ImageRejectedError("corrupt", _one_line(error)) from None


def open_checked(data: bytes, *, max_pixels: int) -> Image.Image:
    """The header of an encoded image, its size within ``max_pixels``; no pixel is decoded yet.

    Raises :class:`ImageRejectedError` with reason ``not_an_image``, ``too_many_pixels`` or
    ``corrupt``.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageRejectedError("not_an_image", "no known image format") from None
    except Exception as error:
        raise ImageRejectedError("corrupt", _one_line(error)) from None
    width, height = image.size
    if width * height > max_pixels:
        detail = f"{width}x{height} pixels, the limit is {max_pixels}"
        raise ImageRejectedError("too_many_pixels", detail)
    return image


def centre_square(pixels: Pixels, side: int | None = None) -> Pixels:
    """The central ``side`` x ``side`` pixels; the largest square when ``side`` is ``None``.

    Raises :class:`ImageRejectedError` with reason ``too_small``.
    """
    height, width = pixels.shape[:2]
    side = min(height, width) if side is None else side
    if side > min(height, width):
        raise ImageRejectedError("too_small", f"{width}x{height} pixels, the crop needs {side}")
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Antialiased bicubic (Keys a=-0.5, support scaled when shrinking, as MATLAB's imresize).

    Pillow's BICUBIC is that kernel and agrees with MATLAB to a grey level.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def encode_png(pixels: Pixels) -> bytes:
    """Lossless PNG; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    # Level 1 is four times faster than the default and 8 % larger on photos.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels, quality: int = 92) -> bytes:
    """JPEG without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def to_uint8(unit: NDArray[np.floating[Any]]) -> Pixels:
    """[0, 1] floats to uint8: clipped and rounded (truncation would darken by half a level)."""
    levels: Pixels = np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


def to_unit(pixels: Pixels) -> NDArray[np.float32]:
    """uint8 to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255.0)


def _oriented(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says; as it lies where EXIF is damaged."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips 16-bit grey at 255, which turns photos white.
        values = np.asarray(image, dtype=np.float64)
        deep = image.mode.startswith("I;16") or values.max(initial=0) > 255
        top = 65535.0 if deep else 255.0
        return Image.fromarray(to_uint8(values / top)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
