"""Files below a local folder, by one ``stat`` each."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, order=True)
class StoredFile:
    """A file in an image set: ``place`` to open it by, ``name`` relative to the set's root.

    ``special`` says what it is where it is no regular file ("a broken link", "a pipe", ...);
    ``size`` is 0 then: there is nothing to read.
    """

    name: str
    place: str
    size: int
    special: str = ""


def walk(root: str, start: int) -> Iterator[StoredFile]:
    """Files below ``root``, named from character ``start`` of their path on; one stat a file."""
    seen: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        info = os.stat(folder)
        if (info.st_dev, info.st_ino) in seen:
            continue
        seen.add((info.st_dev, info.st_ino))
        folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    folders.append(entry.path)
                else:
                    yield local_file(entry.path, start, entry.stat)
        # Where two links lead to one folder, the same one counts everywhere.
        pending += sorted(folders, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link in a circle, for example.
        return False


def local_file(path: str, start: int, stat_of: Callable[[], os.stat_result]) -> StoredFile:
    """The file at ``path``, named from character ``start`` on; ``stat_of`` follows links."""
    # A file name may be no UTF-8; what we write about it is.
    name = path[start:]
    if not name.isascii():
        name = name.encode("utf-8", "backslashreplace").decode()
    try:
        info = stat_of()
    except OSError:
        return StoredFile(name, path, 0, "a broken link")
    if stat.S_ISREG(info.st_mode):
        return StoredFile(name, path, info.st_size)
    return StoredFile(name, path, 0, _SPECIAL.get(stat.S_IFMT(info.st_mode), "no regular file"))


def root_length(root: Path) -> int:
    return len(str(root).rstrip("/")) + 1
