"""Small valid pictures in every format and variant that image sets hold. Functions of a seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """An encoded picture. ``traits``: of ``grey``, ``alpha`` and ``animated`` those that it has."""

    data: bytes
    suffix: str
    what: str
    traits: frozenset[str] = frozenset()


def photo(rng: random.Random, least: int = 32, most: int = 64) -> Pixels:
    """uint8 [H, W, 3], unlike any other: smooth colours, some noise, no flat place."""
    numbers = np.random.default_rng(rng.getrandbits(64))
    width, height = rng.randint(least, most), rng.randint(least, most)
    coarse = numbers.integers(20, 236, (7, 7, 3)).astype(np.uint8)
    # A grey one is a trait of its own.
    coarse[0, 0] = (230, 30, 90)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = numbers.integers(-12, 13, (height, width, 3))
    return np.clip(np.asarray(smooth).astype(np.int16) + noise, 0, 255).astype(np.uint8)


def valid_picture(rng: random.Random) -> Picture:
    """A picture in a format and variant that the seed chooses."""
    name = rng.choice(list(VARIANTS))
    suffix, encode, traits = VARIANTS[name]
    return Picture(encode(rng), suffix, name, frozenset(traits.split()))


def png(
    pixels: NDArray[Any], *, depth: int = 8, interlaced: bool = False, extra: bytes = b""
) -> bytes:
    """A PNG written chunk by chunk; ``pixels`` [H, W, C] with C 1 to 4, 16 bits for depth 16.

    ``extra`` are whole chunks that stand before the pixels.
    """
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    values = pixels.astype(">u2" if depth == 16 else np.uint8)
    steps = [(0, 0, 1, 1)]
    if interlaced:
        steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        steps += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = bytearray()
    for top, left, down, across in steps:
        for row in values[top::down, left::across]:
            if len(row):
                raw += b"\0" + row.tobytes()
    return png_of(width, height, depth, colour, bytes(raw), int(interlaced), extra)


def png_of(
    width: int,
    height: int,
    depth: int,
    colour: int,
    raw: bytes,
    interlace: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A PNG of these header fields, whatever they mean together; ``raw`` are filtered rows."""
    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(raw, 1)),
            chunk(b"IEND", b""),
        ]
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def profile(space: str = "sRGB") -> bytes:
    """An ICC profile of littlecms: sRGB, LAB or XYZ."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]


def oriented(value: int) -> bytes:
    """EXIF with nothing but an orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _image(rng: random.Random, mode: str = "RGB", most: int = 64) -> Image.Image:
    image = Image.fromarray(photo(rng, most=most))
    if mode in ("RGBA", "LA"):
        image.putalpha(_mask(image, rng))
        return image if mode == "RGBA" else image.convert("LA")
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    if mode == "LAB":
        convert = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        converted = ImageCms.applyTransform(image, convert)
        assert converted is not None
        return converted
    return image.convert(mode)


def _mask(image: Image.Image, rng: random.Random) -> Image.Image:
    """A third of it, in the corner, is half transparent."""
    mask = Image.new("L", image.size, 255)
    mask.paste(rng.randint(1, 200), (0, 0, image.width // 3, image.height))
    return mask


def _saver(kind: str, mode: str = "RGB", **options: Any) -> Callable[[random.Random], bytes]:
    return lambda rng: saved(_image(rng, mode), kind, **options)


def _jpeg(rng: random.Random, **options: Any) -> bytes:
    image = Image.fromarray(photo(rng, 32, 160))
    options = {"quality": rng.randint(70, 95), **options}
    return saved(image, "JPEG", **options)


def _frames(kind: str, mode: str = "RGB", **options: Any) -> Callable[[random.Random], bytes]:
    def encode(rng: random.Random) -> bytes:
        first = _image(rng, mode)
        others = [_image(rng, mode).resize(first.size) for _ in range(rng.randint(1, 3))]
        return saved(first, kind, save_all=True, append_images=others, **options)

    return encode


def _png_16(rng: random.Random) -> bytes:
    return png(photo(rng).astype(np.uint16) * 257, depth=16)


def _png_interlaced(rng: random.Random) -> bytes:
    return png(photo(rng), interlaced=True)


def _palette(rng: random.Random, kind: str, **options: Any) -> bytes:
    return saved(_image(rng).quantize(64), kind, **options)


def _bmp_top_down(rng: random.Random) -> bytes:
    """A negative height, which means that the first row is the top one."""
    data = bytearray(saved(_image(rng).transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    data[22:26] = struct.pack("<l", -struct.unpack_from("<l", data, 22)[0])
    return bytes(data)


def _ppm_plain(rng: random.Random) -> bytes:
    pixels = photo(rng, 32, 40)
    text = " ".join(map(str, pixels.ravel().tolist()))
    return f"P3\n# a comment\n{pixels.shape[1]} {pixels.shape[0]}\n255\n{text}\n".encode()


_JPEG: dict[str, tuple[str, Callable[[random.Random], bytes], str]] = {
    "JPEG baseline": (".jpg", _jpeg, ""),
    "JPEG progressive": (".jpg", lambda r: _jpeg(r, progressive=True), ""),
    "JPEG optimised": (".JPG", lambda r: _jpeg(r, optimize=True), ""),
    "JPEG 4:4:4": (".jpeg", lambda r: _jpeg(r, subsampling=0), ""),
    "JPEG 4:1:1": (".jpeg", lambda r: _jpeg(r, subsampling=2), ""),
    "JPEG restart markers": (".jpg", lambda r: _jpeg(r, restart_marker_blocks=2), ""),
    "JPEG with sRGB profile": (".jpg", lambda r: _jpeg(r, icc_profile=profile()), ""),
    "JPEG grey": (".jpg", _saver("JPEG", "L"), "grey"),
    "JPEG CMYK": (".jpg", _saver("JPEG", "CMYK", quality=90), ""),
    **{
        f"JPEG orientation {turn}": (".jpg", lambda r, t=turn: _jpeg(r, exif=oriented(t)), "")
        for turn in range(1, 9)
    },
}
_PNG: dict[str, tuple[str, Callable[[random.Random], bytes], str]] = {
    "PNG RGB": (".png", _saver("PNG"), ""),
    "PNG RGBA": (".png", _saver("PNG", "RGBA"), "alpha"),
    "PNG L": (".png", _saver("PNG", "L"), "grey"),
    "PNG LA": (".png", _saver("PNG", "LA"), "grey alpha"),
    "PNG bilevel": (".png", _saver("PNG", "1"), "grey"),
    "PNG palette": (".png", lambda r: _palette(r, "PNG"), ""),
    "PNG palette, transparent": (".png", lambda r: _palette(r, "PNG", transparency=3), "alpha"),
    "PNG 16-bit grey": (".png", _saver("PNG", "I;16"), "grey"),
    "PNG 16-bit RGB": (".png", _png_16, ""),
    "PNG interlaced": (".png", _png_interlaced, ""),
    "PNG with profile": (".png", _saver("PNG", icc_profile=profile()), ""),
    "PNG with EXIF": (".png", _saver("PNG", exif=oriented(6)), ""),
    "APNG": (".png", _frames("PNG"), "animated"),
}
_OTHERS: dict[str, tuple[str, Callable[[random.Random], bytes], str]] = {
    "WebP lossy": (".webp", _saver("WEBP", quality=90), ""),
    "WebP lossless": (".webp", _saver("WEBP", lossless=True), ""),
    "WebP RGBA": (".webp", _saver("WEBP", "RGBA", quality=90), "alpha"),
    "WebP EXIF": (".webp", _saver("WEBP", exif=oriented(8)), ""),
    "WebP animated": (".webp", _frames("WEBP", quality=90), "animated"),
    "AVIF": (".avif", _saver("AVIF", quality=90, speed=10), ""),
    "AVIF RGBA": (".avif", _saver("AVIF", "RGBA", quality=90, speed=10), "alpha"),
    "AVIF animated": (".avif", _frames("AVIF", quality=90, speed=10), "animated"),
    "TIFF": (".tif", _saver("TIFF"), ""),
    "TIFF LZW": (".tif", _saver("TIFF", compression="tiff_lzw"), ""),
    "TIFF deflate": (".tiff", _saver("TIFF", compression="tiff_adobe_deflate"), ""),
    "TIFF PackBits": (".tif", _saver("TIFF", compression="packbits"), ""),
    "TIFF JPEG": (".tif", _saver("TIFF", compression="jpeg"), ""),
    "TIFF fax": (".tif", _saver("TIFF", "1", compression="group4"), "grey"),
    "TIFF CMYK": (".tif", _saver("TIFF", "CMYK"), ""),
    "TIFF LAB": (".tif", _saver("TIFF", "LAB"), ""),
    "TIFF 16-bit": (".tif", _saver("TIFF", "I;16"), "grey"),
    "TIFF float": (".tif", _saver("TIFF", "F"), "grey"),
    "TIFF big": (".tif", _saver("TIFF", big_tiff=True), ""),
    "TIFF pages": (".tif", _frames("TIFF"), ""),
    "BMP": (".bmp", _saver("BMP"), ""),
    "BMP palette": (".bmp", lambda r: _palette(r, "BMP"), ""),
    "BMP grey": (".bmp", _saver("BMP", "L"), "grey"),
    "BMP top-down": (".bmp", _bmp_top_down, ""),
    "GIF": (".gif", _saver("GIF"), ""),
    "GIF straight": (".gif", _saver("GIF", interlace=0), ""),
    "GIF transparent": (".gif", lambda r: _palette(r, "GIF", transparency=3), "alpha"),
    "GIF animated": (".gif", _frames("GIF"), "animated"),
    "JPEG 2000": (".jp2", _saver("JPEG2000"), ""),
    "JPEG 2000 lossy": (".jp2", _saver("JPEG2000", irreversible=True), ""),
    "JPEG 2000 codestream": (".j2k", _saver("JPEG2000", no_jp2=True), ""),
    "JPEG 2000 tiles": (".jp2", _saver("JPEG2000", tile_size=(24, 24)), ""),
    "JPEG 2000 grey": (".jp2", _saver("JPEG2000", "L"), "grey"),
    "JPEG 2000 RGBA": (".jp2", _saver("JPEG2000", "RGBA"), "alpha"),
    "PPM": (".ppm", _saver("PPM"), ""),
    "PPM plain": (".ppm", _ppm_plain, ""),
    "PGM": (".pgm", _saver("PPM", "L"), "grey"),
    "PBM": (".pbm", _saver("PPM", "1"), "grey"),
}
VARIANTS = {**_JPEG, **_PNG, **_OTHERS}
