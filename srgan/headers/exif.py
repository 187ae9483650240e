"""How an image is to be turned: the one thing of its camera data that its pixels need.

Pillow reads all of EXIF for it: slower than some whole images are decoded, with warnings where
it is damaged, and without a bound on what it reads.
"""

from __future__ import annotations

import re
import struct

_ORIENTATION = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:\s*=\s*["\']|>)\s*([1-8])')
# Cameras write a dozen tags beside the orientation.
_MOST_TAGS = 1_000
_VALUES = {1: "B", 3: "H", 4: "L"}


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """1 to 8 as EXIF says, else as XMP says; 1 where neither does or both are damaged."""
    return (exif and _of_exif(exif)) or (xmp and _of_xmp(xmp)) or 1


def _of_exif(exif: bytes) -> int | None:
    # Some writers repeat the prefix, some formats come without it.
    start = 0
    while exif.startswith(b"Exif\0\0", start):
        start += 6
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}L", exif, start + 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start + directory)
        entry = struct.Struct(f"{order}HHL")
        for index in range(min(count, _MOST_TAGS)):
            place = start + directory + 2 + 12 * index
            tag, kind, number = entry.unpack_from(exif, place)
            if tag == _ORIENTATION and kind in _VALUES and number == 1:
                (value,) = struct.unpack_from(order + _VALUES[kind], exif, place + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def _of_xmp(xmp: bytes) -> int | None:
    found = _XMP.search(xmp)
    return int(found[1]) if found else None
