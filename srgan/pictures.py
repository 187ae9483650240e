"""Picture files with everything that belongs to a photo beside its colours.

Orientation, transparency, greyness, colour profile and camera data: what :mod:`srgan.images`
drops, because training needs only pixels, and what a person misses in an enlarged photo.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from srgan.images import ImageRejectedError, Pixels, open_checked, to_uint8

FORMATS: Mapping[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_SAVE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # No chroma subsampling: it would halve the resolution of colours that was just won.
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_deflate"},
    "BMP": {},
}
_WITH_PROFILE = frozenset({"JPEG", "PNG", "WEBP", "TIFF"})
_WITH_EXIF = frozenset({"JPEG", "PNG", "WEBP"})
_TRANSPARENT = frozenset({"PNG", "WEBP", "TIFF"})
_EXIF_IFD, _EXIF_WIDTH, _EXIF_HEIGHT = 0x8769, 0xA002, 0xA003


@dataclass(frozen=True)
class Picture:
    """A photo as it should be seen: uint8 ``rgb [H, W, 3]``, ``alpha [H, W]`` where it has one.

    ``grey`` pictures have three equal channels. ``icc`` is the profile of the colours.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: Image.Exif | None = None


def read_picture(data: bytes, *, max_pixels: int) -> Picture:
    """Decode a still picture, EXIF orientation applied.

    The header is compared with ``max_pixels`` before any pixel is decoded. Raises
    :class:`ImageRejectedError` with reason ``not_an_image``, ``too_many_pixels``, ``animated`` or
    ``corrupt``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = open_checked(data, max_pixels=max_pixels)
        frames = getattr(image, "n_frames", 1)
        # MPO is what phones write: a JPEG, and behind it a preview or a depth map.
        if frames > 1 and image.format != "MPO":
            raise ImageRejectedError("animated", f"{frames} frames; only still pictures")
        try:
            image.load()
            return _to_picture(ImageOps.exif_transpose(image))
        except Exception as error:
            raise ImageRejectedError("corrupt", _one_line(error)) from None


def encode_picture(picture: Picture, suffix: str) -> bytes:
    """The picture in the format of ``suffix`` (a key of :data:`FORMATS`).

    Where the format has no transparency the picture is put on white. Raises :class:`OSError` or
    :class:`ValueError` when the format cannot hold it (JPEG: 65,500 pixels a side, WebP: 16,383).
    """
    kind = FORMATS[suffix.lower()]
    image = Image.fromarray(picture.rgb)
    if picture.grey:
        image = image.convert("L")
    if picture.alpha is not None:
        layer = Image.fromarray(picture.alpha)
        if kind in _TRANSPARENT:
            image.putalpha(layer)
        else:
            white = Image.new(image.mode, image.size, "white")
            image = Image.composite(image, white, layer)
    options = dict(_SAVE_OPTIONS[kind])
    if picture.icc is not None and kind in _WITH_PROFILE:
        options["icc_profile"] = picture.icc
    if picture.exif is not None and kind in _WITH_EXIF:
        options["exif"] = _resized_exif(picture.exif, image.size)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _to_picture(image: Image.Image) -> Picture:
    icc = image.info.get("icc_profile") or None
    exif = image.getexif() or None
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        # Such a profile does not describe the RGB picture that comes out.
        return Picture(np.asarray(_to_srgb(image, icc)), exif=exif)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Picture(_three(to_uint8(values / top)), grey=True, icc=icc, exif=exif)
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    rgb = np.asarray(image.convert("RGB"))
    return Picture(rgb, alpha, grey, icc, exif)


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is not None and image.mode == "CMYK":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # A broken profile: the plain conversion is what a viewer shows, too.
    return image.convert("RGB")


def _three(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1)


def _resized_exif(exif: Image.Exif, size: tuple[int, int]) -> bytes:
    details = exif.get_ifd(_EXIF_IFD)
    for tag, value in ((_EXIF_WIDTH, size[0]), (_EXIF_HEIGHT, size[1])):
        if tag in details:
            details[tag] = value
    try:
        return exif.tobytes()
    except Exception:
        # Cameras write values that no writer accepts; the picture matters more than they do.
        return b""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
