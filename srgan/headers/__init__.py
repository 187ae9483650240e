"""Headers of image files: size, orientation, profile and frames, before any pixel is decoded.

A file decides by its first bytes what reads it. Each reader is bounded in time and memory by the
length of the file, whatever the file says, and hands on a file that holds what its pixels need.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from PIL import Image, UnidentifiedImageError

from srgan.headers import gif, jpeg, jpeg2000, png, tiff, webp
from srgan.headers.exif import orientation
from srgan.headers.header import Header as Header
from srgan.headers.header import ImageRejectedError as ImageRejectedError
from srgan.headers.header import corrupt as corrupt
from srgan.headers.header import one_line as one_line
from srgan.headers.header import without_warnings as without_warnings

_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[..., Header]], ...] = (
    (jpeg.MAGIC, jpeg.read),
    (png.MAGIC, png.read),
    (gif.MAGIC, gif.read),
    (tiff.MAGIC, tiff.read),
    (jpeg2000.MAGIC, jpeg2000.read),
)
# Pictures only: Pillow would also start Ghostscript for EPS and take some text files for images.
_OTHERS = ("BMP", "PPM", "AVIF")
# Pillow decodes these value by value in Python, about 1 MB a second.
_SLOW = frozenset({"ppm", "ppm_plain", "bmp_rle"})
_MOST_SLOW = 4 * 2**20
_KNOWN = {
    b"ftyphei": "HEIC is not supported; convert it to JPEG",
    b"ftypmif1": "HEIF is not supported; convert it to JPEG",
    b"%PDF": "a PDF document",
    b"8BPS": "Photoshop is not supported; export it as PNG",
    b"<svg": "SVG is no pixel image",
}


def read_header(data: bytes, *, metadata: bool = False) -> Header:
    """What ``data`` says of itself; with ``metadata``, EXIF and all pages stay for the decoder.

    Raises :class:`ImageRejectedError` with reason ``not_an_image`` or ``corrupt``.
    """
    reader = _reader(data)
    try:
        return reader(data, metadata=metadata)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        # A number out of all bounds, or read where the file has ended.
        raise corrupt(one_line(error)) from None


def _reader(data: bytes) -> Callable[..., Header]:
    for magic, reader in _READERS:
        if data.startswith(magic):
            return reader
    return webp.read if webp.is_webp(data) else _by_pillow


def _by_pillow(data: bytes, *, metadata: bool) -> Header:  # noqa: ARG001
    try:
        with without_warnings("other"):
            image = Image.open(io.BytesIO(data), formats=_OTHERS)
    except UnidentifiedImageError:
        start = data[:512].lower()
        hint = next((text for mark, text in _KNOWN.items() if mark.lower() in start), None)
        raise ImageRejectedError("not_an_image", hint or "no known image format") from None
    except Exception as error:
        raise corrupt(one_line(error)) from None
    if len(data) > _MOST_SLOW and _SLOW.intersection(tile[0] for tile in image.tile):
        detail = f"{len(data)} bytes of a slow kind of {image.format}; convert it to PNG"
        raise ImageRejectedError("too_many_bytes", detail)
    return Header(
        image.format or "",
        *image.size,
        data,
        orientation(image.info.get("exif"), image.info.get("xmp")),
        image.info.get("icc_profile"),
        animated=getattr(image, "n_frames", 1) > 1,
    )
