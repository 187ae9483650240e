"""First pass: the sha256 of every source, by Beam workers that exchange nothing but places."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from srgan import imageset, storage
from srgan.errors import StorageError
from srgan.imageset import ImageFile

CHUNK = 1000
HASHES = ".hashes.json"
_LISTING = ".files.json"
_REMOTE_READERS = 16
# Handing one file at a time to a thread takes as long as hashing it.
_LOCAL_BATCH = 50
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the image set and the sha256 of its bytes, which is its key."""

    file: ImageFile
    sha256: str

    @property
    def name(self) -> str:
        """What it is called in records and rejects: unique within the image set."""
        return self.file.name


def take_inventory(
    files: Sequence[ImageFile],
    folder: str,
    run: Callable[[Callable[[str], None], Sequence[str]], None],
) -> list[Source]:
    """Hash ``files`` by ``run(function, places)``, in the order of ``files``.

    ``folder`` holds listings and results meanwhile; the caller removes it. Nothing in it is ever
    reused: a file may have changed under the same name and size. Another builder of the same
    image set may share the folder and remove it first; what is missing then is hashed here.
    """
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    listings = []
    for number, chunk in enumerate(chunks):
        listing = storage.join(folder, f"{number:06d}{_LISTING}")
        storage.write_bytes(listing, _encode(chunk), durable=False)
        listings.append(listing)
    run(hash_listing, listings)
    sources = []
    for chunk, listing in zip(chunks, listings, strict=True):
        hashes = _read_hashes(listing, chunk) or _hash_all(chunk)
        for file, sha256 in zip(chunk, hashes, strict=True):
            sys.intern(file.name)  # Names and keys come back in every part, and are here already.
            sources.append(Source(file, sys.intern(sha256)))
    return sources


def hash_listing(listing: str) -> None:
    """Worker: hash the files that a listing names and write the result beside it."""
    data = read_if_exists(listing)
    if data is None:
        return
    hashes = _hash_all([ImageFile.from_row(row) for row in json.loads(data)])
    result = {"listing": hashlib.sha256(data).hexdigest(), "sha256": hashes}
    storage.write_bytes(_result_place(listing), json.dumps(result).encode(), durable=False)


def read_if_exists(place: str) -> bytes | None:
    """The object, or ``None`` where another builder has removed it."""
    try:
        return storage.read_bytes(place)
    except StorageError:
        if storage.exists(place):
            raise
        return None


def in_order(
    function: Callable[[S], T], items: Iterable[S], place: Callable[[S], str]
) -> Iterator[T]:
    """``map``, with requests in parallel where places are remote: there latency decides."""
    items = list(items)
    if all(storage.local_path(place(item)) is not None for item in items):
        yield from map(function, items)
        return
    with ThreadPoolExecutor(_REMOTE_READERS) as pool:
        for start in range(0, len(items), _REMOTE_READERS):
            yield from pool.map(function, items[start : start + _REMOTE_READERS])


def _hash_all(files: Sequence[ImageFile]) -> list[str]:
    # Reading and hashing let go of the interpreter's lock, so threads use all cores.
    local = all(storage.local_path(file.place) is not None for file in files)
    batch = _LOCAL_BATCH if local else 1
    batches = [files[start : start + batch] for start in range(0, len(files), batch)]
    with ThreadPoolExecutor(os.cpu_count() if local else _REMOTE_READERS) as pool:
        return [digest for found in pool.map(_hash_batch, batches) for digest in found]


def _hash_batch(files: Sequence[ImageFile]) -> list[str]:
    return [imageset.sha256_of(file) for file in files]


def _encode(chunk: Sequence[ImageFile]) -> bytes:
    # ASCII, so that file names that are no UTF-8 survive.
    return json.dumps([file.to_row() for file in chunk]).encode()


def _read_hashes(listing: str, chunk: Sequence[ImageFile]) -> list[str] | None:
    data = read_if_exists(_result_place(listing))
    if data is None:
        return None
    result = json.loads(data)
    if result["listing"] != hashlib.sha256(_encode(chunk)).hexdigest():
        return None
    return [str(sha256) for sha256 in result["sha256"]]


def _result_place(listing: str) -> str:
    return listing.removesuffix(_LISTING) + HASHES
