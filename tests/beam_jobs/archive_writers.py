"""Zip and tar files byte for byte as asked for, also where that is wrong."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A member of a zip, and what is false about it (``None``: nothing)."""

    name: bytes
    data: bytes
    method: int = 8
    flags: int = 0
    mode: int = 0
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    offset: int | None = None


def zip_of(entries: Sequence[Entry], *, before: bytes = b"", comment: bytes = b"") -> bytes:
    """A zip file of ``entries``, byte for byte as they ask for; ``before`` stands in front."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        data = entry.data
        if entry.method == 8:
            engine = zlib.compressobj(6, zlib.DEFLATED, -15)
            data = engine.compress(data) + engine.flush()
        size = len(entry.data) if entry.size is None else entry.size
        packed = len(data) if entry.packed is None else entry.packed
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        offset = len(body) if entry.offset is None else entry.offset
        fields = (entry.flags, entry.method, 0, 33, crc, packed, size)
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *fields, len(entry.name), 0)
        body += entry.name + data
        directory += struct.pack("<4s6H3L", b"PK\1\2", 3 << 8 | 20, 20, *fields)
        directory += struct.pack("<5H2L", len(entry.name), 0, 0, 0, 0, entry.mode << 16, offset)
        directory += entry.name
    end = struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        0,
        0,
        len(entries),
        len(entries),
        len(directory),
        len(body),
        len(comment),
    )
    return before + bytes(body + directory) + end + comment


def tar_of(members: Sequence[tuple[bytes, bytes, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file of ``(name, type, data)``; links have their target as data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = data.decode()
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
