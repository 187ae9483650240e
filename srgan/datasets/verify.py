"""Whether a dataset is whole: every byte of it, every record, and the accounts."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from srgan import storage
from srgan.datasets.accounts import Accounts, check_accounts
from srgan.datasets.problems import Problem, changed
from srgan.datasets.shards import check_shard
from srgan.errors import StorageError
from srgan.records import MANIFEST, Dataset, ShardInfo

_CHUNK = 1 << 20
# Hashing and decoding leave the interpreter lock; remote reads wait.
_READERS = max(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Verification:
    """What was checked, and everything that was found wrong; ``records``: 0 with ``quick``."""

    place: str
    digest: str
    quick: bool
    files: int
    bytes: int
    records: int
    problems: tuple[Problem, ...]


def verify(
    dataset: Dataset,
    *,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare every file with the manifest and, unless ``quick``, read every record.

    ``progress`` is told (bytes read, bytes in all). No problem hides another one: what can still
    be checked is checked.
    """
    manifest = dataset.manifest
    present = {file.name: file.size for file in storage.list_files(dataset.place)}
    shards = [shard for shard in manifest.shards if shard.name in present]
    files = [name for name in manifest.files if name in present]
    problems = [*_missing(dataset, present), *_unlisted(dataset, present)]
    accounts = Accounts(complete=False)
    if not quick:
        accounts = check_accounts(dataset)
    seen = _Counter(progress, sum(present[name] for name in [*files, *(s.name for s in shards)]))

    def check(shard: ShardInfo) -> list[Problem]:
        if quick:
            return _check_bytes(dataset, shard.name, shard.sha256, seen.add)
        listed = accounts.shards.get(shard.name, []) if accounts.complete else None
        return check_shard(dataset, shard, listed, seen.add)

    with ThreadPoolExecutor(_READERS) as pool:
        found = [
            *pool.map(lambda n: _check_bytes(dataset, n, manifest.files[n], seen.add), files),
            *pool.map(check, shards),
        ]
    problems += [problem for some in found for problem in some]
    problems += accounts.problems
    return Verification(
        place=dataset.place,
        digest=dataset.digest,
        quick=quick,
        files=len(files) + len(shards) + 1,
        bytes=seen.done,
        records=0 if quick else sum(shard.records for shard in shards),
        problems=tuple(problems),
    )


def _missing(dataset: Dataset, present: dict[str, int]) -> Iterator[Problem]:
    for name in [*(s.name for s in dataset.manifest.shards), *dataset.manifest.files]:
        if name not in present:
            yield Problem(name, f"missing, though {MANIFEST} lists it")


def _unlisted(dataset: Dataset, present: dict[str, int]) -> Iterator[Problem]:
    """Files that the manifest does not know; those in a folder together."""
    manifest = dataset.manifest
    known = {MANIFEST, *manifest.files, *(shard.name for shard in manifest.shards)}
    strange = sorted(present.keys() - known)
    folders = Counter(name.partition("/")[0] for name in strange if "/" in name)
    for name in strange:
        if "/" not in name:
            yield Problem(name, f"not listed in {MANIFEST}")
    for folder, count in folders.items():
        yield Problem(f"{folder}/", f"{count:,} files that are not listed in {MANIFEST}")


def _check_bytes(
    dataset: Dataset, name: str, sha256: str, seen: Callable[[int], None]
) -> list[Problem]:
    digest = hashlib.sha256()
    try:
        with storage.open_read(storage.join(dataset.place, name)) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                seen(len(chunk))
    except StorageError as error:
        return [Problem(name, f"cannot be read: {error}")]
    found = digest.hexdigest()
    return [] if found == sha256 else [changed(name, sha256, found)]


class _Counter:
    """Adds up what threads have read and passes it on now and then."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._lock = threading.Lock()
        self._told = 0
        self.done = 0

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self._progress is not None and (
                self.done - self._told >= _CHUNK or self.done == self._total
            ):
                self._told = self.done
                self._progress(self.done, self._total)
