"""Archives made by Python's own modules, as tests read them back."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from srgan.archives import Listing, list_archive, packed_bytes, unpacked_bytes
from srgan.listing import local_file, root_length

TARS = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
FILES = {
    "alice/1.jpg": b"one" * 1000,
    "alice/2.jpg": bytes(range(256)) * 8,
    "bob/empty.png": b"",
    "böb/ünï 日本.jpg": b"x",
    "notes.txt": b"text\n",
}


def write_zip(
    path: Path, files: Mapping[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def write_tar(
    path: Path, files: Mapping[str, bytes] = FILES, tar_format: int = tarfile.GNU_FORMAT
) -> Path:
    """Compressed as the name's ending says."""
    mode = next(mode for end, mode in sorted(TARS.items()) if path.name.endswith(end))
    with tarfile.open(path, mode, format=tar_format) as archive:  # type: ignore[call-overload]
        add_files(archive, files)
    return path


def add_files(archive: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


def add_special(archive: tarfile.TarFile, name: str, kind: bytes, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    archive.addfile(info)


def write_archive(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    return write_zip(path, files) if path.suffix == ".zip" else write_tar(path, files)


def listing(path: Path, max_bytes: int = 1 << 20) -> Listing:
    file = local_file(str(path), root_length(path.parent), path.stat)
    found = list_archive(file, spool=str(path.parent / "spool"), max_bytes=max_bytes)
    assert found is not None
    return found


def contents(found: Listing) -> dict[str, bytes]:
    """The members without a problem, unpacked."""
    files = {}
    for member in found.members:
        if member.problem is None:
            assert member.name not in files
            files[member.name] = b""
            if member.span is not None:
                data = packed_bytes(found.place, member.span)
                files[member.name] = unpacked_bytes(data, member.span, member.size)
    return files


def problems(found: Listing) -> dict[str, tuple[str, str]]:
    return {member.name: member.problem for member in found.members if member.problem}


def names(found: Iterable[object]) -> list[str]:
    return [item.name for item in found]  # type: ignore[attr-defined]
