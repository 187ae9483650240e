"""Small pictures of files that were rejected: what of them can be shown, at a bounded cost."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from beam_jobs import drawing
from srgan import images
from srgan.headers import without_warnings
from srgan.images import DecodeOptions, ImageRejectedError

# Some 100 MB where all of them are decoded; JPEG that shrinks while it decodes needs far less.
_MAX_PIXELS, _MAX_SHRINKING_PIXELS = 16_000_000, 100_000_000
# Encoders make about ten scans of a picture; thousands take minutes to decode.
_MAX_SCANS = 100
_TOLERANT = ("JPEG", "PNG", "BMP")


class NotShownError(Exception):
    """A file that is not decoded, or not with any success; the message is a few words."""


def thumbnail(data: bytes, side: int) -> Image.Image:
    """A picture of at most ``side`` x ``side`` pixels; of a damaged file, what there is of it.

    Raises :class:`NotShownError` for what is no picture and for what would cost too much.
    """
    limit = _limit(data)
    try:
        image = images.decode_image(data, DecodeOptions(limit), least=side).pixels
        return _small(Image.fromarray(image), side)
    except ImageRejectedError as error:
        if error.reason == "too_many_pixels":
            raise NotShownError("too large to show") from None
        if error.reason != "corrupt":
            raise NotShownError("cannot be decoded") from None
    except MemoryError:
        raise NotShownError("too large to show") from None
    try:
        with without_warnings("damaged"):
            return _small(_damaged(data, limit), side)
    except NotShownError:
        raise
    except Exception:
        # On hostile bytes decoders raise whatever they like.
        raise NotShownError("cannot be decoded") from None


def kind_of(data: bytes) -> str:
    """What a file seems to be by its first bytes, in a word for a person."""
    if not data:
        return "EMPTY"
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "VIDEO")
    if head.startswith(b"riff"):
        return "WEBP" if data[8:12] == b"WEBP" else "AVI"
    if b"<html" in head or b"<!doctype html" in head:
        return "HTML"
    return "TEXT" if _is_text(data[:512]) else "DATA"


_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89png", "PNG"),
    (b"gif8", "GIF"),
    (b"ii*\0", "TIFF"),
    (b"mm\0*", "TIFF"),
    (b"bm", "BMP"),
    (b"8bps", "PSD"),
    (b"%pdf", "PDF"),
    (b"%!ps", "PS"),
    (b"pk\x03\x04", "ZIP"),
    (b"\x1f\x8b", "GZIP"),
    (b"7z\xbc\xaf", "7Z"),
    (b"rar!", "RAR"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}


def _limit(data: bytes) -> int:
    """How many pixels are worth decoding."""
    if not data.startswith(b"\xff\xd8"):
        return _MAX_PIXELS
    scans = data.count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise NotShownError("too many scans to show")
    # Several scans need every coefficient in memory, however small the picture is to be. A second
    # one may belong to a picture in the metadata.
    several = b"\xff\xc2" in data or scans > 2
    return _MAX_PIXELS if several else _MAX_SHRINKING_PIXELS


def _damaged(data: bytes, limit: int) -> Image.Image:
    """As much of a damaged picture as its decoder has come to; the rest is black."""
    image = Image.open(io.BytesIO(data), formats=_TOLERANT)
    if image.width * image.height > min(limit, _MAX_PIXELS):
        raise NotShownError("too large to show")
    try:
        image.load()
    except Exception:
        # What was decoded until then stays, if only nobody tries to decode it again.
        image.tile = []
        image.load()
    shown: Image.Image = image.convert("RGB")
    if np.asarray(shown).max(initial=0) == 0:
        raise NotShownError("cannot be decoded")
    try:
        return ImageOps.exif_transpose(shown)
    except Exception:
        return shown


def _small(image: Image.Image, side: int) -> Image.Image:
    size = drawing.fitted(image.size, side, side)
    if size[0] > image.width:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _is_text(data: bytes) -> bool:
    # Where the cut hit the middle of a character, it is text all the same.
    text = data.decode("utf-8", "ignore")
    readable = sum(character.isprintable() or character.isspace() for character in text)
    return len(text.encode()) >= len(data) - 3 and readable == len(text)
