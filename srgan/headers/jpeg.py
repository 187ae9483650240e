"""JPEG: markers and segments up to the first scan (ITU-T T.81, annex B).

The decoder gets a file without application data. Pillow collects it segment by segment, EXIF at
quadratic cost, and a few of them make it parse and warn; the pixels need none of it but the
``JFIF`` and ``Adobe`` segments, which say how colours are coded.
"""

from __future__ import annotations

import re

from srgan.headers.exif import orientation
from srgan.headers.header import Header, corrupt

MAGIC = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})
_SCAN, _END = 0xDA, 0xD9
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
# 64 KiB each; depth maps and long profiles take some hundred.
_MOST_SEGMENTS = 5_000
# Encoders make about ten. Each is another pass over all pixels, for a few bytes.
_MOST_SCANS = 256


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of a JPEG; with ``metadata`` the decoder still sees EXIF, XMP and the profile."""
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    width = height = frame = 0
    components = 0
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: list[bytes] = []
    dropped = False
    place = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None:
            raise corrupt("ends before its pixels")
        # Pillow reads what lies between segments byte by byte.
        dropped = dropped or found.end() - place > 2
        marker, place = found[1][0], found.end()
        if marker in _ALONE:
            dropped = True
            continue
        start, end = place, place + int.from_bytes(data[place : place + 2], "big")
        if marker == _END or end < start + 2 or end > len(data):
            raise corrupt("ends before its pixels")
        place = end
        keep = marker in _TABLES
        if marker in _FRAMES:
            if frame:
                raise corrupt("two frame headers")
            if end - start < 8:
                raise corrupt("a frame header too short")
            keep, frame = True, marker
            height = data[start + 3] << 8 | data[start + 4]
            width = data[start + 5] << 8 | data[start + 6]
            components = data[start + 7]
        elif marker == 0xE0 and data.startswith(b"JFIF", start + 2):
            keep = True
        elif marker == 0xE1:
            if exif is None and data.startswith(_EXIF, start + 2):
                exif, keep = data[start + 2 : end], metadata
            elif xmp is None and data.startswith(_XMP, start + 2):
                xmp, keep = data[start + 2 : end], metadata
        elif marker == 0xE2 and len(icc) < 255 and data.startswith(_ICC, start + 2):
            icc.append(data[start + 2 + len(_ICC) : end])
            keep = metadata
        elif marker == 0xEE and data.startswith(b"Adobe", start + 2):
            keep = True
        elif marker == _SCAN:
            if not frame:
                raise corrupt("pixels without a frame header")
            several = frame in _PROGRESSIVE or data[start + 2] < components
            if several and (scans := data.count(b"\xff\xda", place)) > _MOST_SCANS:
                raise corrupt(f"{scans} scans of the same pixels")
            if dropped:
                kept.append(memoryview(data)[found.end() - 2 :])
                data = b"".join(kept)
            return Header(
                "JPEG", width, height, data, orientation(exif, xmp), _profile(icc) if icc else None
            )
        if keep:
            kept.append(memoryview(data)[found.end() - 2 : end])
        else:
            dropped = True
    raise corrupt(f"more than {_MOST_SEGMENTS} segments")


def _profile(parts: list[bytes]) -> bytes | None:
    """A profile in pieces of ``number, total, bytes``, in any order; none where one is missing."""
    parts = sorted(part for part in parts if len(part) > 2)
    if not parts or [part[0] for part in parts] != list(range(1, parts[0][1] + 1)):
        return None
    return b"".join(part[2:] for part in parts)
