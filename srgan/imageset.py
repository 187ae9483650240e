"""An image set: folders, globs, zip and tar files, local or on ``gs://``, as one list of files.

Every file is in the list, also what is no image: whoever builds from it accounts for all.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from srgan import archives, storage
from srgan.archives import DamagedError, Listing, Problem, Span
from srgan.errors import DatasetError
from srgan.images import ImageRejectedError
from srgan.storage import StoredFile

__all__ = ["ImageFile", "Span", "list_image_set", "read_file", "sha256_of"]

_REMOTE_READERS = 16
# A stream costs two requests where one will do.
_AT_ONCE = 16 << 20
_EMPTY = "no file in there; give a folder or an archive with images"
_UNKNOWN = "no zip or tar file, whatever its name says; get it again or give a folder"


@dataclass(frozen=True, order=True, slots=True)
class ImageFile:
    """A file of an image set, wherever it lies. It means the same on every machine.

    ``name`` is unique within the image set, in UTF-8, parts divided by "/", none of them "." or
    ".."; people see it and records keep it. ``inside`` is the path relative to the input (folder,
    glob, archive) that it came with: groups are made of it. ``place`` is the file, or what holds
    it: the archive, or the object that a compressed one was unpacked into; ``span`` is where in
    there. ``size`` is the number of (unpacked) bytes, 0: nothing to read. ``problem`` is the
    reason and the detail for which the file cannot be used, where that is known unread.
    """

    name: str
    inside: str
    place: str
    size: int
    span: Span | None = None
    problem: Problem | None = None

    def to_row(self) -> list[Any]:
        """A short list for JSON: names that are no UTF-8 survive as ASCII escapes only."""
        row: list[Any] = [self.name, self.inside if self.inside != self.name else 0]
        row += [self.place, self.size]
        if self.span is not None or self.problem is not None:
            span = self.span
            row.append(span and [span.offset, span.packed, span.method, span.crc, span.header])
        if self.problem is not None:
            row.append(list(self.problem))
        return row

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> ImageFile:
        """The file of :meth:`to_row`."""
        name, inside, place, size, span, problem, *_ = [*row, None, None]
        return cls(
            name,
            inside or name,
            place,
            size,
            Span(*span) if span else None,
            (problem[0], problem[1]) if problem else None,
        )


@dataclass(frozen=True)
class _Found:
    """A file as it was listed: by which input's ``root``, and whether it is the input itself."""

    root: str
    file: StoredFile
    named: bool


def list_image_set(inputs: Sequence[str], *, spool: str, max_bytes: int) -> list[ImageFile]:
    """All files of the inputs, sorted by name; the order of the inputs does not matter.

    An input is a folder, a glob, a file or an archive (zip, tar, tar.gz, tar.bz2, tar.xz), local
    or on ``gs://``. Archives in folders are opened, too, archives in archives are not. A file
    that is reached twice counts once, by the outermost input. With inputs of several roots names
    begin with the shortest end of the root that tells it from the others.

    Compressed tars are unpacked into objects in the folder or prefix ``spool``, which the caller
    removes when nobody reads the files any more. Files of more than ``max_bytes`` bytes are listed
    with the problem ``too_many_bytes``. Where an archive in a folder is damaged, it is a file with
    the problem ``corrupt`` beside those of its members that can be read.

    Raises :class:`~srgan.errors.SrganError` when an input does not exist or holds no file, or is
    itself an archive that is damaged.
    """
    if not inputs:
        raise DatasetError("no image set is given; give a folder, an archive or a gs:// prefix")
    found = _outermost(item for place in sorted(set(inputs)) for item in _list(place))
    labels = _labels(sorted({item.root for item in found}))
    rows: list[tuple[str, ImageFile]] = []
    for item, listing in zip(found, _listings(found, spool, max_bytes), strict=True):
        rows += ((labels[item.root], file) for file in _files(item, listing, max_bytes))
    return _uniquely_named(rows)


def read_file(file: ImageFile, *, max_bytes: int) -> bytes:
    """The whole file, unpacked.

    Raises :class:`ImageRejectedError`: the file's ``problem``; ``too_many_bytes`` when it has more
    than ``max_bytes``; ``corrupt`` when it is a member of an archive that cannot be unpacked.
    """
    if file.problem is not None:
        raise ImageRejectedError(*file.problem)
    _check_size(file.size, max_bytes)
    if not file.size:
        return b""
    if file.span is None:
        data = storage.read_range(file.place, 0, file.size + 1)
        if len(data) > file.size:  # It has grown since it was listed.
            data = storage.read_range(file.place, 0, max_bytes + 1)
            _check_size(len(data), max_bytes)
        return data
    try:
        packed = archives.packed_bytes(file.place, file.span)
        return archives.unpacked_bytes(packed, file.span, file.size)
    except DamagedError as error:
        raise ImageRejectedError("corrupt", str(error)) from None


def sha256_of(file: ImageFile) -> str:
    """sha256 of the file's bytes as 64 hex digits, equal in a folder and in an archive.

    What cannot be unpacked, or will not be since it has a ``problem``, counts as it lies in the
    archive.
    """
    if not file.size:
        return hashlib.sha256(b"").hexdigest()
    if file.span is None:
        if file.size > _AT_ONCE:
            return storage.sha256_of(file.place)
        data = storage.read_range(file.place, 0, file.size + 1)
        if len(data) > file.size:
            return storage.sha256_of(file.place)
        return hashlib.sha256(data).hexdigest()
    if file.problem is None:
        try:
            packed = archives.packed_bytes(file.place, file.span)
            data = archives.unpacked_bytes(packed, file.span, file.size)
            return hashlib.sha256(data).hexdigest()
        except DamagedError:
            pass
    digest = hashlib.sha256()
    start = file.span.offset + file.span.header
    for piece in storage.read_pieces(file.place, start, file.span.packed):
        digest.update(piece)
    return digest.hexdigest()


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ImageRejectedError("too_many_bytes", _too_many(size, max_bytes))


def _too_many(size: int, max_bytes: int) -> str:
    return f"{size} bytes, the limit is {max_bytes}"


def _list(place: str) -> list[_Found]:
    place = storage.absolute(place)
    files = storage.list_files(place)
    if not files:
        raise DatasetError(f"{place}: {_EMPTY}")
    if len(files) == 1 and files[0].place == place:
        if place.lower().endswith(archives.FOREIGN):
            raise DatasetError(f"{place}: an archive of this kind is not opened; unpack it first")
        if _is_archive(files[0]):
            return [_Found(place, files[0], True)]
    # Names are relative to the folder, or to what comes before a glob's first wildcard.
    root = files[0].place.rsplit("/", files[0].name.count("/") + 1)[0].rstrip("/")
    return [_Found(root, file, False) for file in files]


def _is_archive(file: StoredFile) -> bool:
    return file.size > 0 and file.name.lower().endswith(archives.EXTENSIONS)


def _outermost(items: Iterable[_Found]) -> list[_Found]:
    """Every file once, by the input with the shortest root, which says most about groups."""
    best: dict[str, tuple[int, str, _Found]] = {}
    roots: dict[str, str] = {}
    for item in items:
        if item.root not in roots:
            local = storage.local_path(item.root) is not None
            roots[item.root] = os.path.realpath(item.root or "/") if local else item.root
        # One folder may be given under two names.
        root = roots[item.root]
        identity = root.rstrip("/") + item.file.place[len(item.root) :]
        ranked = (len(root), item.root, item)
        if identity not in best or ranked[:2] < best[identity][:2]:
            best[identity] = ranked
    return sorted((item for *_, item in best.values()), key=lambda i: (i.root, i.file))


def _labels(roots: Sequence[str]) -> dict[str, str]:
    """The shortest end of each root that no other has; empty where there is but one."""
    if len(roots) == 1:
        return {roots[0]: ""}
    parts = {root: _parts(root) for root in roots}
    labels: dict[str, str] = {}
    for count in range(1, max(map(len, parts.values())) + 1):
        ends = Counter(tuple(part[-count:]) for part in parts.values())
        for root in roots:
            if root not in labels and (
                ends[tuple(parts[root][-count:])] == 1 or count >= len(parts[root])
            ):
                labels[root] = "/".join(map(archives.displayed, parts[root][-count:]))
    return labels


def _parts(root: str) -> list[str]:
    if storage.local_path(root) is not None:
        root = os.path.normpath(root)
    return _path_parts(root) or [""]


def _path_parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".", "..")]


def _listings(found: Sequence[_Found], spool: str, max_bytes: int) -> Iterator[Listing | None]:
    """What is in each file that is an archive; several at a time where latency decides."""

    def opened(item: _Found) -> Listing | None:
        return archives.list_archive(item.file, spool=spool, max_bytes=max_bytes)

    files = [item for item in found if _is_archive(item.file)]
    remote = any(storage.local_path(item.root) is None for item in files)
    pool = ThreadPoolExecutor(_REMOTE_READERS if remote else 1)
    try:
        listings = pool.map(opened, files)
        for item in found:
            yield next(listings) if _is_archive(item.file) else None
    finally:
        pool.shutdown(cancel_futures=True)


def _files(item: _Found, listing: Listing | None, max_bytes: int) -> Iterator[ImageFile]:
    file = item.file
    # A key on GCS may have empty parts, or "..": it is no path there.
    inside = archives.displayed("/".join(_path_parts(file.name)))
    if item.named:
        _check_named(file, listing)
    if listing is None:
        yield ImageFile(inside, inside, file.place, file.size, None, _problem(file, max_bytes))
        return
    if listing.damage is not None:
        yield ImageFile(inside, inside, file.place, file.size, None, listing.damage)
    for member in listing.members:
        path = member.name if item.named else f"{inside}/{member.name}"
        yield ImageFile(path, path, listing.place, member.size, member.span, member.problem)


def _check_named(file: StoredFile, listing: Listing | None) -> None:
    """An archive that is itself an input must be one, whole, and hold a file."""
    if listing is None:
        raise DatasetError(f"{file.place}: {_UNKNOWN}")
    if listing.damage is not None:
        whole = sum(member.problem is None for member in listing.members)
        rest = f", or give the folder it lies in to use what can be read: {whole} of its files"
        raise DatasetError(
            f"{file.place}: damaged archive: {listing.damage[1]}; get it again"
            + (rest if whole else "")
        )
    if not listing.members:
        raise DatasetError(f"{file.place}: {_EMPTY}")


def _problem(file: StoredFile, max_bytes: int) -> Problem | None:
    if file.special:
        return "not_an_image", file.special
    if file.size > max_bytes:
        return "too_many_bytes", _too_many(file.size, max_bytes)
    if file.name.lower().endswith(archives.FOREIGN):
        return "not_an_image", "an archive of a kind that is not opened; unpack it first"
    return None


def _uniquely_named(rows: Iterable[tuple[str, ImageFile]]) -> list[ImageFile]:
    """Files sorted by name; of several with one name all but the first get ``~2``, ``~3``, ..."""
    named = [(f"{label}/{file.name}" if label else file.name, file) for label, file in rows]
    # What has an unsafe name must not push a file from its own.
    named.sort(key=lambda pair: (pair[0], pair[1].problem is not None))
    taken = {name for name, _ in named}
    numbers: dict[str, int] = {}
    files = []
    for name, file in named:
        number = numbers.get(name, 1)
        unique = name
        while number > 1 and (unique := f"{name}~{number}") in taken:
            number += 1
        numbers[name] = number + 1
        taken.add(unique)
        files.append(ImageFile(unique, file.inside, file.place, file.size, file.span, file.problem))
    return sorted(files, key=lambda file: file.name)
