"""The dataset on disk: TFRecord shards of LR/HR pairs and the manifest that publishes them.

Written and read without TensorFlow, so that Beam workers need not import it: a TFRecord frame
is length, masked CRC32C, payload, masked CRC32C; the payload is a ``tf.train.Example``.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

import google_crc32c
from pydantic import ValidationError

from srgan import storage
from srgan.config import canonical_json, explain
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError
from srgan.frozen import Frozen

SCHEMA_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
REJECTED = "rejected.jsonl"
PREVIEW = "preview.jpg"
REJECT_SHEET = "rejected.jpg"
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


@dataclass(frozen=True, slots=True)
class RecordInfo:
    """A line of ``records.jsonl``: what is known of a record without its pixels.

    ``width`` and ``height`` are those of the source image, ``side`` is that of the crop in source
    pixels (the shorter one of a whole image). ``sharpness``, ``contrast`` and ``hash`` (64 hex
    digits) are those of :mod:`srgan.quality`, of HR. The source's sha256 is the key's beginning.
    """

    key: str
    source: str
    group: str
    split: Split
    shard: str
    width: int
    height: int
    side: float
    sharpness: float
    contrast: float
    hash: str

    @property
    def sha256(self) -> str:
        """sha256 of the source file."""
        return self.key[:64]

    def to_line(self) -> bytes:
        """One line of canonical JSON."""
        return canonical_json({name: getattr(self, name) for name in self.__slots__}) + b"\n"


@dataclass(frozen=True, slots=True)
class Reject:
    """A line of ``rejected.jsonl``: a source without a record, or one crop of an accepted source.

    ``reason`` is a fixed word, ``detail`` says more. ``crop`` is the number of the crop; ``None``
    for a whole source.
    """

    source: str
    reason: str
    detail: str
    sha256: str
    crop: int | None = None

    def to_line(self) -> bytes:
        """One line of canonical JSON; ``crop`` only where there is one."""
        tree = {name: getattr(self, name) for name in self.__slots__}
        if self.crop is None:
            del tree["crop"]
        return canonical_json(tree) + b"\n"


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
    """``manifest.json``: what makes a dataset exist, and the sha256 of every byte of it.

    ``inputs == used_sources + rejected_sources``. ``excluded``: digests of the datasets whose
    photos were left out. ``files``: sha256 of what lies beside the shards.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    build_id: str
    config: DatasetConfig
    image_set: str
    excluded: list[str]
    inputs: int
    used_sources: int
    rejected_sources: int
    rejected_crops: int
    records: dict[Split, int]
    groups: dict[Split, int]
    reject_reasons: dict[str, int]
    reject_crop_reasons: dict[str, int]
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
    _check_version(manifest_place, data)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DatasetError(f"{manifest_place}: damaged manifest: {explain(error)}") from None
    return Dataset(place, manifest, hashlib.sha256(data).hexdigest())


def _check_version(place: str, data: bytes) -> None:
    try:
        version = json.loads(data)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{place}: made by another version (schema {version}, this one reads "
            f"{SCHEMA_VERSION}); build the dataset again"
        )


def read_record_infos(dataset: Dataset) -> Iterator[RecordInfo]:
    """The lines of ``records.jsonl``, in the order of the shards."""
    for tree in _lines(dataset, RECORDS):
        yield RecordInfo(**tree)


def read_rejects(dataset: Dataset) -> Iterator[Reject]:
    """The lines of ``rejected.jsonl``, sorted by source."""
    for tree in _lines(dataset, REJECTED):
        yield Reject(**tree)


def _lines(dataset: Dataset, name: str) -> Iterator[dict[str, Any]]:
    place = storage.join(dataset.place, name)
    with storage.open_read(place) as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise DatasetError(f"{place}: line {number} is damaged; build it again") from None


def verify_shard(dataset: Dataset, shard: ShardInfo) -> None:
    """Compare a shard's bytes with the manifest; :class:`DatasetError` names what differs."""
    verify_file(dataset, shard.name, shard.sha256)


def verify_file(dataset: Dataset, name: str, sha256: str) -> None:
    """Compare a file's bytes with the manifest; :class:`DatasetError` names what differs."""
    place = storage.join(dataset.place, name)
    if not storage.exists(place):
        raise DatasetError(f"{place}: missing, though {MANIFEST} lists it; build the dataset again")
    found = storage.sha256_of(place)
    if found != sha256:
        raise DatasetError(
            f"{place}: changed since it was built (sha256 {found[:12]}…, {MANIFEST} says "
            f"{sha256[:12]}…); delete {dataset.place} and build the dataset again"
        )


def shard_name(split: Split, index: int, count: int) -> str:
    """``train-00000-of-00016.tfrecord``."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def is_shard_name(name: str) -> bool:
    """Whether :func:`shard_name` gives such a name."""
    return re.fullmatch(rf"({'|'.join(SPLITS)})-\d{{5,}}-of-\d{{5,}}\.tfrecord", name) is not None


def write_records(stream: IO[bytes], records: Iterable[PairRecord]) -> int:
    """Append records as TFRecord frames; returns how many."""
    count = 0
    for record in records:
        stream.write(frame(encode_example(record)))
        count += 1
    return count


def read_records(stream: IO[bytes], name: str = "shard") -> Iterator[PairRecord]:
    """Records of a shard in their order; :class:`DatasetError` where a checksum is wrong."""
    for framed in read_frames(stream, name):
        yield decode_example(framed[12:-4])


def read_frames(stream: IO[bytes], name: str, length: int | None = None) -> Iterator[bytes]:
    """Whole frames, as many as fill ``length`` bytes (``None``: all), from where ``stream`` is.

    Raises :class:`DatasetError` where a checksum is wrong or the stream ends early.
    """
    position = 0
    while position != length:
        head = stream.read(12)
        if not head and length is None:
            return
        size, checksum = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
        if checksum != _masked_crc(head[:8]):
            raise DatasetError(f"{name}: damaged record at byte {position}")
        payload, tail = stream.read(size), stream.read(4)
        if len(tail) != 4 or struct.unpack("<I", tail)[0] != _masked_crc(payload):
            raise DatasetError(f"{name}: damaged record at byte {position}")
        position += 16 + size
        yield head + payload + tail


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
