"""GIF: its blocks (GIF89a specification). The decoder gets the first frame and no comments."""

from __future__ import annotations

import struct

from srgan.headers.header import Header, corrupt

MAGIC = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
# Writers fill sub-blocks with 255 bytes.
_MOST_BLOCKS = 2_000_000


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of a GIF; whether it moves is known by a second image in it."""
    if len(data) < 13:
        raise corrupt("ends before its pixels")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    head, control = data[:place], b""
    first: bytes | None = None
    budget = _MOST_BLOCKS
    while place < len(data) and data[place] != _TRAILER:
        start, kind = place, data[place]
        if kind == _EXTENSION:
            place, budget = _after_blocks(data, place + 2, budget)
            if data[start + 1 : start + 2] == bytes([_GRAPHIC_CONTROL]):
                control = data[start:place]
        elif kind == _IMAGE:
            if first is not None:
                return Header("GIF", width, height, data if metadata else first, animated=True)
            if place + 10 > len(data):
                raise corrupt("ends before its pixels")
            left, top, across, down, local = struct.unpack_from("<HHHHB", data, place + 1)
            # Pillow enlarges the screen for a frame that leaves it.
            width, height = max(width, left + across), max(height, top + down)
            place += 10 + (3 << (local & 7) + 1 if local & 0x80 else 0) + 1
            place, budget = _after_blocks(data, place, budget)
            first = b"".join([head, control, data[start:place], bytes([_TRAILER])])
        else:
            place += 1  # Pillow skips what it does not know byte by byte, too.
    if first is None:
        raise corrupt("no image in it")
    return Header("GIF", width, height, data if metadata else first)


def _after_blocks(data: bytes, place: int, budget: int) -> tuple[int, int]:
    """Behind a chain of sub-blocks, which ends with an empty one or with the file."""
    end = len(data)
    while place < end and data[place]:
        place += data[place] + 1
        budget -= 1
        if not budget:
            raise corrupt(f"more than {_MOST_BLOCKS} blocks")
    return min(place + 1, end), budget
