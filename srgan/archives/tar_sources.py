"""Where the bytes of a tar come from: the file itself, or a compressed stream, unpacked once."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from srgan import storage
from srgan.archives.members import CutOffError, DamagedError, Listing, Problem, Span, StreamError
from srgan.archives.streams import unpacked
from srgan.archives.tars import read_members
from srgan.storage import StoredFile

# Photos hardly shrink: what unpacks to more than this many times its size is a bomb. Copies of one
# photo may, so that a gigabyte always is allowed; it takes some seconds.
_MOST_RATIO = 200
_ALWAYS = 1 << 30


class PlainTar:
    """An uncompressed tar: data is passed over, and read later where it lies."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.position = 0
        self._stream = stream
        self._size = size

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self.position += len(data)
        return data

    def keep(self, size: int) -> Span:
        span = Span(self.position, size)
        if size > self._size - self.position:
            raise CutOffError
        self.skip(size)
        return span

    def skip(self, size: int) -> None:
        if size:
            self.position = min(self.position + size, self._size)
            self._stream.seek(self.position)


class PackedTar:
    """A compressed tar: the members' bytes are written to ``sink``, one after the other.

    Of a member of more than ``limit`` bytes only the sha256 is, 32 bytes: nobody reads it, but
    two of them must not look the same.
    """

    def __init__(self, pieces: Iterator[bytes], sink: IO[bytes], limit: int, most: int) -> None:
        self.position = 0
        self._pieces = pieces
        self._sink = sink
        self._limit = limit
        self._most = most
        self._piece = memoryview(b"")
        self._written = 0

    def read(self, count: int) -> bytes:
        return b"".join(self._next(count))

    def keep(self, size: int) -> Span:
        start, end = self._written, self.position + size
        if size <= self._limit:
            for data in self._next(size):
                self._write(data)
        else:
            digest = hashlib.sha256()
            for data in self._next(size):
                digest.update(data)
            self._write(digest.digest())
        if self.position < end:
            raise CutOffError
        return Span(start, self._written - start)

    def skip(self, size: int) -> None:
        for _ in self._next(size):
            pass

    def _write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        self._written += len(data)

    def _next(self, count: int) -> Iterator[memoryview]:
        while count:
            if not self._piece:
                self._piece = memoryview(next(self._pieces, b""))
                if not self._piece:
                    return
            data, self._piece = self._piece[:count], self._piece[count:]
            self.position += len(data)
            count -= len(data)
            if self.position > self._most:
                raise DamagedError(f"it unpacks to more than {_MOST_RATIO} times its size")
            yield data


def list_plain_tar(file: StoredFile, limit: int) -> Listing:
    """The members of an uncompressed tar: its headers are read, its data is passed over."""
    with storage.open_read(file.place) as stream:
        members, damage = read_members(PlainTar(stream, file.size), limit, file.size)
    return Listing(file.place, members, _problem(damage))


def _problem(damage: DamagedError | None) -> Problem | None:
    return None if damage is None else ("corrupt", str(damage))


def list_packed_tar(file: StoredFile, kind: str, spool: str, limit: int) -> Listing:
    """The members of a compressed tar, their bytes unpacked into one object in ``spool``.

    A stream that is cut off gives the members before the cut. Of one that is damaged nobody knows
    which are right, since its checksum comes after them: they are listed, but as ``corrupt``.
    """
    name = hashlib.sha256(file.place.encode("utf-8", "surrogateescape")).hexdigest()
    place = storage.join(spool, f"{name[:16]}.members")
    pieces = unpacked(storage.read_pieces(file.place), kind)
    with storage.open_write(place, durable=False) as sink:
        source = PackedTar(pieces, sink, limit, max(_ALWAYS, _MOST_RATIO * file.size))
        members, damage = read_members(source, limit, file.size)
        trusted = not isinstance(damage, StreamError)
        try:
            if members or damage is None:
                source.skip(sys.maxsize)  # To the checksum at the end.
        except DamagedError as error:
            trusted = damage is None and not isinstance(error, StreamError)
            damage = damage or error
    if not trusted:
        wrong = ("corrupt", f"in a damaged archive: {damage}")
        members = [replace(member, problem=member.problem or wrong) for member in members]
    return Listing(place, members, _problem(damage))
