"""WebP: its RIFF chunks (RFC 9649). Of an animation the decoder gets the first frame."""

from __future__ import annotations

import struct

from srgan.headers.exif import orientation
from srgan.headers.header import Header, corrupt

MAGIC = b"RIFF"
_CHUNK = struct.Struct("<4sL")
_MOST_CHUNKS = 100_000


def is_webp(data: bytes) -> bool:
    """Whether ``data`` begins as a WebP file does."""
    return data.startswith(MAGIC) and data[8:12] == b"WEBP"


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of a WebP; its size is known before libwebp sets up a canvas of that size."""
    size: tuple[int, int] | None = None
    exif = xmp = profile = None
    frames, first_frame_ends = 0, 0
    place = 12
    for _ in range(_MOST_CHUNKS):
        try:
            kind, length = _CHUNK.unpack_from(data, place)
        except struct.error:
            break
        start, end = place + 8, place + 8 + length
        if kind == b"VP8X" and size is None and length >= 10:
            size = _u24(data, start + 4) + 1, _u24(data, start + 7) + 1
        elif kind == b"VP8 " and size is None:
            size = _lossy(data[start : start + 10])
        elif kind == b"VP8L" and size is None:
            size = _lossless(data[start : start + 5])
        elif kind == b"ANMF":
            frames += 1
            first_frame_ends = first_frame_ends or end + (length & 1)
        elif kind == b"ICCP":
            profile = data[start:end]
        elif kind == b"EXIF":
            exif = data[start:end]
        elif kind == b"XMP ":
            xmp = data[start:end]
        place = end + (length & 1)
    else:
        raise corrupt(f"more than {_MOST_CHUNKS} chunks")
    if size is None:
        raise corrupt("no image in it")
    if frames > 1 and not metadata and first_frame_ends <= len(data):
        body = memoryview(data)[8:first_frame_ends]
        data = b"".join([MAGIC, struct.pack("<L", len(body)), body])
    turn = orientation(exif, xmp)
    return Header("WEBP", *size, data, turn, profile or None, animated=frames > 1)


def _u24(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 3], "little")


def _lossy(frame: bytes) -> tuple[int, int]:
    if len(frame) < 10 or frame[3:6] != b"\x9d\x01\x2a":
        raise corrupt("no key frame")
    width, height = struct.unpack_from("<HH", frame, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless(frame: bytes) -> tuple[int, int]:
    if len(frame) < 5 or frame[0] != 0x2F:
        raise corrupt("no lossless image")
    (bits,) = struct.unpack_from("<L", frame, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
