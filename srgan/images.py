"""Decode, orient, convert, crop, resize and encode images. uint8 RGB ``[H, W, 3]`` throughout."""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.colour import layers, to_srgb
from srgan.headers import Header, corrupt, one_line, read_header, without_warnings
from srgan.headers import ImageRejectedError as ImageRejectedError

if TYPE_CHECKING:
    from srgan.dataset_config import DatasetConfig

Pixels = NDArray[np.uint8]

# JPEG decodes to half, a quarter or an eighth by leaving out high frequencies, which aliases a
# little. A bicubic resize by this much or more afterwards hides it: against the resize of all
# pixels, 42 to 48 dB at a half (median 46.6) and 39 to 48 dB at an eighth (median 43), 98 % of
# the detail: nearer than the Lanczos resize of all pixels comes to the bicubic one (39 to 45 dB).
# At 3 it is 50 dB and more, at 1 it is 35 to 45 dB and 105 % of the detail: aliasing.
DRAFT_GAP = 1.75
# Channels of a grey photo saved as colour differ by the rounding of JPEG's colour space.
GREY_TOLERANCE = 6
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ONE_CHANNEL = frozenset({"1", "L", "LA", "La", "F"})


@dataclass(frozen=True)
class DecodeOptions:
    """Which images are accepted, and what becomes of their transparent pixels.

    ``max_pixels``, ``max_aspect`` (longer side / shorter side) and ``min_size`` (shorter side)
    are compared with the header, before any pixel is decoded. ``alpha`` is the colour below
    transparent pixels, ``#rrggbb``, or ``reject``.
    """

    max_pixels: int
    max_aspect: float = math.inf
    min_size: int = 0
    alpha: str = "#ffffff"
    grey: Literal["accept", "reject"] = "accept"
    animated: Literal["first", "reject"] = "first"

    @classmethod
    def of(cls, config: DatasetConfig) -> DecodeOptions:
        """The options of a dataset."""
        return cls(
            config.max_pixels,
            config.max_aspect,
            config.min_size,
            config.alpha,
            config.grey,
            config.animated,
        )


@dataclass(frozen=True)
class DecodedImage:
    """uint8 RGB ``pixels [H, W, 3]`` in sRGB, upright; read-only.

    ``width`` and ``height`` are those of the file, upright. ``reduced`` (1, 2, 4 or 8) says by
    how much the decoder has shrunk it: each pixel is a square of that side in the file, and what
    is left over at an edge is cut off (``pixels`` are ``width // reduced`` wide).
    """

    pixels: Pixels
    width: int
    height: int
    reduced: int = 1


def decode_image(data: bytes, options: DecodeOptions, *, least: int | None = None) -> DecodedImage:
    """An encoded image as it should be seen: turned as EXIF says, in sRGB, without transparency.

    With ``least`` the decoder may shrink as long as the shorter side stays at least that: JPEG
    decodes to half, a quarter or an eighth at less cost, see :data:`DRAFT_GAP`. 16-bit images are
    scaled to 8 bits; of animated images and files of several pages the first one is taken.

    Raises :class:`ImageRejectedError` with reason ``not_an_image``, ``corrupt``,
    ``too_many_pixels``, ``too_many_bytes``, ``aspect``, ``too_small``, ``animated``, ``alpha`` or
    ``grey``. A :class:`MemoryError` is the machine's and passes.
    """
    header = read_header(data)
    _check(header, options)
    try:
        with without_warnings(header.format):
            image = _opened(header, options.max_pixels)
            if image.size != (header.width, header.height):
                raise corrupt("two sizes in one file")
            if options.grey == "reject" and _one_channel(image.mode):
                raise ImageRejectedError("grey", f"one channel (mode {image.mode})")
            reduced = 1 if least is None else _draft(image, least)
            image.load()
            if reduced > 1:
                image = image.crop((0, 0, header.width // reduced, header.height // reduced))
            image = _to_rgb(image, header, options)
            turn = _TURNS.get(header.orientation)
            pixels = np.asarray(image if turn is None else image.transpose(turn))
    except (ImageRejectedError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise whatever they like on hostile bytes: SyntaxError, struct.error, ...
        raise corrupt(one_line(error)) from None
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    return DecodedImage(pixels, width, height, reduced)


def decode(data: bytes, *, max_pixels: int) -> Pixels:
    """Pixels of an encoded image, uint8 RGB [H, W, 3]: :func:`decode_image` without conditions.

    Transparency is composited on white. Raises :class:`ImageRejectedError` with reason
    ``not_an_image``, ``too_many_pixels``, ``too_many_bytes`` or ``corrupt``.
    """
    return decode_image(data, DecodeOptions(max_pixels)).pixels


def open_checked(data: bytes, *, max_pixels: int) -> Image.Image:
    """An encoded image in Pillow's hands, its size within ``max_pixels``; nothing is decoded yet.

    EXIF, profile and all frames are there, as far as they are sane. Raises
    :class:`ImageRejectedError` with reason ``not_an_image``, ``too_many_pixels``,
    ``too_many_bytes`` or ``corrupt``.
    """
    header = read_header(data, metadata=True)
    _check(header, DecodeOptions(max_pixels))
    try:
        with without_warnings(""):
            return _opened(header, max_pixels)
    except (ImageRejectedError, MemoryError):
        raise
    except Exception as error:
        raise corrupt(one_line(error)) from None


def is_grey(pixels: Pixels, tolerance: int = GREY_TOLERANCE) -> bool:
    """Whether no pixel has colour: the channels of each differ by ``tolerance`` at most."""
    # A photo with colour shows it in few pixels already.
    return all(
        _spread(some) <= tolerance for some in (pixels[::16, ::16], pixels[::2, ::2], pixels)
    )


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
    # Run lengths: a sixth faster than level 1 and 4 % smaller, 1.5 % larger than level 6 at four
    # times its speed. Nor does it hash, which zlib-ng does differently on each kind of CPU.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
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


def _check(header: Header, options: DecodeOptions) -> None:
    width, height = header.width, header.height
    size = f"{width}x{height} pixels"
    if min(width, height) <= 0:
        raise corrupt(size)
    if width * height > options.max_pixels:
        raise ImageRejectedError("too_many_pixels", f"{size}, the limit is {options.max_pixels}")
    if max(width, height) > options.max_aspect * min(width, height):
        detail = f"{size}, the limit is {options.max_aspect:g} to 1"
        raise ImageRejectedError("aspect", detail)
    if min(width, height) < options.min_size:
        raise ImageRejectedError("too_small", f"{size}, at least {options.min_size} are asked for")
    if header.animated and options.animated == "reject":
        raise ImageRejectedError("animated", f"several frames of {size}")


def _opened(header: Header, max_pixels: int) -> Image.Image:
    image = header.open()
    if image.width * image.height > max_pixels:
        # Two sizes in one file, of which the header's was the smaller.
        detail = f"{image.width}x{image.height} pixels, the limit is {max_pixels}"
        raise ImageRejectedError("too_many_pixels", detail)
    return image


def _draft(image: Image.Image, least: int) -> int:
    """Let a JPEG decoder shrink by what it can; that factor.

    It rounds sizes up. A pixel that is not all of the image holds what the encoder has padded the
    last block with, which is up to it and often black: the caller cuts such pixels off.
    """
    width, height = image.size
    factor = next((f for f in (8, 4, 2) if min(width, height) // f >= max(least, 1)), 1)
    if image.format != "JPEG" or factor == 1:
        return 1
    image.draft(None, (width // factor, height // factor))
    if image.size != (-(-width // factor), -(-height // factor)):
        raise corrupt(f"shrinks to {image.width}x{image.height}, not by {factor}")
    return factor


def _one_channel(mode: str) -> bool:
    return mode in _ONE_CHANNEL or mode.startswith("I")


def _to_rgb(image: Image.Image, header: Header, options: DecodeOptions) -> Image.Image:
    colours, alpha = layers(image, header.format)
    if alpha is not None:
        if alpha.getextrema()[0] == 255:
            alpha = None
        elif options.alpha == "reject":
            raise ImageRejectedError("alpha", "some of its pixels are transparent")
    rgb = to_srgb(colours, header.profile)
    if options.grey == "reject" and _without_colour(rgb, alpha):
        raise ImageRejectedError("grey", "no pixel has colour")
    if alpha is None:
        return rgb
    below = Image.new("RGB", rgb.size, options.alpha)
    below.paste(rgb, mask=alpha)
    return below


def _without_colour(rgb: Image.Image, alpha: Image.Image | None) -> bool:
    pixels = np.asarray(rgb)
    # The colours of pixels that are not seen are whatever the editor left there.
    return is_grey(pixels if alpha is None else pixels[np.asarray(alpha) > 0][None])


def _spread(pixels: Pixels) -> int:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    return int((highest - lowest).max(initial=0))
