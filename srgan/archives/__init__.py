"""Image sets in zip and tar files, read where they lie. Nothing is extracted under a name.

Only Python's standard library is used, and of that neither ``zipfile`` nor ``tarfile``: archives
come from anywhere, and listing one must cost no more than its size allows.
"""

from __future__ import annotations

import zlib

from srgan import storage
from srgan.archives.members import (
    EXTENSIONS,
    FOREIGN,
    MAX_MEMBERS,
    DamagedError,
    Listing,
    Member,
    Problem,
    Span,
    displayed,
)
from srgan.archives.streams import compression, unpacked
from srgan.archives.tar_sources import list_packed_tar, list_plain_tar
from srgan.archives.tars import BLOCK, is_tar
from srgan.archives.zips import data_in, is_zip, list_zip
from srgan.storage import StoredFile

__all__ = [
    "EXTENSIONS",
    "FOREIGN",
    "MAX_MEMBERS",
    "DamagedError",
    "Listing",
    "Member",
    "Problem",
    "Span",
    "displayed",
    "list_archive",
    "packed_bytes",
    "unpacked_bytes",
]

# Local headers of zips hold some more bytes than the directory tells.
_SLACK = 64


def list_archive(file: StoredFile, *, spool: str, max_bytes: int) -> Listing | None:
    """The files in an archive; ``None`` when ``file`` is none, whatever its name says.

    A zip's directory and a plain tar's headers are read; a compressed tar is unpacked into one
    object in ``spool``. Members of more than ``max_bytes`` bytes are listed with that problem.
    """
    head = storage.read_range(file.place, 0, min(BLOCK, file.size))
    kind = compression(head)
    if kind is not None:
        try:
            if not _begins_like_tar(_first_block(file.place, kind), file.name):
                return None
        except DamagedError as error:
            return Listing(file.place, [], ("corrupt", str(error)))
        return list_packed_tar(file, kind, spool, max_bytes)
    if _begins_like_tar(head, file.name):
        return list_plain_tar(file, max_bytes)
    if is_zip(file.place, file.size, head):
        return list_zip(file, max_bytes)
    return None


def packed_bytes(place: str, span: Span) -> bytes:
    """A member's bytes as they lie in the archive, in one request for nearly every one.

    Raises :class:`DamagedError` when they are not all there.
    """
    if not span.header:
        data = storage.read_range(place, span.offset, span.packed)
    else:
        whole = storage.read_range(place, span.offset, span.header + _SLACK + span.packed)
        start, end = data_in(span, whole)
        if len(whole) < end:
            whole += storage.read_range(place, span.offset + len(whole), end - len(whole))
        data = whole[start:end]
    if len(data) < span.packed:
        raise DamagedError(f"{len(data)} of {span.packed} bytes are there")
    return data


def unpacked_bytes(data: bytes, span: Span, size: int) -> bytes:
    """The member itself; ``size`` is what the archive says, and no more is ever unpacked.

    Raises :class:`DamagedError` when it is another size or its checksum does not fit.
    """
    if span.method == "deflate":
        engine = zlib.decompressobj(-15)
        try:
            data = engine.decompress(data, size + 1)
        except zlib.error as error:
            raise DamagedError(f"its deflate stream is damaged ({error})") from None
        if not engine.eof and len(data) <= size:
            raise DamagedError("its deflate stream ends early")
    if len(data) != size:
        more = "more" if len(data) > size else f"{len(data)}"
        raise DamagedError(f"unpacks to {more} bytes, the archive says {size}")
    if span.crc is not None and zlib.crc32(data) != span.crc:
        raise DamagedError("its checksum does not fit")
    return data


def _begins_like_tar(head: bytes, name: str) -> bool:
    # Zeros alone are how tar writes an archive of nothing.
    return is_tar(head) or (head == bytes(BLOCK) and not name.lower().endswith(".zip"))


def _first_block(place: str, kind: str) -> bytes:
    head = b""
    for piece in unpacked(storage.read_pieces(place), kind):
        head += piece[:BLOCK]
        if len(head) >= BLOCK:
            break
    return head[:BLOCK]
