"""Damage to pictures: by chance, and aimed at what decoders believe. Functions of a seed."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable

from tests.beam_jobs.hostile_pictures import Picture, chunk, photo, png, valid_picture

_U8 = (0, 1, 2, 3, 5, 7, 16, 127, 128, 255)
_U16 = (0, 1, 7, 255, 256, 0x7FFF, 0x8000, 0xFFFF)
U32 = (0, 1, 0xFFFF, 0x10000, 0x00FFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_SUFFIXES = (".jpg", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif", ".jp2", ".ppm", ".txt", "")
_MAGICS = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"BM",
    b"RIFF\xff\xff\xff\xffWEBPVP8X",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1",
    b"P6\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
    b"8BPS\0\1",
    b"%PDF-1.7\n",
    b"/* XPM */\n",
    b"#define im_width 64\n#define im_height 64\nstatic char im_bits[] = {\n",
)


def damaged_picture(rng: random.Random) -> Picture:
    """A picture and what the seed does to it; it may by chance still be one."""
    picture = valid_picture(rng)
    what = rng.choice(list(_DAMAGES))
    data = _DAMAGES[what](rng, picture.data)
    return Picture(data, picture.suffix, f"{picture.what}: {what}")


def misnamed(rng: random.Random, picture: Picture) -> Picture:
    """The same file with the file type of another format."""
    suffix = rng.choice([s for s in _SUFFIXES if s != picture.suffix])
    return Picture(picture.data, suffix, f"{picture.what} as {suffix or 'no type'}", picture.traits)


def noise(rng: random.Random) -> Picture:
    """Anything at all, sometimes behind the magic of a format."""
    magic = rng.choice(_MAGICS) if rng.random() < 0.7 else b""
    return Picture(
        magic + rng.randbytes(rng.randint(1, 600)), rng.choice(_SUFFIXES), f"noise behind {magic!r}"
    )


def _place(rng: random.Random, data: bytes) -> int:
    """Rather in the first bytes, where headers are."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 200)
    return rng.randrange(max(1, end))


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        out[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _set(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, width = _place(rng, data), rng.choice((1, 2, 4))
        values = {1: _U8, 2: _U16, 4: U32}[width]
        out[place : place + width] = rng.choice(values).to_bytes(
            width, rng.choice(("big", "little"))
        )
    return bytes(out)


def _insert(rng: random.Random, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 3, 17, 300))) + data[place:]


def _remove(rng: random.Random, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + data[place + rng.choice((1, 2, 3, 17, 300)) :]


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: max(1, _place(rng, data))]


def _zero(rng: random.Random, data: bytes) -> bytes:
    place, length = _place(rng, data), rng.choice((1, 4, 16, 100, 1000))
    return data[:place] + b"\0" * len(data[place : place + length]) + data[place + length :]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    place, length = _place(rng, data), rng.choice((2, 8, 50, 400))
    return data[:place] + data[place : place + length] * rng.choice((2, 3, 50)) + data[place:]


def _splice(rng: random.Random, data: bytes) -> bytes:
    other, place = valid_picture(rng).data, _place(rng, data)
    return data[:place] + other[min(place, len(other) - 1) :]


def _append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((rng.randbytes(200), valid_picture(rng).data, b"\0" * 3000))


def _sizes(rng: random.Random, data: bytes) -> bytes:
    """Width, height or another field of the header is another one; checksums fit again."""
    if data.startswith(b"\x89PNG"):
        return _png_sizes(rng, data)
    places = _size_places(data)
    if not places:
        return _set(rng, data)
    out = bytearray(data)
    for place, width, order in rng.sample(places, rng.randint(1, len(places))):
        values = {1: _U8, 2: _U16, 3: (0, 0xFFFF, 0xFFFFFF), 4: U32, 8: (*U32, 2**63, 2**64 - 1)}
        new = rng.choice(values[width]).to_bytes(width, "little" if order == "<" else "big")
        out[place : place + width] = new
    return bytes(out)


def _size_places(data: bytes) -> list[tuple[int, int, str]]:
    """(offset, bytes, byte order) of the fields that say how large a picture is."""
    if data.startswith(b"\xff\xd8"):
        frame = re.search(rb"\xff[\xc0\xc2]..\x08", data, re.DOTALL)
        start = frame.start() if frame else 0
        return [(start + 2, 2, ">"), (start + 5, 2, ">"), (start + 7, 2, ">"), (start + 9, 1, ">")]
    if data.startswith(b"GIF"):
        image = data.find(b"\x2c", 13 + (3 << (data[10] & 7) + 1))
        return [(place, 2, "<") for place in (6, 8, image + 1, image + 3, image + 5, image + 7)]
    if data.startswith(b"BM"):
        return [(place, 4, "<") for place in (10, 14, 18, 22, 30, 34, 46)] + [(28, 2, "<")]
    if data.startswith(b"RIFF"):
        if data[12:16] == b"VP8X":
            return [(24, 3, "<"), (27, 3, "<"), (4, 4, "<"), (16, 4, "<")]
        return [(26, 2, "<"), (28, 2, "<"), (21, 4, "<"), (4, 4, "<"), (16, 4, "<")]
    if data[:2] in (b"II", b"MM"):
        return _tiff_places(data)
    if b"ftypavif" in data[:16] or b"ftypavis" in data[:16]:
        extents = [m.end() + 4 for m in re.finditer(b"ispe", data)]
        return [(p + n, 4, ">") for p in extents for n in (0, 4)] + [(0, 4, ">")]
    if b"\xff\x4f\xff\x51" in data[:200]:
        size = data.find(b"\xff\x4f\xff\x51") + 8
        fields = [(size + 4 * n, 4, ">") for n in range(8)]
        box = data.find(b"ihdr")
        return [
            *fields,
            (size + 32, 2, ">"),
            *([(box + 4, 4, ">"), (box + 8, 4, ">")] if box > 0 else []),
        ]
    return []


def _tiff_places(data: bytes) -> list[tuple[int, int, str]]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, length, inline = (8, 20, 8) if big else (2, 12, 4)
    (start,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    if start + head > len(data):
        return []
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    places = []
    for entry in range(
        start + head, min(start + head + count * length, len(data) - length), length
    ):
        # The type, the number of values, and the value or where it is.
        places += [(entry + 2, 2, order), (entry + 4, inline, order)]
        places.append((entry + length - inline, inline, order))
    return places


def _png_sizes(rng: random.Random, data: bytes) -> bytes:
    header = bytearray(data[16:29])
    for place, width in rng.sample([(0, 4), (4, 4), (8, 1), (9, 1), (12, 1)], rng.randint(1, 2)):
        header[place : place + width] = rng.choice(U32 if width == 4 else _U8).to_bytes(
            width, "big"
        )
    return data[:8] + chunk(b"IHDR", bytes(header)) + data[33:]


def _chunks(rng: random.Random, data: bytes) -> bytes:
    """PNG whose chunks are changed, lost, doubled or in another order, with right checksums."""
    parts, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    for _ in range(rng.randint(1, 3)):
        number = rng.randrange(len(parts))
        kind, body = parts[number]
        change = rng.randrange(5)
        if change == 0 and body:
            parts[number] = (kind, _flip(rng, body))
        elif change == 1 and len(parts) > 1:
            del parts[number]
        elif change == 2:
            parts.insert(rng.randrange(len(parts) + 1), (kind, body))
        elif change == 3 and kind == b"IDAT":
            parts[number] = (kind, _repacked(rng, body))
        else:
            rng.shuffle(parts)
    return data[:8] + b"".join(chunk(kind, body) for kind, body in parts)


def _repacked(rng: random.Random, body: bytes) -> bytes:
    """Rows that unpack well, but to other lengths and filters than the header says."""
    try:
        raw = zlib.decompress(body)
    except zlib.error:
        return body
    return zlib.compress(rng.choice((raw[: len(raw) // 2], raw * 3, _flip(rng, raw), b"\7" * 500)))


def _png_only(
    change: Callable[[random.Random, bytes], bytes],
) -> Callable[[random.Random, bytes], bytes]:
    def apply(rng: random.Random, data: bytes) -> bytes:
        return change(rng, data if data.startswith(b"\x89PNG") else png(photo(rng)))

    return apply


_DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bits flipped": _flip,
    "values set": _set,
    "bytes inserted": _insert,
    "bytes removed": _remove,
    "cut off": _truncate,
    "zeros": _zero,
    "bytes repeated": _repeat,
    "body of another": _splice,
    "bytes appended": _append,
    "other sizes": _sizes,
    "other sizes ": _sizes,
    "other PNG chunks": _png_only(_chunks),
}
