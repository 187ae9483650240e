"""The dataset on disk: TFRecord shards of LR/HR pairs and the manifest that publishes them.

Written and read without TensorFlow, so that Beam workers need not import it: a TFRecord frame
is length, masked CRC32C, payload, masked CRC32C; the payload is a ``tf.train.Example``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Literal

import google_crc32c
from pydantic import ValidationError

from srgan import storage
from srgan.config import Frozen, canonical_json, explain
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError

SCHEMA_VERSION: Literal[1] = 1
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
PREVIEW = "preview.jpg"
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class PairRecord:
    """One LR/HR pair. ``hr`` and ``lr`` are lossless encodings of uint8 RGB images."""

    key: str
    group: str
    source: str
    hr: bytes
    lr: bytes


class ShardInfo(Frozen):
    """A shard as the manifest lists it."""

    name: str
    split: Split
    records: int
    bytes: int
    sha256: str


class PixelStatistics(Frozen):
    """Mean and standard deviation of each HR channel over the training split, in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Manifest(Frozen):
    """``manifest.json``: what makes a dataset exist, and the sha256 of every byte of it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    build_id: str
    config: DatasetConfig
    image_set: str
    inputs: int
    used_sources: int
    rejected_sources: int
    rejected_crops: int
    records: dict[Split, int]
    groups: dict[Split, int]
    reject_reasons: dict[str, int]
    shards: list[ShardInfo]
    files: dict[str, str]
    statistics: PixelStatistics | None
    code_version: str

    def to_bytes(self) -> bytes:
        """The manifest's canonical bytes; their sha256 is the dataset's digest."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"


@dataclass(frozen=True)
class Dataset:
    """A published dataset: where it is, its manifest and its digest."""

    place: str
    manifest: Manifest
    digest: str

    def shards(self, split: Split) -> list[ShardInfo]:
        """Shards of a split that hold at least one record."""
        return [s for s in self.manifest.shards if s.split == split and s.records]


def open_dataset(place: str) -> Dataset:
    """The dataset at ``place``; :class:`DatasetError` when it has no (valid) manifest."""
    place = storage.absolute(place)
    manifest_place = storage.join(place, MANIFEST)
    if not storage.exists(manifest_place):
        raise DatasetError(
            f"{place}: no dataset here (no {MANIFEST}); build one with "
            "python -m beam_jobs.build_pairs, or run its interrupted build again"
        )
    data = storage.read_bytes(manifest_place)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DatasetError(f"{manifest_place}: damaged manifest: {explain(error)}") from None
    return Dataset(place, manifest, hashlib.sha256(data).hexdigest())


def verify_shard(dataset: Dataset, shard: ShardInfo) -> None:
    """Compare a shard's bytes with the manifest; :class:`DatasetError` names what differs."""
    place = storage.join(dataset.place, shard.name)
    if not storage.exists(place):
        raise DatasetError(f"{place}: missing, though {MANIFEST} lists it; build the dataset again")
    found = storage.sha256_of(place)
    if found != shard.sha256:
        raise DatasetError(
            f"{place}: changed since it was built (sha256 {found[:12]}…, {MANIFEST} says "
            f"{shard.sha256[:12]}…); delete {dataset.place} and build the dataset again"
        )


def shard_name(split: Split, index: int, count: int) -> str:
    """``train-00000-of-00016.tfrecord``."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_records(stream: IO[bytes], records: Iterable[PairRecord]) -> int:
    """Append records as TFRecord frames; returns how many."""
    count = 0
    for record in records:
        stream.write(frame(encode_example(record)))
        count += 1
    return count


def read_records(stream: IO[bytes], name: str = "shard") -> Iterator[PairRecord]:
    """Records of a shard in their order; :class:`DatasetError` where a checksum is wrong."""
    position = 0
    while head := stream.read(12):
        length, checksum = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
        if checksum != _masked_crc(head[:8]):
            raise DatasetError(f"{name}: damaged record at byte {position}")
        payload, tail = stream.read(length), stream.read(4)
        if len(tail) != 4 or struct.unpack("<I", tail)[0] != _masked_crc(payload):
            raise DatasetError(f"{name}: damaged record at byte {position}")
        position += 16 + length
        yield decode_example(payload)


def frame_spans(stream: IO[bytes]) -> Iterator[tuple[int, int]]:
    """(offset, length) of each payload in a shard whose sha256 was verified before."""
    position = 0
    while head := stream.read(12):
        (length,) = struct.unpack("<Q", head[:8])
        yield position + 12, length
        position += 16 + length
        stream.seek(position)


def frame(payload: bytes) -> bytes:
    """A payload as one TFRecord frame."""
    head = struct.pack("<Q", len(payload))
    return b"".join(
        (
            head,
            struct.pack("<I", _masked_crc(head)),
            payload,
            struct.pack("<I", _masked_crc(payload)),
        )
    )


def encode_example(record: PairRecord) -> bytes:
    """A record as the bytes of a ``tf.train.Example``, features sorted by name."""
    features: Mapping[str, bytes] = {
        "group": record.group.encode(),
        "hr/encoded": record.hr,
        "key": record.key.encode(),
        "lr/encoded": record.lr,
        "source": record.source.encode(),
    }
    entries = b""
    for name, value in features.items():
        # Example{features{feature{key, value{bytes_list{value}}}}}; all are field 1 but the
        # map entry's value, which is field 2.
        feature = _field(1, _field(1, value))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def decode_example(payload: bytes) -> PairRecord:
    """The inverse of :func:`encode_example`."""
    values: dict[str, bytes] = {}
    for entry in _fields(next(iter(_fields(payload)))[1]):
        name, feature = (value for _, value in _fields(entry[1]))
        bytes_list = next(iter(_fields(feature)))[1]
        values[name.decode()] = next(iter(_fields(bytes_list)))[1]
    return PairRecord(
        key=values["key"].decode(),
        group=values["group"].decode(),
        source=values["source"].decode(),
        hr=values["hr/encoded"],
        lr=values["lr/encoded"],
    )


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        number = data[position] >> 3
        length, position = _read_varint(data, position + 1)
        yield number, data[position : position + length]
        position += length


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _masked_crc(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
