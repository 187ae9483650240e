"""PNG: its chunks (W3C Portable Network Graphics, third edition).

The decoder gets the chunks that hold pixels: no text, which may unpack to a thousand times its
size, nothing that is damaged but not needed, and of an animation the still image.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

from srgan.headers.exif import orientation
from srgan.headers.header import Header, corrupt

MAGIC = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">L4s")
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_XMP = b"XML:com.adobe.xmp\0"
# Writers cut pixels into chunks of 8 KiB or more.
_MOST_CHUNKS = 100_000
# Profiles of monitors and cameras have some KiB, those of printers up to 3 MiB.
MOST_PROFILE = 4 * 2**20


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of a PNG; with ``metadata`` the decoder still sees EXIF, XMP and the profile."""
    spans: list[tuple[int, int]] = []
    width = height = depth = colour = frames = 0
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    srgb = False
    transparency: tuple[int, int] | None = None
    place, ended = len(MAGIC), False
    for number in range(_MOST_CHUNKS):
        try:
            length, kind = _CHUNK.unpack_from(data, place)
        except struct.error:
            break
        start, end = place + 8, place + 8 + length
        place_of_next = end + 4
        if kind == b"IHDR":
            if number or length != 13:
                raise corrupt("a damaged header")
            width, height, depth, colour = struct.unpack_from(">LLBB", data, start)
        elif number == 0:
            raise corrupt("no header")
        keep = kind in _CRITICAL or (metadata and kind in _ANIMATION)
        if kind == b"tRNS":
            transparency = (start, end)
        elif kind == b"acTL" and length == 8:
            (frames,) = struct.unpack_from(">L", data, start)
        elif kind == b"sRGB":
            srgb = True
        elif kind == b"iCCP":
            profile = _profile(data[start:end])
            keep = metadata and profile is not None
        elif kind == b"eXIf":
            exif, keep = data[start:end], metadata
        elif kind in (b"tEXt", b"zTXt") and exif is None and data.startswith(_RAW_EXIF, start):
            exif = _raw_exif(data[start:end], packed=kind == b"zTXt")
            keep = metadata and exif is not None
        elif kind == b"iTXt" and data.startswith(_XMP, start) and length > len(_XMP):
            xmp = data[start:end]
            keep = metadata and data[start + len(_XMP)] == 0
        if keep:
            if spans and spans[-1][1] == place:
                spans[-1] = (spans[-1][0], place_of_next)
            else:
                spans.append((place, place_of_next))
        place = place_of_next
        if kind == b"IEND":
            ended = True
            break
        if place > len(data):
            break
    else:
        raise corrupt(f"more than {_MOST_CHUNKS} chunks")
    if not ended:
        raise corrupt("ends before its last chunk")
    if spans != [(len(MAGIC), place)] or place != len(data):
        whole = memoryview(data)
        kept = b"".join([MAGIC, *(whole[start:end] for start, end in spans)])
    else:
        kept = data
    if transparency is not None and colour in (0, 2) and depth in (2, 4, 16):
        kept = _eight_bit_transparency(kept, depth, colour, data[slice(*transparency)])
    return Header(
        "PNG",
        width,
        height,
        kept,
        orientation(exif, xmp),
        None if srgb else profile,
        animated=frames > 1,
    )


def _profile(chunk: bytes) -> bytes | None:
    _, _, packed = chunk.partition(b"\0")
    return _unpacked(packed[1:], MOST_PROFILE) if packed[:1] == b"\0" else None


def _raw_exif(chunk: bytes, *, packed: bool) -> bytes | None:
    """EXIF as ImageMagick writes it: ``\\nexif\\n  <length>\\n<hex digits>``."""
    _, _, text = chunk.partition(b"\0")
    if packed:
        text = _unpacked(text[1:], 2**20) or b""
    with suppress(ValueError, UnicodeDecodeError):
        return bytes.fromhex("".join(text.decode("ascii").split()[2:]))
    return None


def _unpacked(packed: bytes, most: int) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return plain if unpacker.eof else None


def _eight_bit_transparency(data: bytes, depth: int, colour: int, chunk: bytes) -> bytes:
    """The transparent colour in the 8 bits that Pillow decodes pixels to, not in the file's.

    Pillow compares it with those as it is: two and four bit grey, 16-bit colour.
    """
    if depth == 16 and colour == 0:
        return data  # Decoded as they are.
    values = struct.unpack(f">{len(chunk) // 2}H", chunk[: len(chunk) // 2 * 2])
    if depth == 16:
        scaled = [value >> 8 for value in values]
    else:
        top = (1 << depth) - 1
        scaled = [(value & top) * 255 // top for value in values]
    body = b"tRNS" + struct.pack(f">{len(scaled)}H", *scaled)
    old = struct.pack(">L", len(chunk)) + b"tRNS" + chunk
    new = struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
    place = data.find(old)
    return data[:place] + new + data[place + len(old) + 4 :]
