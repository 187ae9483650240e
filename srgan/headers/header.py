"""What is known of an image file before any pixel is decoded, and why one is not used."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile

# A file that ends early is rejected, never padded with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Sizes are compared with our own limit before decoding; Pillow's would only warn up to twice.
Image.MAX_IMAGE_PIXELS = None

# What is handed on of these holds nothing that Pillow warns of.
_SILENT = frozenset({"JPEG", "PNG", "WEBP", "GIF"})
_filters = threading.Lock()


class ImageRejectedError(Exception):
    """An image that cannot be used: ``reason`` is a fixed word, ``detail`` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageRejectedError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True)
class Header:
    """An image file, read as far as its pixels.

    ``width`` and ``height`` are those of the pixels as stored, before ``orientation`` (EXIF's 1
    to 8). ``profile`` is the ICC profile of its colours. ``data`` is what the decoder gets.
    """

    format: str
    width: int
    height: int
    data: bytes
    orientation: int = 1
    profile: bytes | None = None
    animated: bool = False

    def open(self) -> Image.Image:
        """The file in Pillow's hands, nothing decoded yet."""
        return Image.open(io.BytesIO(self.data), formats=(self.format,))


def corrupt(detail: str) -> ImageRejectedError:
    """The file is damaged, or made to hurt."""
    return ImageRejectedError("corrupt", detail)


def one_line(error: Exception) -> str:
    """What an exception says, fit for a line of a report."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def without_warnings(kind: str) -> Iterator[None]:
    """Pillow warns of odd metadata; the pixels decide.

    The filters of warnings belong to the process: two threads that change them at a time leave
    them changed. So it is one at a time, and none for the formats that most images have.
    """
    if kind in _SILENT:
        yield
        return
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
