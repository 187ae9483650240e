"""The one place that knows ``file://`` and ``gs://``: list, read, write whole objects, publish.

A *place* is a plain path or a URL whose scheme is on the allow-list. Every write is of a whole
object and atomic: a reader sees all of it or nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from srgan.errors import StorageError
from srgan.listing import StoredFile as StoredFile
from srgan.listing import local_file, root_length, walk

# gcsfs probes a gRPC API at its first use and stalls for 60 s where there is none.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

SCHEMES = ("file", "gs")
_CHUNK = 1 << 20
# Each block of an upload is a request of its own; GCS wants multiples of 256 KiB.
_UPLOAD_BLOCK = 16 << 20
_TEMPORARY = ".part-"
_REMOVALS = 20
_UMASK = threading.Lock()


def scheme(place: str) -> str:
    """``file`` or ``gs``; a :class:`StorageError` for anything else."""
    head, separator, _ = place.partition("://")
    if not separator:
        return "file"
    if head not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise StorageError(f"{place}: scheme {head!r} is not supported; use a path or {allowed}")
    return head


def local_path(place: str) -> Path | None:
    """The path of a local place, absolute; ``None`` for a remote one."""
    if place.startswith("/"):  # Most are, and they are asked for often.
        return Path(place)
    if scheme(place) != "file":
        return None
    return Path(place.removeprefix("file://")).expanduser().absolute()


def absolute(place: str) -> str:
    """``place`` so that it means the same in every process: local paths made absolute."""
    path = local_path(place)
    return place.rstrip("/") if path is None else str(path)


def join(place: str, *names: str) -> str:
    """``place/name/…`` for paths and URLs."""
    return "/".join([place.rstrip("/"), *names])


def base_name(place: str) -> str:
    """The last part of a place."""
    return place.rstrip("/").rpartition("/")[2]


def exists(place: str) -> bool:
    """Whether there is a file, folder or prefix at ``place``."""
    path = local_path(place)
    if path is not None:
        return path.exists()
    with _reported(place, "read"):
        return bool(_gcs().exists(place))


def is_glob(place: str) -> bool:
    """Whether ``place`` is a pattern; what exists is none: a folder may be "photos [2024]"."""
    return any(character in place for character in "*?[") and not exists(place)


def list_files(place: str) -> list[StoredFile]:
    """All files below a folder or prefix, or those that a glob names; nested, sorted by name.

    A folder that a glob names counts with all that is in it. Links are followed but never in a
    circle. Raises :class:`StorageError` when ``place`` does not exist or cannot be read.
    """
    path = local_path(place)
    if is_glob(place):
        files = _glob(place)
        if not files:
            raise StorageError(f"{place}: no file matches; check the pattern")
        return files
    if path is None:
        with _reported(place, "list"):
            found = _gcs().find(place, detail=True)
        if not found:
            raise StorageError(f"{place}: nothing is there; check the bucket and the prefix")
        return _by_name(_gcs_files(place, found))
    if not path.exists():
        raise StorageError(f"{path}: no such file or folder; give one with images")
    if not path.is_dir():
        return [local_file(str(path), root_length(path.parent), path.stat)]
    with _reported(place, "list"):
        return _by_name(walk(str(path), root_length(path)))


def read_bytes(place: str) -> bytes:
    """The whole object."""
    path = local_path(place)
    with _reported(place, "read"):
        return path.read_bytes() if path is not None else bytes(_gcs().cat_file(place))


def read_range(place: str, offset: int, length: int) -> bytes:
    """``length`` bytes from ``offset`` on, in one request; fewer where the object ends before."""
    path = local_path(place)
    if length <= 0:
        return b""
    with _reported(place, "read"):
        if path is not None:
            with path.open("rb", buffering=0) as stream:
                stream.seek(offset)
                return _read_fully(stream, length)
        try:
            return bytes(_gcs().cat_file(place, start=offset, end=offset + length))
        except Exception as error:
            if _behind_the_end(error):
                return b""
            raise


@contextmanager
def open_read(place: str) -> Iterator[IO[bytes]]:
    """The object as a binary stream."""
    path = local_path(place)
    with _reported(place, "read"):
        stream: IO[bytes] = path.open("rb") if path is not None else _gcs().open(place, "rb")
        with stream:
            yield stream


def read_pieces(place: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The object, or ``length`` bytes of it from ``offset`` on, in pieces of at most 1 MiB."""
    left = sys.maxsize if length is None else length
    with open_read(place) as stream:
        stream.seek(offset)
        while left > 0 and (piece := stream.read(min(_CHUNK, left))):
            left -= len(piece)
            yield piece


def sha256_of(place: str) -> str:
    """sha256 of an object's bytes as 64 hex digits, read in pieces."""
    digest = hashlib.sha256()
    for piece in read_pieces(place):
        digest.update(piece)
    return digest.hexdigest()


def write_bytes(place: str, data: bytes, *, durable: bool = True) -> None:
    """Write or replace a whole object, atomically; ``durable`` as for :func:`open_write`."""
    if local_path(place) is None:
        with _reported(place, "write"):
            _gcs().pipe_file(place, data)
        return
    with open_write(place, durable=durable) as stream:
        stream.write(data)


@contextmanager
def open_write(place: str, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary stream that writes or replaces an object: whole at the end, or not at all.

    Nothing is left of it when the block ends in an error. ``durable=False`` spares the wait for
    the disk where a power cut may cost the file, as it may cost intermediate ones.
    """
    path = local_path(place)
    with _reported(place, "write"):
        if path is None:
            with _upload(place) as upload:
                yield upload
            return
        with _temporary_beside(path) as temporary:
            with _filling(temporary, durable) as stream:
                yield stream
            os.replace(temporary, path)


def publish_once(place: str, data: bytes) -> bool:
    """Write an object that must not exist yet; ``False`` when somebody was first.

    This is what makes a dataset exist: of two builders exactly one gets ``True``, and the object
    is there in whole or not at all (a hard link locally, ``if_generation_match=0`` on GCS).
    """
    path = local_path(place)
    with _reported(place, "write"):
        if path is None:
            try:
                _gcs().pipe_file(place, data, mode="create")
            except FileExistsError:
                return False
            return True
        with _temporary_beside(path) as temporary:
            with _filling(temporary, durable=True) as stream:
                stream.write(data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        return True


def delete(place: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is not there."""
    path = local_path(place)
    with _reported(place, "delete"):
        if path is None:
            with suppress(FileNotFoundError):
                _gcs().rm(place, recursive=True)
        elif path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)
        else:
            _remove_tree(path)


def delete_temporaries(folder: str) -> None:
    """Remove what killed writers left in a local folder; GCS never shows a half object."""
    path = local_path(folder)
    if path is not None and path.is_dir():
        for leftover in path.glob(f"{_TEMPORARY}*"):
            leftover.unlink(missing_ok=True)


def local_copy(place: str, sha256: str, cache: Path) -> Path:
    """A local file with the bytes of ``place``; remote ones are kept in ``cache`` by digest.

    Raises :class:`StorageError` when the bytes do not have the given sha256.
    """
    path = local_path(place)
    if path is not None:
        return path
    cached = cache / sha256
    if not cached.exists():
        data = read_bytes(place)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise StorageError(f"{place}: sha256 is {found}, expected {sha256}")
        write_bytes(str(cached), data)
    return cached


def _by_name(files: Iterable[StoredFile]) -> list[StoredFile]:
    return sorted(files, key=lambda file: file.name)


def _glob(pattern: str) -> list[StoredFile]:
    if scheme(pattern) != "file":
        root = _before_wildcard(pattern)
        with _reported(pattern, "list"):
            found = dict(_gcs().glob(pattern, detail=True))
            # "**" has named all that is in the folders, too.
            folders = [n for n, i in found.items() if i["type"] == "directory"]
            for folder in [] if pattern.endswith("**") else folders:
                found.update(_gcs().find(folder, detail=True))
        return _by_name(_gcs_files(root, found))
    whole = absolute(pattern)
    root = _before_wildcard(whole)
    path = Path(root or "/")
    start = root_length(path)
    files: dict[str, StoredFile] = {}
    with _reported(pattern, "list"):
        for match in map(str, path.glob(whole[len(root) :].lstrip("/"))):
            if os.path.isdir(match):
                files.update((file.place, file) for file in walk(match, start))
            else:
                files[match] = local_file(match, start, Path(match).stat)
    return _by_name(files.values())


def _before_wildcard(pattern: str) -> str:
    """The folder above the first part with a wildcard."""
    first = min(pattern.find(c) for c in "*?[" if c in pattern)
    return pattern[:first].rpartition("/")[0]


def _remove_tree(path: Path) -> None:
    """Remove a folder that others may be filling or removing at the same time."""
    for attempt in range(_REMOVALS):
        try:
            shutil.rmtree(path)
            return
        except (FileNotFoundError, NotADirectoryError):
            if not path.exists():
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == _REMOVALS - 1:
                raise
            time.sleep(0.01)


def _gcs_files(root: str, found: dict[str, dict[str, Any]]) -> Iterator[StoredFile]:
    for name, info in found.items():
        # An object "photos/" is how a console marks an empty folder.
        if info["type"] == "file" and not name.endswith("/"):
            place = f"gs://{name}"
            relative = place[len(root.rstrip("/")) :].lstrip("/") or base_name(place)
            yield StoredFile(relative, place, int(info["size"]))


def _gcs() -> Any:
    import fsspec

    # Other processes write what we list; a remembered listing would be stale.
    return fsspec.filesystem("gs", use_listings_cache=False)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{path.parent} is a file, no folder") from None
    descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _filling(path: Path, durable: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as stream:
        yield stream
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
    # mkstemp makes files private; what we publish follows the user's umask.
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    # It can only be read by setting it: two threads at once would leave it at 0.
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


@contextmanager
def _upload(place: str) -> Iterator[IO[bytes]]:
    stream = _gcs().open(place, "wb", block_size=_UPLOAD_BLOCK)
    try:
        yield stream
        stream.close()
    except BaseException:
        # To close it would publish what is there so far; so would the garbage collector.
        with suppress(Exception):
            stream.discard()
        stream.closed = True
        raise


def _read_fully(stream: IO[bytes], length: int) -> bytes:
    """An unbuffered read may return less than there is."""
    data = stream.read(length)
    while len(data) < length and (more := stream.read(length - len(data))):
        data += more
    return data


def _behind_the_end(error: Exception) -> bool:
    return str(getattr(error, "code", "")) == "416" or "not satisfiable" in str(error)


@contextmanager
def _reported(place: str, verb: str) -> Iterator[None]:
    """Turns what file systems and GCS raise into one line about ``place``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError) and scheme(place) == "gs":
            reason = "no such bucket or object"
        raise StorageError(f"{place}: cannot {verb}: {reason}") from error
    except Exception as error:
        # gcsfs and google-auth have roots of their own; none of them is an OSError.
        if type(error).__module__.partition(".")[0] in ("gcsfs", "google", "aiohttp", "requests"):
            detail = " ".join(str(cast(object, error)).split())
            raise StorageError(f"{place}: cannot {verb}: {detail}") from error
        raise
