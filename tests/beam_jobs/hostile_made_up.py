"""Files whose parts contradict one another, written for that. Functions of a seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.beam_jobs.hostile_damage import U32
from tests.beam_jobs.hostile_pictures import (
    Picture,
    chunk,
    oriented,
    photo,
    png,
    png_of,
    profile,
    saved,
)


def made_up_picture(rng: random.Random) -> Picture:
    """A file whose parts contradict one another, written for that."""
    what = rng.choice(list(_MADE_UP))
    suffix, make = _MADE_UP[what]
    return Picture(make(rng), suffix, what)


def _bad_profile(rng: random.Random) -> bytes:
    icc = bytearray(profile(rng.choice(("sRGB", "LAB", "XYZ"))))
    change = rng.randrange(5)
    if change == 0:
        return bytes(icc[: rng.randrange(len(icc))])
    if change == 1:  # The number of tags.
        icc[128:132] = struct.pack(">L", rng.choice(U32))
    elif change == 2:  # What it is for, and from what colours.
        icc[12:20] = rng.choice(
            (b"linkRGB ", b"nmclRGB ", b"mntrCMYK", b"prtrGRAY", b"mntr\0\0\0\0")
        )
    else:
        for _ in range(rng.randint(1, 30)):
            icc[rng.randrange(len(icc))] = rng.randrange(256)
    return bytes(icc)


def _bad_exif(rng: random.Random) -> bytes:
    exif = bytearray(oriented(rng.choice((0, 6, 9, 255, 65535))))
    change = rng.randrange(5)
    if change == 0:
        return bytes(exif[: rng.randrange(1, len(exif))])
    if change == 1:  # A directory that follows itself.
        exif[-4:] = struct.pack(">L", 8)
    elif change == 2:
        exif[10:14] = struct.pack(">L", rng.choice(U32))
    else:
        for _ in range(rng.randint(1, 8)):
            exif[rng.randrange(6, len(exif))] = rng.randrange(256)
    return bytes(exif)


def _with_profile(rng: random.Random) -> bytes:
    kind = rng.choice(("JPEG", "PNG", "WEBP", "TIFF"))
    return saved(_rgb(rng), kind, icc_profile=_bad_profile(rng))


def _with_exif(rng: random.Random) -> bytes:
    kind = rng.choice(("JPEG", "PNG", "WEBP"))
    return saved(_rgb(rng), kind, exif=_bad_exif(rng))


def _rgb(rng: random.Random) -> Image.Image:
    return Image.fromarray(photo(rng))


def _large_png(rng: random.Random) -> bytes:
    """More pixels than allowed, in few bytes that fit; or fewer rows than it says."""
    width, height = rng.choice(((12000, 9000), (1, 2**31 - 1), (2**31 - 1, 1), (65536, 65536)))
    return png_of(width, height, 1, 0, bytes(rng.randint(1, 5000)))


def _long_png(rng: random.Random) -> bytes:
    """Long and narrow, but whole."""
    width, height = rng.choice(((1, 20000), (20000, 1), (16, 300), (300, 16)))
    return png_of(width, height, 8, 0, (b"\0" + rng.randbytes(width)) * height)


def _packed_bomb(rng: random.Random) -> bytes:
    """A text or profile that unpacks to a thousand times its size."""
    zeros = zlib.compress(bytes(rng.choice((10**6, 10**7))), 9)
    kind, body = rng.choice(
        (
            (b"zTXt", b"Comment\0\0" + zeros),
            (b"iCCP", b"profile\0\0" + zeros),
            (b"iTXt", b"Comment\0\1\0\0\0" + zeros),
            (b"zTXt", b"Raw profile type exif\0\0" + zeros),
        )
    )
    return png(photo(rng), extra=chunk(kind, body) * rng.randint(1, 5))


def _long_rows(rng: random.Random) -> bytes:
    """Far more rows than the header says."""
    width = rng.randint(16, 64)
    return png_of(width, 32, 8, 2, bytes(rng.choice((10**6, 10**7))))


def _many_segments(rng: random.Random) -> bytes:
    jpeg = saved(_rgb(rng), "JPEG")
    kind = rng.choice(
        (b"\xff\xe1\0\x08Exif\0\0", b"\xff\xe2\0\x0eICC_PROFILE\0", b"\xff\xfe\0\x02")
    )
    return jpeg[:2] + kind * rng.choice((300, 30_000)) + jpeg[2:]


def _many_scans(rng: random.Random) -> bytes:
    """A progressive JPEG with its last scan again and again."""
    jpeg = saved(_rgb(rng), "JPEG", progressive=True)
    last = jpeg.rfind(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * rng.choice((10, 2000)) + jpeg[-2:]


def _tiff_loop(rng: random.Random) -> bytes:
    """A directory that is its own successor, or one of very many tags."""
    data = bytearray(saved(_rgb(rng), "TIFF"))
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    if rng.random() < 0.5:
        struct.pack_into("<L", data, start + 2 + 12 * count, start)
    else:
        struct.pack_into("<H", data, start, 65535)
    return bytes(data)


def _gif_bomb(rng: random.Random) -> bytes:
    """A frame far beyond its screen."""
    data = bytearray(saved(_rgb(rng), "GIF"))
    image = data.find(b"\x2c", 13 + (3 << (data[10] & 7) + 1))
    struct.pack_into("<HH", data, image + rng.choice((1, 5)), 65535, rng.choice((1, 65535)))
    return bytes(data)


def _ppm_header(rng: random.Random) -> bytes:
    kind = rng.choice((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF", b"Py"))
    words = (b"-5", b"0", b"64", b"999999999999", b"#" * 3000, b"1e3", b"65536", b"")
    header = b" ".join([kind, *(rng.choice(words) for _ in range(3))])
    return header + b"\n" + rng.randbytes(rng.choice((0, 100, 13000)))


def _bmp_runs(rng: random.Random) -> bytes:
    """Run-length coded, with jumps that leave the picture."""
    palette = bytes(1024)
    header = struct.pack("<LllHHLLllLL", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    runs = b"".join(
        rng.choice((b"\0\2\xff\xff", b"\xff\7", b"\0\0", rng.randbytes(2))) for _ in range(500)
    )
    return (
        struct.pack("<2sLHHL", b"BM", 54 + 1024 + len(runs), 0, 0, 54 + 1024)
        + header
        + palette
        + runs
    )


def _only_flat(rng: random.Random) -> bytes:
    """One colour and nothing else: an image, but none to learn from."""
    value = bytes([rng.randrange(256)]) * 3
    side = rng.choice((32, 64, 300))
    return png_of(
        side,
        side,
        8,
        2,
        (b"\0" + value * side) * side,
        extra=chunk(b"tEXt", b"n\0" + rng.randbytes(8)),
    )


_MADE_UP: dict[str, tuple[str, Callable[[random.Random], bytes]]] = {
    "damaged profile": (".jpg", _with_profile),
    "damaged EXIF": (".jpg", _with_exif),
    "PNG that says it is huge": (".png", _large_png),
    "PNG long and narrow": (".png", _long_png),
    "PNG with a packed bomb": (".png", _packed_bomb),
    "PNG with too many rows": (".png", _long_rows),
    "JPEG of many segments": (".jpg", _many_segments),
    "JPEG of many scans": (".jpg", _many_scans),
    "TIFF directories": (".tif", _tiff_loop),
    "GIF beyond its screen": (".gif", _gif_bomb),
    "PPM header": (".ppm", _ppm_header),
    "BMP runs": (".bmp", _bmp_runs),
    "flat": (".png", _only_flat),
}
