"""Zip files: their directory, read once, says where every member lies.

Written after PKWARE's APPNOTE.TXT 6.3.10. Python's ``zipfile`` reads local headers one by one,
believes overlapping members and stops at the first entry that it does not like.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from srgan import storage
from srgan.archives.members import (
    MAX_MEMBERS,
    DamagedError,
    Listing,
    Member,
    Problem,
    Span,
    member_of,
)
from srgan.storage import StoredFile

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC = b"PK\3\4"
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MAGIC = b"PK\1\2"
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\5\6"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MAGIC = b"PK\6\6"

# The end record with the longest comment, and what lies before it in a large archive.
_TAIL = _END.size + 0xFFFF + _LOCATOR.size + _END64.size
_LONGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF
_BLOCK = 8 << 20
_ENCRYPTED = 0x2041  # Bits 0, 6 (strong) and 13 (hidden headers).
_UTF8 = 0x0800
_UNIX = (3, 19)  # "Made by" Unix and macOS.
_METHODS = {
    1: "shrink",
    6: "implode",
    9: "deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}


@dataclass(frozen=True)
class _Directory:
    """Where the directory lies; ``head`` are its first bytes.

    ``shift`` is by how much all offsets are too small: bytes put before the archive.
    """

    start: int
    size: int
    count: int
    counts_modulo: int
    shift: int
    head: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    packed: int
    offset: int
    crc: int
    flags: int
    method: int
    mode: int
    header: int


def is_zip(place: str, size: int, head: bytes) -> bool:
    """Whether the file is one: it begins like one, or ends like one (a program may come first)."""
    if head.startswith((LOCAL_MAGIC, _END_MAGIC)):
        return True
    tail = storage.read_range(place, max(0, size - _TAIL), _TAIL)
    return _find_end(tail) is not None


def list_zip(file: StoredFile, limit: int) -> Listing:
    """The members of a zip, none of them read: three requests for most archives.

    Members that overlap others, or lie outside the archive, are ``corrupt``: that is how a few
    kilobytes hold terabytes.
    """
    entries: list[_Entry] = []
    damage: Problem | None = None
    stop = file.size
    try:
        tail_at = max(0, file.size - _TAIL)
        tail = storage.read_range(file.place, tail_at, _TAIL)
        directory = _find_directory(file, tail, tail_at)
        stop = directory.start
        for entry in _entries(file.place, directory):
            entries.append(entry)
            if len(entries) > MAX_MEMBERS:
                raise DamagedError(f"more than {MAX_MEMBERS} members")
        if len(entries) % directory.counts_modulo != directory.count:
            raise DamagedError(
                f"its directory has {len(entries)} entries, {directory.count} were to be there"
            )
    except DamagedError as error:
        damage = ("corrupt", str(error))
        if len(entries) > MAX_MEMBERS:
            entries = []
    problems = _misplaced(entries, stop)
    members = [
        _member(entry, problems.get(number), limit)
        for number, entry in enumerate(entries)
        # A folder; one that claims to hold bytes is listed, as everything is.
        if entry.size or not entry.name.endswith("/")
    ]
    return Listing(file.place, members, damage)


def data_in(span: Span, data: bytes) -> tuple[int, int]:
    """Where in ``data``, read from ``span.offset`` on, the member's bytes begin and end.

    Raises :class:`DamagedError` where there is no local header.
    """
    if len(data) < LOCAL.size or not data.startswith(LOCAL_MAGIC):
        raise DamagedError("no local header where the directory says")
    *_, name_length, extra_length = LOCAL.unpack_from(data)
    start = LOCAL.size + name_length + extra_length
    return start, start + span.packed


def _find_end(tail: bytes) -> int | None:
    """Where the end record begins: the last one whose comment ends the file, else the last one."""
    at = last = tail.rfind(_END_MAGIC)
    while at >= 0:
        if at + _END.size <= len(tail):
            comment = _END.unpack_from(tail, at)[-1]
            if at + _END.size + comment == len(tail):
                return at
        at = tail.rfind(_END_MAGIC, 0, at + 3)
    return last if 0 <= last <= len(tail) - _END.size else None


def _find_directory(file: StoredFile, tail: bytes, tail_at: int) -> _Directory:
    at = _find_end(tail)
    if at is None:
        raise DamagedError("its directory, at the end of the file, is missing, as if cut off")
    _, disk, start_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    modulo = 1 << 16
    end = tail_at + at
    if at >= _LOCATOR.size and tail.startswith(_LOCATOR_MAGIC, at - _LOCATOR.size):
        _, _, end64, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        for place in (end64, end - _LOCATOR.size - _END64.size):
            record = _slice(file.place, place, _END64.size, tail, tail_at)
            if len(record) == _END64.size and record.startswith(_END64_MAGIC):
                end, modulo = place, 1 << 64
                _, _, _, _, disk, start_disk, _, count, size, offset = _END64.unpack(record)
                break
        else:
            if size == 0xFFFFFFFF or offset == 0xFFFFFFFF:
                raise DamagedError("its zip64 end record is missing")
        if disks > 1:
            disk = 1
    if disk or start_disk:
        raise DamagedError("one part of a split archive; join the parts first")
    if modulo > 1 << 16 and count > MAX_MEMBERS:
        raise DamagedError(f"more than {MAX_MEMBERS} members")
    # Where bytes were put before the archive, the directory is not where it says it is.
    for start in (end - size, offset):
        if not 0 <= start <= start + size <= end:
            continue
        head = _slice(file.place, start, min(_BLOCK, size), tail, tail_at)
        if not size or head.startswith(_ENTRY_MAGIC):
            return _Directory(start, size, count, modulo, start - offset, head)
    raise DamagedError("its directory is not where the end record says")


def _slice(place: str, start: int, length: int, tail: bytes, tail_at: int) -> bytes:
    """A range of the file, from its tail where it lies in there."""
    if start < 0:
        return b""
    if start >= tail_at:
        return tail[start - tail_at : start - tail_at + length]
    return storage.read_range(place, start, length)


def _entries(place: str, directory: _Directory) -> Iterator[_Entry]:
    buffer, at = directory.head, 0
    position = directory.start + len(buffer)
    end = directory.start + directory.size
    while True:
        if len(buffer) - at < _LONGEST_ENTRY and position < end:
            more = storage.read_range(place, position, min(_BLOCK, end - position))
            if not more:
                raise DamagedError("its directory ends early")
            position += len(more)
            buffer, at = buffer[at:] + more, 0
        if at == len(buffer):
            return
        if len(buffer) - at < _ENTRY.size or not buffer.startswith(_ENTRY_MAGIC, at):
            raise DamagedError("its directory has an entry that is none")
        fields = _ENTRY.unpack_from(buffer, at)
        following = at + _ENTRY.size + sum(fields[10:13])
        if following > len(buffer):
            raise DamagedError("its directory ends early")
        yield _entry(fields, buffer[at + _ENTRY.size : following], directory.shift)
        at = following


def _entry(fields: tuple[int, ...], variable: bytes, shift: int) -> _Entry:
    _, made_by, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_length, extra_length, _, _, _, attributes, offset = fields[10:]
    raw, extra = variable[:name_length], variable[name_length : name_length + extra_length]
    blocks = _extra_blocks(extra)
    if 0xFFFFFFFF in (size, packed, offset):
        # The fields that do not fit, in this order, and only those.
        wide = iter(struct.unpack(f"<{len(blocks.get(1, b'')) // 8}Q", _whole(blocks.get(1, b""))))
        size = next(wide, size) if size == 0xFFFFFFFF else size
        packed = next(wide, packed) if packed == 0xFFFFFFFF else packed
        offset = next(wide, offset) if offset == 0xFFFFFFFF else offset
    return _Entry(
        name=_decoded(raw, flags, made_by >> 8, blocks.get(0x7075, b"")),
        size=size,
        packed=packed,
        offset=offset + shift,
        crc=crc,
        flags=flags,
        method=method,
        mode=attributes >> 16 if made_by >> 8 in _UNIX else 0,
        header=LOCAL.size + name_length + extra_length,
    )


def _whole(block: bytes) -> bytes:
    return block[: len(block) // 8 * 8]


def _extra_blocks(extra: bytes) -> dict[int, bytes]:
    blocks: dict[int, bytes] = {}
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        blocks.setdefault(kind, extra[4 : 4 + length])
        extra = extra[4 + length :]
    return blocks


def _decoded(raw: bytes, flags: int, system: int, unicode_path: bytes) -> str:
    """UTF-8 where the entry says so; else code page 437, unless it is UTF-8 made on a Unix."""
    if raw.isascii():
        return raw.decode("ascii")
    if flags & _UTF8:
        return raw.decode("utf-8", "surrogateescape")
    # Info-ZIP's field holds the CRC of the name that it stands for.
    if len(unicode_path) > 5 and unicode_path[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
        return unicode_path[5:].decode("utf-8", "surrogateescape")
    if system in _UNIX:
        # macOS and many tools of Unix write UTF-8 and do not say so.
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return raw.decode("cp437")


def _misplaced(entries: list[_Entry], stop: int) -> dict[int, Problem]:
    """Entries that lie outside the archive or in one another, by number.

    As few as possible: one wrong length must not cost the members that it runs over.
    """
    problems: dict[int, Problem] = {}
    ends = [entry.offset + LOCAL.size + entry.packed for entry in entries]
    reach = 0
    for number in sorted(range(len(entries)), key=lambda n: (ends[n], -entries[n].offset)):
        if entries[number].offset < 0 or ends[number] > stop:
            problems[number] = ("corrupt", "lies outside the archive")
        elif entries[number].offset < reach:
            problems[number] = ("corrupt", "overlaps another member of the archive")
        else:
            reach = ends[number]
    return problems


def _member(entry: _Entry, misplaced: Problem | None, limit: int) -> Member:
    kind = stat.S_IFMT(entry.mode)
    problem: Problem | None = None
    method: Literal["stored", "deflate"] = "deflate" if entry.method == 8 else "stored"
    if kind == stat.S_IFLNK:
        problem = ("not_an_image", "a symbolic link")
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = ("not_an_image", "a device or pipe")
    elif misplaced is not None:
        problem = misplaced
    elif entry.flags & _ENCRYPTED:
        problem = ("encrypted", "needs a password")
    elif entry.method not in (0, 8):
        used = _METHODS.get(entry.method, f"method {entry.method}")
        problem = ("not_an_image", f"packed by {used}; only stored and deflate are read")
    elif method == "stored" and entry.packed != entry.size:
        problem = ("corrupt", f"stored as {entry.packed} bytes, which are {entry.size}")
    span = Span(entry.offset, entry.packed, method, entry.crc, entry.header)
    if misplaced is not None:
        span, entry = Span(0, 0), replace(entry, size=0)
    return member_of(entry.name, entry.size, span if entry.size else None, problem, limit)
