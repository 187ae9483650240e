"""GIF: its blocks (GIF89a specification). The decoder gets the first frame and no comments."""

from __future__ import annotations

import struct

from srgan.headers.header import Header, corrupt

MAGIC = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = b"\xf9"
# Writers fill sub-blocks with 255 bytes.
_MOST_BLOCKS = 2_000_000


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of a GIF; whether it moves is known by a second image in it."""
    if len(data) < 13:
        raise corrupt("ends before its pixels")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    kept = [data[:place]]
    images, budget = 0, _MOST_BLOCKS
    while place < len(data) and data[place] != _TRAILER:
        start, kind = place, data[place]
        if kind == _EXTENSION:
            place, budget = _after_blocks(data, place + 2, budget)
            # Pillow joins comments block by block, at quadratic cost.
            if data[start + 1 : start + 2] == _GRAPHIC_CONTROL:
                kept.append(data[start:place])
        elif kind == _IMAGE:
            images += 1
            if images > 1 and not metadata:
                break
            if place + 10 > len(data):
                raise corrupt("ends before its pixels")
            left, top, across, down, local = struct.unpack_from("<HHHHB", data, place + 1)
            if images == 1:
                # Pillow enlarges the screen for a frame that leaves it.
                width, height = max(width, left + across), max(height, top + down)
            place += 10 + (3 << (local & 7) + 1 if local & 0x80 else 0) + 1
            place, budget = _after_blocks(data, place, budget)
            kept.append(data[start:place])
        else:
            place += 1  # Pillow skips what it does not know byte by byte, too.
    if not images:
        raise corrupt("no image in it")
    data = b"".join([*kept, bytes([_TRAILER])])
    return Header("GIF", width, height, data, animated=images > 1)


def _after_blocks(data: bytes, place: int, budget: int) -> tuple[int, int]:
    """Behind a chain of sub-blocks, which ends with an empty one or with the file."""
    end = len(data)
    while place < end and data[place]:
        place += data[place] + 1
        budget -= 1
        if not budget:
            raise corrupt(f"more than {_MOST_BLOCKS} blocks")
    return min(place + 1, end), budget
