"""Compressed streams unpacked in small pieces, whatever they claim."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from srgan.archives.members import DamagedError, StreamError

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_PIECE = 1 << 20
# xz -9 needs 65 MiB; a header may ask for gigabytes.
_XZ_MEMORY = 256 << 20


def compression(head: bytes) -> str | None:
    """How a file is compressed by its first bytes; ``None``: not at all."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def unpacked(pieces: Iterator[bytes], kind: str) -> Iterator[bytes]:
    """The unpacked bytes of a compressed stream, in pieces of at most 1 MiB.

    Streams that follow one another are one. What follows the last one and is none is passed over,
    as ``gzip`` does. Raises :class:`StreamError` when the stream is damaged, which may show as
    late as at its end, and :class:`DamagedError` when it ends early.
    """
    engine = _engine(kind)
    data = next(pieces, b"")
    while True:
        try:
            piece = engine.decompress(data, _PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise StreamError(f"its {kind} stream is damaged ({error})") from None
        if piece:
            yield piece
        # zlib hands back what it has not read yet; the others keep it.
        data = getattr(engine, "unconsumed_tail", b"")
        if engine.eof:
            data = _following(engine.unused_data, pieces)
            if compression(data) != kind:
                return
            engine = _engine(kind)
        elif not data and getattr(engine, "needs_input", True):
            data = next(pieces, b"")
            if not data and not piece:
                raise DamagedError(f"its {kind} stream ends early, as if cut off")


def _following(unused: bytes, pieces: Iterator[bytes]) -> bytes:
    """What follows a stream; zeros, with which some writers fill up blocks, do not count."""
    data = unused.lstrip(b"\0")
    longest = max(map(len, MAGIC))
    while len(data) < longest and (more := next(pieces, b"")):
        data = data + more if data else more.lstrip(b"\0")
    return data


def _engine(kind: str) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(31)
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
