from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError
from srgan.records import (
    Manifest,
    PairRecord,
    ShardInfo,
    decode_example,
    encode_example,
    frame,
    frame_spans,
    open_dataset,
    read_records,
    shard_name,
    verify_shard,
    write_records,
)

RECORD = PairRecord("k" * 64, "Ünal", "Ünal/写真.png", b"\x89PNG" * 100, b"lr")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
pairs = st.builds(PairRecord, texts, texts, texts, st.binary(max_size=40_000), st.binary())


@given(pairs)
def test_examples_come_back(record: PairRecord) -> None:
    assert decode_example(encode_example(record)) == record


@given(st.lists(pairs, max_size=5))
def test_shards_come_back(records: list[PairRecord]) -> None:
    stream = io.BytesIO()
    assert write_records(stream, records) == len(records)
    stream.seek(0)
    assert list(read_records(stream)) == records
    data = stream.getvalue()
    stream.seek(0)
    spans = list(frame_spans(stream))
    assert [decode_example(data[start : start + size]) for start, size in spans] == records


def test_frame_is_the_published_format() -> None:
    # From the TFRecord format's description: masked CRC32C over length and over payload.
    assert frame(b"").hex() == "000000000000000029039807d8ea82a2"
    assert frame(b"hello")[:8].hex() == "0500000000000000"


@pytest.mark.parametrize("position", [0, 9, 20, -1])
def test_a_flipped_bit_is_noticed(position: int) -> None:
    data = bytearray(frame(encode_example(RECORD)))
    data[position] ^= 1
    with pytest.raises(DatasetError, match="x: damaged record at byte 0"):
        list(read_records(io.BytesIO(bytes(data)), "x"))


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 200])
def test_a_shard_that_ends_early_is_noticed(cut: int) -> None:
    data = frame(encode_example(RECORD)) * 2
    with pytest.raises(DatasetError, match="damaged record at byte"):
        list(read_records(io.BytesIO(data[:-cut])))


def test_shard_names() -> None:
    assert shard_name("train", 3, 16) == "train-00003-of-00016.tfrecord"


def manifest(**changes: object) -> Manifest:
    shard = ShardInfo(name="a.tfrecord", split="train", records=1, bytes=3, sha256="0" * 64)
    empty = ShardInfo(name="b.tfrecord", split="train", records=0, bytes=0, sha256="0" * 64)
    values: dict[str, object] = {
        "build_id": "0" * 12,
        "config": DatasetConfig(),
        "image_set": "sha256:0",
        "inputs": 1,
        "used_sources": 1,
        "rejected_sources": 0,
        "rejected_crops": 0,
        "records": {"train": 1, "val": 0, "test": 0},
        "groups": {"train": 1, "val": 0, "test": 0},
        "reject_reasons": {},
        "shards": [shard, empty],
        "files": {},
        "statistics": None,
        "code_version": "0",
    }
    return Manifest.model_validate(values | changes)


def test_manifest_round_trip_and_digest(tmp_path: Path) -> None:
    data = manifest().to_bytes()
    (tmp_path / "manifest.json").write_bytes(data)
    dataset = open_dataset(str(tmp_path))
    assert dataset.manifest == manifest()
    assert dataset.digest == hashlib.sha256(data).hexdigest()
    assert [shard.name for shard in dataset.shards("train")] == ["a.tfrecord"]
    assert dataset.shards("val") == []


def test_no_manifest_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("change", ["cut", "version", "unknown"])
def test_damaged_manifest(tmp_path: Path, change: str) -> None:
    tree = json.loads(manifest().to_bytes())
    text = json.dumps(tree)
    if change == "cut":
        text = text[:-9]
    elif change == "version":
        text = json.dumps({**tree, "schema_version": 2})
    else:
        text = json.dumps({**tree, "surprise": 1})
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=r"manifest\.json: damaged manifest: ") as caught:
        open_dataset(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_verify_shard(tmp_path: Path) -> None:
    good = ShardInfo(
        name="a.tfrecord",
        split="train",
        records=1,
        bytes=3,
        sha256=hashlib.sha256(b"abc").hexdigest(),
    )
    (tmp_path / "manifest.json").write_bytes(manifest(shards=[good]).to_bytes())
    dataset = open_dataset(str(tmp_path))
    with pytest.raises(DatasetError, match="missing, though"):
        verify_shard(dataset, good)
    (tmp_path / "a.tfrecord").write_bytes(b"abc")
    verify_shard(dataset, good)
    (tmp_path / "a.tfrecord").write_bytes(b"abd")
    with pytest.raises(DatasetError, match="changed since it was built"):
        verify_shard(dataset, good)
