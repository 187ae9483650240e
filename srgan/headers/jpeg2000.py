"""JPEG 2000: boxes of the file, size of the codestream (ITU-T T.800, annexes A and I)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from srgan.headers.header import Header, corrupt

CODESTREAM = b"\xff\x4f\xff\x51"
MAGIC = (CODESTREAM, b"\0\0\0\x0cjP  \r\n\x87\n")
_BOX = struct.Struct(">L4s")
_MOST_BOXES = 1_000
# OpenJPEG sets up some KiB for each channel of each tile before it looks for any.
_MOST_TILES = 10_000
_MOST_CHANNELS = 4


def read(data: bytes, *, metadata: bool = False) -> Header:  # noqa: ARG001
    """Header of a codestream, or of a JP2 file around one."""
    start, profile = 0, None
    if not data.startswith(CODESTREAM):
        boxes = {kind: (at, end) for kind, at, end in _boxes(data, 0, len(data))}
        if b"jp2c" not in boxes or b"jp2h" not in boxes:
            raise corrupt("no codestream")
        start = boxes[b"jp2c"][0]
        for kind, at, end in _boxes(data, *boxes[b"jp2h"]):
            if kind == b"colr" and data[at : at + 1] == b"\x02":
                profile = data[at + 3 : end]
    if not data.startswith(CODESTREAM, start):
        raise corrupt("no codestream")
    try:
        right, bottom, left, top, across, down, tile_left, tile_top, channels = struct.unpack_from(
            ">8LH", data, start + 8
        )
    except struct.error:
        raise corrupt("ends before its pixels") from None
    width, height = right - left, bottom - top
    if min(width, height, across, down) <= 0:
        raise corrupt("an empty image")
    tiles = -(-(right - tile_left) // across) * -(-(bottom - tile_top) // down)
    if not 0 < tiles <= _MOST_TILES:
        raise corrupt(f"{tiles} tiles")
    if not 0 < channels <= _MOST_CHANNELS:
        raise corrupt(f"{channels} channels")
    return Header("JPEG2000", width, height, data, profile=profile)


def _boxes(data: bytes, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MOST_BOXES):
        if place + 8 > end:
            return
        length, kind = _BOX.unpack_from(data, place)
        head = 8
        if length == 1 and place + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        stop = end if length == 0 else min(place + length, end)
        if stop < place + head:
            raise corrupt("a damaged box")
        yield kind, place + head, stop
        place = stop
    raise corrupt(f"more than {_MOST_BOXES} boxes")
