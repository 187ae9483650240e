"""What an archive says of its members: names, sizes, where their bytes lie, what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# An archive with more is refused as a whole: a list of millions of names is an attack on memory.
MAX_MEMBERS = 2_000_000
# Linux takes no longer path, either.
MAX_NAME = 4096

EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
FOREIGN = (".7z", ".rar", ".tar.zst", ".tzst", ".tar.lz4", ".tar.lzma", ".tar.lz", ".tar.z", ".cab")

Problem = tuple[str, str]
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class DamagedError(Exception):
    """What is wrong with an archive as a whole, so that it cannot be read (on): one clause."""


class CutOffError(DamagedError):
    """The archive ends before the bytes that were to be read."""


class StreamError(DamagedError):
    """A compressed stream is damaged: what was unpacked before it showed may be wrong."""


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """Where the bytes of a member lie in the archive.

    ``packed`` bytes from ``offset`` on are the member, stored or raw deflate, with the CRC-32
    ``crc`` of the unpacked bytes where it is known. In a zip a local header lies before them: then
    ``offset`` is where that begins and ``header`` is about how long it is; its true length stands
    in itself and is read together with the data.
    """

    offset: int
    packed: int
    method: Literal["stored", "deflate"] = "stored"
    crc: int | None = None
    header: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. ``name`` is clean, but two members may have the same.

    ``problem`` is the reason (a word of :class:`~srgan.images.ImageRejectedError`) and the detail
    for which it cannot be used; ``size`` is that of the unpacked bytes, 0: nothing to read.
    """

    name: str
    size: int
    span: Span | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Listing:
    """The files in an archive, in its order; their spans refer to ``place``.

    ``damage`` says what cannot be read (on); ``members`` are those that can nevertheless.
    """

    place: str
    members: list[Member]
    damage: Problem | None = None


def displayed(name: str) -> str:
    """``name`` as UTF-8 that shows on one line: other bytes and control characters escaped."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def clean_name(name: str) -> tuple[str, str | None]:
    """A name that is safe to show and to compare, and what was unsafe about ``name``.

    ``name`` is decoded with ``surrogateescape``. Nothing is ever written under either name; an
    unsafe one is refused since it is an attack or names another file than it seems to.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    fault = None
    if "\0" in name:
        fault = "a NUL character"
    elif name.startswith("/"):
        fault = "an absolute path"
    elif _DRIVE.match(name):
        fault = "a drive letter"
    elif "\\" in name:
        fault = "a backslash"
    elif ".." in parts:
        fault = "'..'"
    elif not parts:
        fault = "no name at all"
    elif len(name) > MAX_NAME:
        fault = f"{len(name)} characters"
    if fault is None:
        return displayed(name if "/".join(parts) == name else "/".join(parts)), None
    pieces = [
        piece for piece in re.split(r"[/\\]", name[:MAX_NAME]) if piece not in ("", ".", "..")
    ]
    harmless = "/".join(displayed(piece) for piece in pieces)
    return harmless or "unnamed", fault


def member_of(
    name: str, size: int, span: Span | None, problem: Problem | None, limit: int
) -> Member:
    """A member and the first of its problems: its name, the caller's ``problem``, size, kind.

    ``limit`` is the size in bytes above which nobody will read it.
    """
    shown, fault = clean_name(name)
    if fault is not None:
        problem = ("unsafe_path", f"the name in the archive has {fault}")
    elif problem is None and size > limit:
        problem = ("too_many_bytes", f"{size} bytes, the limit is {limit}")
    elif problem is None and shown.lower().endswith((*EXTENSIONS, *FOREIGN)):
        problem = ("not_an_image", "an archive inside an archive; unpack it first")
    return Member(shown, size, span, problem)
