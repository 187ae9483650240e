"""First pass: the sha256 of every source, by Beam workers that exchange nothing but places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from srgan import storage
from srgan.errors import StorageError
from srgan.storage import StoredFile

CHUNK = 1000
HASHES = ".hashes.json"
_LISTING = ".files.json"
_REMOTE_READERS = 16
_EMPTY = hashlib.sha256(b"").hexdigest()
T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Source:
    """A file of the image set and the sha256 of its bytes, which is its key."""

    name: str
    place: str
    size: int
    sha256: str


def take_inventory(
    files: Sequence[StoredFile],
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
        storage.write_bytes(listing, _encode(chunk))
        listings.append(listing)
    run(hash_listing, listings)
    sources = []
    for chunk, listing in zip(chunks, listings, strict=True):
        hashes = _read_hashes(listing, chunk)
        if hashes is None:
            hashes = _hash_all([(file.place, file.size) for file in chunk])
        sources += [
            Source(file.name, file.place, file.size, sha256)
            for file, sha256 in zip(chunk, hashes, strict=True)
        ]
    return sources


def hash_listing(listing: str) -> None:
    """Worker: hash the files that a listing names and write the result beside it."""
    data = read_if_exists(listing)
    if data is None:
        return
    hashes = _hash_all(json.loads(data))
    result = {"listing": hashlib.sha256(data).hexdigest(), "sha256": hashes}
    storage.write_bytes(_result_place(listing), json.dumps(result).encode())


def read_if_exists(place: str) -> bytes | None:
    """The object, or ``None`` where another builder has removed it."""
    try:
        return storage.read_bytes(place)
    except StorageError:
        if storage.exists(place):
            raise
        return None


def in_order(function: Callable[[str], T], places: Iterable[str]) -> Iterator[T]:
    """``map``, with requests in parallel where places are remote: there latency decides."""
    places = list(places)
    if all(storage.local_path(place) is not None for place in places):
        yield from map(function, places)
        return
    with ThreadPoolExecutor(_REMOTE_READERS) as pool:
        for start in range(0, len(places), _REMOTE_READERS):
            yield from pool.map(function, places[start : start + _REMOTE_READERS])


def _hash_all(files: Sequence[tuple[str, int]]) -> list[str]:
    # An empty file is never opened: broken links and pipes are listed as empty, too.
    filled = [place for place, size in files if size]
    hashes = iter(list(in_order(storage.sha256_of, filled)))
    return [next(hashes) if size else _EMPTY for _, size in files]


def _encode(chunk: Sequence[StoredFile]) -> bytes:
    # ASCII, so that file names that are no UTF-8 survive.
    return json.dumps([[file.place, file.size] for file in chunk]).encode()


def _read_hashes(listing: str, chunk: Sequence[StoredFile]) -> list[str] | None:
    data = read_if_exists(_result_place(listing))
    if data is None:
        return None
    result = json.loads(data)
    if result["listing"] != hashlib.sha256(_encode(chunk)).hexdigest():
        return None
    return [str(sha256) for sha256 in result["sha256"]]


def _result_place(listing: str) -> str:
    return listing.removesuffix(_LISTING) + HASHES
