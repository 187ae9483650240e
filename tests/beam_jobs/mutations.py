"""Hostile image sets: thousands of sources of which few are what they seem, from a seed.

Pictures in every format and variant, damaged by chance and on purpose (:mod:`hostile_damage`,
:mod:`hostile_made_up`), archives of all kinds (:mod:`hostile_archives`), names that trip
programs, and what is no file at all. Every item knows what it must count for, independently of
the code that reads it.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.beam_jobs.hostile_archives import hostile_archive
from tests.beam_jobs.hostile_damage import damaged_picture, misnamed, noise
from tests.beam_jobs.hostile_made_up import made_up_picture
from tests.beam_jobs.hostile_pictures import Picture, valid_picture

Kind = Literal["file", "link", "pipe", "socket", "folder"]


@dataclass(frozen=True)
class Item:
    """Something in an image set's folder.

    ``path`` is relative to it, in the file system's bytes; ``data`` the content, or the target of
    a link. ``usable`` are the pictures in it that must become records (unless a setting refuses
    one of their traits); ``known`` are the contents of all its sources, as far as they are known.
    ``sources``: the least and the most sources that it counts as.
    """

    path: bytes
    what: str
    data: bytes = b""
    kind: Kind = "file"
    usable: tuple[Picture, ...] = ()
    known: tuple[bytes, ...] = ()
    sources: tuple[int, int] = (1, 1)


def hostile_set(seed: int, count: int) -> list[Item]:
    """``count`` items, the first of them a good picture. Equal on every machine."""
    items = [_picture(random.Random(f"{seed} first"), 0, [])]
    for number in range(1, count):
        rng = random.Random(f"{seed} {number}")
        (make,) = rng.choices(list(_MAKERS), list(_MAKERS.values()))
        items.append(make(rng, number, items))
    return items


def write_items(items: Iterable[Item], root: Path) -> Path:
    """Make the items below ``root``."""
    for item in items:
        place = os.path.join(os.fsencode(root), item.path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if item.kind == "folder":
            os.makedirs(place)
        elif item.kind == "link":
            os.symlink(item.data, place)
        elif item.kind == "pipe":
            os.mkfifo(place)
        elif item.kind == "socket":
            os.mknod(place, stat.S_IFSOCK | 0o600)
        else:
            with open(place, "xb") as stream:
                stream.write(item.data)
    return root


def _path(rng: random.Random, number: int, suffix: str) -> bytes:
    """Mostly harmless; every name holds its number, which makes it the only one."""
    folder = b"person-%02d/" % rng.randrange(40)
    if rng.random() < 0.85:
        return folder + b"photo-%d%s" % (number, suffix.encode())
    odd = rng.choice(_ODD_NAMES) % number
    return rng.choice((folder, b"", b"." + folder, b"-x/")) + odd + suffix.encode()


_ODD_NAMES = (
    b"-rf %d",
    b"--help=%d",
    b" leading and trailing %d ",
    b"line\nbreak\r%d",
    b"tab\t%d",
    b"\x1b[31m%d",
    "写真-%d".encode(),
    "e\u0301\u202egnp.%d".encode(),
    "\U0001f600 %d".encode(),
    b"latin-\xe9-%d",
    b"\xff\xfe\x80%d",
    rb"latin-\xe9-%d",
    b"*?[%d]",
    b"'\"$(touch %d)`;&|",
    b"C:%d\\photo",
    b"%d#frag?query=1",
    b"x" * 230 + b"%d",
    b"deep/" * 40 + b"%d",
    b"set.zip/%d",
    b"..%d",
    b".%d",
    b"gs:/%d",
)


def _item(rng: random.Random, number: int, picture: Picture, *, usable: bool) -> Item:
    path = _path(rng, number, picture.suffix)
    good = (picture,) if usable else ()
    return Item(path, picture.what, picture.data, usable=good, known=(picture.data,))


def _picture(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, valid_picture(rng), usable=True)


def _misnamed(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, misnamed(rng, valid_picture(rng)), usable=True)


def _damaged(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, damaged_picture(rng), usable=False)


def _made_up(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, made_up_picture(rng), usable=False)


def _noise(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, noise(rng), usable=False)


def _empty(rng: random.Random, number: int, _: list[Item]) -> Item:
    return _item(rng, number, Picture(b"", ".jpg", "empty"), usable=False)


def _copy(rng: random.Random, number: int, before: list[Item]) -> Item:
    """The bytes of an item before, under another name."""
    files = [item for item in before if item.kind == "file" and item.known == (item.data,)]
    chosen = rng.choice(files)
    path = _path(rng, number, os.path.splitext(chosen.path)[1].decode("latin-1")[:5])
    return Item(path, f"copy of {chosen.what}", chosen.data, known=chosen.known)


def _archive(rng: random.Random, number: int, _: list[Item]) -> Item:
    made = hostile_archive(rng)
    path = _path(rng, number, made.suffix)
    return Item(path, made.what, made.data, "file", made.usable, made.known, made.sources)


def _no_file(rng: random.Random, number: int, before: list[Item]) -> Item:
    """Links, pipes, sockets, folders; to read some of them would take for ever."""
    path = b"person-%02d/special-%d.png" % (rng.randrange(40), number)
    kind = rng.randrange(9)
    if kind == 0:
        return Item(path, "pipe", kind="pipe")
    if kind == 1:
        return Item(path, "socket", kind="socket")
    if kind == 2:
        return Item(path, "link to nothing", b"nowhere.png", "link")
    if kind == 3:
        return Item(path, "link to itself", os.path.basename(path), "link")
    if kind == 4:
        return Item(path, "link to endless zeros", b"/dev/zero", "link")
    if kind == 5:
        return Item(path, "link in a circle", b"..", "link", sources=(0, 0))
    if kind == 6:
        return Item(path, "link to a pipe", b"/dev/null", "link")
    if kind == 7:
        return Item(path, "folder called like a picture", kind="folder", sources=(0, 0))
    first = before[0]
    target = b"../" + first.path
    return Item(path, "link to a picture", target, "link", known=first.known)


_MAKERS = {
    _picture: 26,
    _misnamed: 4,
    _damaged: 40,
    _made_up: 12,
    _noise: 5,
    _empty: 1,
    _copy: 3,
    _archive: 5,
    _no_file: 4,
}
