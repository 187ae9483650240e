"""Whether a shard is the one that was published, and every record in it is sound."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from srgan import images, records, storage
from srgan.dataset_config import DatasetConfig
from srgan.datasets.accounts import Listed
from srgan.datasets.problems import Problem, changed
from srgan.errors import StorageError
from srgan.images import ImageRejectedError
from srgan.records import RECORDS, Dataset, PairRecord, ShardInfo

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = 1 << 20


def check_shard(
    dataset: Dataset,
    shard: ShardInfo,
    listed: Sequence[Listed] | None,
    seen: Callable[[int], None],
) -> list[Problem]:
    """Everything wrong with a shard, from one pass over its bytes.

    ``listed`` are its records as ``records.jsonl`` has them; ``None``: not known. ``seen`` is told
    how many bytes were read.
    """
    place = storage.join(dataset.place, shard.name)
    problems: list[Problem] = []
    count = 0
    try:
        with storage.open_read(place) as raw:
            stream = _HashingReader(raw, seen)
            for offset, payload in _payloads(stream, shard.bytes):
                expected = listed[count] if listed is not None and count < len(listed) else None
                count += 1
                for what in _faults(payload, expected, dataset.manifest.config):
                    title = f"record {count}" + (f" ({expected.source})" if expected else "")
                    problems.append(Problem(shard.name, f"{title} at byte {offset}: {what}"))
            stream.finish()
    except StorageError as error:
        return [*problems, Problem(shard.name, f"cannot be read: {error}")]
    if stream.sha256 != shard.sha256:
        problems.insert(0, changed(shard.name, shard.sha256, stream.sha256))
    if stream.bytes != shard.bytes:
        what = f"{stream.bytes:,} bytes, the manifest says {shard.bytes:,}"
        problems.append(Problem(shard.name, what))
    if count != shard.records:
        what = f"{count:,} records can be read, the manifest says {shard.records:,}"
        problems.append(Problem(shard.name, what))
    if listed is not None and len(listed) != shard.records:
        what = f"{RECORDS} lists {len(listed):,} records, the manifest says {shard.records:,}"
        problems.append(Problem(shard.name, what))
    return problems


def _payloads(stream: IO[bytes] | _HashingReader, size: int) -> Iterator[tuple[int, bytes | None]]:
    """(offset, payload) of every frame; ``None`` for a payload whose checksum is wrong.

    The frames after it are read all the same. They end where a length cannot be trusted.
    """
    position = 0
    while len(head := stream.read(12)) == 12:
        (length,) = struct.unpack("<Q", head[:8])
        if length > max(size - position - 16, 0):
            return
        payload = stream.read(length)
        framed = head + payload + stream.read(4)
        right = records.frame(payload)
        if framed == right:
            yield position, payload
        elif framed[:12] == right[:12] and len(framed) == len(right):
            yield position, None
        else:
            return
        position += len(framed)


def _faults(payload: bytes | None, listed: Listed | None, config: DatasetConfig) -> Iterator[str]:
    if payload is None:
        yield "its checksum is wrong"
        return
    try:
        record = records.decode_example(payload)
    except Exception:
        # Any bytes can stand in a frame with the right checksum.
        yield "no LR/HR pair"
        return
    if listed is not None:
        for what in ("key", "group", "source"):
            found, expected = getattr(record, what), getattr(listed, what)
            if found != expected:
                yield f"{what} is {found}, {RECORDS} says {expected}"
    yield from _pixel_faults(record, config)


def _pixel_faults(record: PairRecord, config: DatasetConfig) -> Iterator[str]:
    sizes: dict[str, tuple[int, int]] = {}
    for name, data in (("HR", record.hr), ("LR", record.lr)):
        try:
            height, width = images.decode(data, max_pixels=config.max_pixels).shape[:2]
        except ImageRejectedError as error:
            yield f"{name} cannot be decoded: {error}"
            continue
        sizes[name] = width, height
        if not data.startswith(_PNG):
            yield f"{name} is no PNG"
    if "HR" in sizes:
        width, height = sizes["HR"]
        if config.crop == "none":
            right = min(width, height) >= config.hr_size
            wanted = f"{config.hr_size} or more"
        else:
            right = (width, height) == (config.hr_size, config.hr_size)
            wanted = f"{config.hr_size}x{config.hr_size}"
        if not right:
            yield f"HR is {width}x{height}, hr_size asks for {wanted}"
    if len(sizes) == 2:
        (width, height), (low_width, low_height) = sizes["HR"], sizes["LR"]
        if (low_width * config.scale, low_height * config.scale) != (width, height):
            yield f"LR is {low_width}x{low_height}, HR {width}x{height}: not x{config.scale}"


class _HashingReader:
    """Reads a stream and knows the sha256 and number of all bytes that went by."""

    def __init__(self, stream: IO[bytes], seen: Callable[[int], None]) -> None:
        self._stream, self._seen = stream, seen
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self.bytes += len(data)
        self._seen(len(data))
        return data

    def finish(self) -> None:
        """Read what is left."""
        while self.read(_CHUNK):
            pass
