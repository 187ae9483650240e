"""TIFF and BigTIFF: the directory of the first page (TIFF 6.0, section 2).

The decoder gets a directory with the tags that say how pixels are stored and no others: all tags
of a file may point at the same 60 MB, and Pillow reads the value of each.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from PIL import _imaging

from srgan.headers.header import Header, corrupt

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
_WIDTH, _HEIGHT, _STRIPS, _ORIENTATION, _SAMPLES = 256, 257, 273, 274, 277
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _PROFILE = 322, 323, 324, 34675
_PIXEL_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291}
    | {292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339, 340}
    | {341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674}
)
_DIRECTORIES = frozenset({330, 34665, 34853, 40965})
_MOST_TAGS = 4_096
# One a row, for each of the channels, of an image as high as any allowed.
_MOST_STRIPS = 200_000
# Pillow knows six channels; of more it complains in the log.
_MOST_SAMPLES = 6


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    raw: bytes
    place: int  # of its value

    @property
    def size(self) -> int:
        return self.count * _SIZES.get(self.kind, 0)


def read(data: bytes, *, metadata: bool = False) -> Header:
    """Header of the first page; further pages are other pictures, not an animation."""
    _silence_libtiff()
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        (first,) = struct.unpack_from(f"{order}{'Q' if big else 'L'}", data, 8 if big else 4)
        entries = {entry.tag: entry for entry in _entries(data, first, order, big)}
    except struct.error:
        raise corrupt("ends before its pixels") from None
    kept = [entry for tag, entry in entries.items() if tag in _PIXEL_TAGS]
    if sum(entry.size for entry in kept) > len(data):
        raise corrupt("tags larger than the file")

    def value(tag: int, default: int) -> int:
        entry = entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS or not entry.count:
            return default
        (number,) = struct.unpack_from(order + _INTEGERS[entry.kind], data, entry.place)
        return int(number)

    width, height = value(_WIDTH, 0), value(_HEIGHT, 0)
    if value(_SAMPLES, 1) > _MOST_SAMPLES:
        raise corrupt(f"{value(_SAMPLES, 1)} channels")
    if value(_TILE_WIDTH, 0) > width + 1024 or value(_TILE_HEIGHT, 0) > height + 1024:
        raise corrupt("tiles larger than the image")
    if any(entries[tag].count > _MOST_STRIPS for tag in (_STRIPS, _TILES) if tag in entries):
        raise corrupt(f"more than {_MOST_STRIPS} strips")
    profile = entries.get(_PROFILE)
    icc = data[profile.place : profile.place + profile.size] if profile else None
    turn = value(_ORIENTATION, 1)
    if metadata:
        _check_directories(data, entries, order, big)
    else:
        data = _with_directory(data, kept, order, big)
    return Header("TIFF", width, height, data, turn if 1 <= turn <= 8 else 1, icc or None)


def _entries(data: bytes, place: int, order: str, big: bool) -> Iterator[_Entry]:
    count_format, entry_format, inline = (
        (f"{order}Q", f"{order}HHQ", 8) if big else (f"{order}H", f"{order}HHL", 4)
    )
    (count,) = struct.unpack_from(count_format, data, place)
    if count > _MOST_TAGS:
        raise corrupt(f"{count} tags")
    place += struct.calcsize(count_format)
    length = struct.calcsize(entry_format) + inline
    for start in range(place, place + count * length, length):
        tag, kind, number = struct.unpack_from(entry_format, data, start)
        at = start + length - inline
        size = number * _SIZES.get(kind, 0)
        if size > inline:
            (at,) = struct.unpack_from(f"{order}{'Q' if big else 'L'}", data, at)
            if at + size > len(data):
                if tag in _PIXEL_TAGS:
                    raise corrupt("ends before its pixels")
                continue
        yield _Entry(tag, kind, number, data[start : start + length], at)


def _with_directory(data: bytes, kept: list[_Entry], order: str, big: bool) -> bytes:
    """The file with a first and only directory at its end."""
    place = len(data) + len(data) % 2
    kept = sorted(kept, key=lambda entry: entry.tag)
    count, offset = ("Q", "Q") if big else ("H", "L")
    at = 8 if big else 4
    return b"".join(
        [
            data[:at],
            struct.pack(order + offset, place),
            memoryview(data)[2 * at :],
            b"\0" * (place - len(data)),
            struct.pack(order + count, len(kept)),
            *(entry.raw for entry in kept),
            struct.pack(order + offset, 0),
        ]
    )


def _check_directories(data: bytes, entries: dict[int, _Entry], order: str, big: bool) -> None:
    """All values together, of the camera's directories, too, fit into the file."""
    total = sum(entry.size for entry in entries.values())
    for tag in _DIRECTORIES & entries.keys():
        entry = entries[tag]
        with_offset = f"{order}{'Q' if entry.kind in (16, 18) else 'L'}"
        try:
            (place,) = struct.unpack_from(with_offset, data, entry.place)
            total += sum(entry.size for entry in _entries(data, place, order, big))
        except struct.error:
            continue
    if total > 2 * len(data):
        raise corrupt("tags larger than the file")


@lru_cache(maxsize=1)
def _silence_libtiff() -> None:
    """libtiff writes what it finds odd or wrong to stderr; what matters comes as an exception."""
    with suppress(OSError, AttributeError):
        # Its functions are found through the extension that is linked with it.
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
