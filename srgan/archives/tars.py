"""Tar files: ustar, GNU and pax headers, read one after the other.

Written after POSIX.1-2017 (pax) and the GNU tar manual. Python's ``tarfile`` takes a damaged
header for the end of the archive; here an archive that does not end as it should says so, and
nothing is held but names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from srgan.archives.members import (
    MAX_MEMBERS,
    CutOffError,
    DamagedError,
    Member,
    Span,
    clean_name,
    displayed,
    member_of,
)

BLOCK = 512
_ZEROS = bytes(BLOCK)
# Archives are filled up to whole records; no program writes a megabyte of zeros.
_MOST_ZEROS = 2048
# A member has up to three more headers: long name, long link, pax.
_MAX_HEADERS = 4 * MAX_MEMBERS
_MAX_EXTRA = 1 << 20
_NO_FILES = b"5DVN"
_WITHOUT_DATA = b"123456V"
_SPECIAL = {
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"M": "the end of a file that begins in another volume",
}


class TarSource(Protocol):
    """An uncompressed tar, read from its start to its end."""

    position: int

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only where the archive ends."""

    def keep(self, size: int) -> Span:
        """Pass over ``size`` bytes; where they can be read later.

        Raises :class:`CutOffError` where the archive ends before.
        """

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes, or as many as there are."""


@dataclass(frozen=True)
class _Header:
    """A member's header, with what the extended headers before it say."""

    kind: bytes
    path: str
    link: str
    size: int
    sparse: bool


def is_tar(head: bytes) -> bool:
    """Whether a file begins like a tar: by its magic, or, if it is an old one, its checksum."""
    return head[257:262] == b"ustar" or (len(head) >= BLOCK and _checksum_fits(head[:BLOCK]))


def read_members(
    source: TarSource, limit: int, budget: int
) -> tuple[list[Member], DamagedError | None]:
    """The files of a tar in its order, and what ended it before its end.

    ``limit`` is the size in bytes above which nobody will read a member; hard links may stand for
    ``budget`` bytes in all, or a few bytes could name a large member a million times.
    """
    members: list[Member] = []
    files: dict[str, Member] = {}
    try:
        for header in _headers(source):
            if header.kind in _NO_FILES:
                if header.kind not in _WITHOUT_DATA:
                    source.skip(_padded(header.size))
                continue
            if header.kind == b"1":
                member = _hard_link(header, files, budget)
                budget -= member.size
            else:
                member = _member(header, source, limit)
                files[member.name] = member
            members.append(member)
            if len(members) > MAX_MEMBERS:
                members = []
                raise DamagedError(f"more than {MAX_MEMBERS} members")
    except DamagedError as error:
        return members, error
    return members, None


def _member(header: _Header, source: TarSource, limit: int) -> Member:
    if header.kind in _SPECIAL:
        if header.kind not in _WITHOUT_DATA:
            source.skip(_padded(header.size))
        return member_of(header.path, 0, None, ("not_an_image", _SPECIAL[header.kind]), limit)
    if header.sparse:
        source.skip(_padded(header.size))
        problem = ("not_an_image", "a sparse file; pack it without --sparse")
        return member_of(header.path, 0, None, problem, limit)
    try:
        span = source.keep(header.size) if header.size else None
    except CutOffError:
        name = displayed(header.path)
        raise DamagedError(f"it ends in the middle of {name}, as if cut off") from None
    source.skip(-header.size % BLOCK)
    return member_of(header.path, header.size, span, None, limit)


def _hard_link(header: _Header, files: dict[str, Member], budget: int) -> Member:
    shown, _ = clean_name(header.link)
    target = files.get(shown)
    if target is None:
        problem = ("not_an_image", f"a hard link to {shown}, no file before it in the archive")
    elif target.problem is not None or target.size > budget:
        problem = target.problem or ("duplicate", f"a hard link to {shown}")
    else:
        return member_of(header.path, target.size, target.span, None, target.size)
    return member_of(header.path, 0, None, problem, 0)


def _headers(source: TarSource) -> Iterator[_Header]:
    """The headers of members; whoever takes one passes over its data before the next."""
    general: dict[str, bytes] = {}
    fields: dict[str, bytes] = {}
    for count, block in enumerate(_header_blocks(source)):
        if count >= _MAX_HEADERS:
            raise DamagedError(f"more than {_MAX_HEADERS} headers")
        kind, size = block[156:157], _number(block[124:136], source)
        if kind in b"LK":
            name = "path" if kind == b"L" else "linkpath"
            fields.setdefault(name, _extra(source, size).split(b"\0", 1)[0])
        elif kind in b"gxX":
            found = _pax_fields(_extra(source, size), source)
            (general if kind == b"g" else fields).update(found)
        else:
            yield _header(block, kind, size, {**general, **fields}, source)
            fields = {}


def _header_blocks(source: TarSource) -> Iterator[bytes]:
    zeros = 0
    while zeros <= _MOST_ZEROS:
        block = source.read(BLOCK)
        if block == _ZEROS:
            zeros += 1
        elif len(block) == BLOCK and _checksum_fits(block):
            # Archives that were put one after the other are read on.
            zeros = 0
            yield block
        elif zeros >= 2 or (zeros and not block):
            return
        elif len(block) < BLOCK:
            raise DamagedError("it ends without an end mark, as if cut off")
        else:
            raise DamagedError(f"the header at byte {source.position - BLOCK} is damaged")


def _header(
    block: bytes, kind: bytes, size: int, fields: dict[str, bytes], source: TarSource
) -> _Header:
    own = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0]
    if prefix and block[257:263] == b"ustar\0":
        own = prefix + b"/" + own
    path = fields.get("GNU.sparse.name") or fields.get("path") or own
    link = fields.get("linkpath") or block[157:257].split(b"\0", 1)[0]
    if fields.get("size"):
        size = _digits(fields["size"], source)
    if kind == b"S":
        _skip_sparse_map(block, source)
    if kind in (b"0", b"\0") and path.endswith(b"/") and not size:
        kind = b"5"  # So did tar before it knew folders.
    sparse = kind == b"S" or "GNU.sparse" in fields
    return _Header(kind, _text(path), _text(link), size, sparse)


def _skip_sparse_map(block: bytes, source: TarSource) -> None:
    extended = block[482]
    while extended:
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            raise DamagedError("it ends in the middle of a header, as if cut off")
        extended = block[504]


def _extra(source: TarSource, size: int) -> bytes:
    if size > _MAX_EXTRA:
        raise DamagedError(f"a header of {size} bytes before byte {source.position}")
    data = source.read(_padded(size))
    if len(data) < size:
        raise DamagedError("it ends in the middle of a header, as if cut off")
    return data[:size]


def _pax_fields(text: bytes, source: TarSource) -> dict[str, bytes]:
    """The fields that matter here, of "length key=value\\n" one after the other."""
    fields: dict[str, bytes] = {}
    at = 0
    while at < len(text) and text[at]:
        digits = text[at : at + 20].partition(b" ")[0]
        end = at + _digits(digits, source)
        key, equals, value = text[at + len(digits) + 1 : end - 1].partition(b"=")
        if end > len(text) or end <= at or not equals or text[end - 1] != 10:
            raise DamagedError(f"a pax header before byte {source.position} is damaged")
        if key in (b"path", b"linkpath", b"size", b"GNU.sparse.name"):
            fields[key.decode("ascii")] = value
        if key.startswith(b"GNU.sparse."):
            fields["GNU.sparse"] = b"1"
        at = end
    return fields


def _checksum_fits(block: bytes) -> bool:
    digits = block[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    given = int(digits, 8)
    rest = block[:148] + block[156:]
    total = 8 * 32 + sum(rest)
    # Some old programs summed signed characters.
    return given == total or given == total - 256 * sum(byte > 127 for byte in rest)


def _number(field: bytes, source: TarSource) -> int:
    """Octal digits, or, from 8 GiB on, a binary number."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise DamagedError(f"the header before byte {source.position} has no size")
    return int(digits or b"0", 8)


def _digits(digits: bytes, source: TarSource) -> int:
    if not digits.isdigit() or len(digits) > 19:
        raise DamagedError(f"a pax header before byte {source.position} is damaged")
    return int(digits)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return size + -size % BLOCK
