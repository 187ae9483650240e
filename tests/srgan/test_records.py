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
    RecordInfo,
    Reject,
    ShardInfo,
    decode_example,
    encode_example,
    frame,
    frame_spans,
    open_dataset,
    read_record_infos,
    read_records,
    read_rejects,
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
        "excluded": [],
        "inputs": 1,
        "used_sources": 1,
        "rejected_sources": 0,
        "rejected_crops": 0,
        "records": {"train": 1, "val": 0, "test": 0},
        "groups": {"train": 1, "val": 0, "test": 0},
        "reject_reasons": {},
        "reject_crop_reasons": {},
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


@pytest.mark.parametrize("change", ["cut", "unknown"])
def test_damaged_manifest(tmp_path: Path, change: str) -> None:
    tree = json.loads(manifest().to_bytes())
    text = json.dumps(tree)
    text = text[:-9] if change == "cut" else json.dumps({**tree, "surprise": 1})
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=r"manifest\.json: damaged manifest: ") as caught:
        open_dataset(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_dataset_of_another_version_says_so(tmp_path: Path) -> None:
    tree = {**json.loads(manifest().to_bytes()), "schema_version": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(tree))
    with pytest.raises(DatasetError, match=r"schema 1, this one reads 2\); build"):
        open_dataset(str(tmp_path))


def test_lines_of_records_and_rejects(tmp_path: Path) -> None:
    info = RecordInfo(
        "0" * 64 + "-003", "Ünal/1.jpg", "Ünal", "val", "v", 640, 480, 130.5, 0.6, 41.0, "f" * 64
    )
    rejects = [Reject("a.txt", "not_an_image", "text", "1" * 64), Reject("b", "flat", "-", "2", 4)]
    (tmp_path / "manifest.json").write_bytes(manifest().to_bytes())
    (tmp_path / "records.jsonl").write_bytes(info.to_line())
    (tmp_path / "rejected.jsonl").write_bytes(b"".join(r.to_line() for r in rejects))
    dataset = open_dataset(str(tmp_path))
    assert list(read_record_infos(dataset)) == [info]
    assert list(read_rejects(dataset)) == rejects
    assert info.sha256 == "0" * 64
    assert "crop" not in json.loads(rejects[0].to_line())
    (tmp_path / "rejected.jsonl").write_bytes(rejects[0].to_line() + b"{")
    with pytest.raises(DatasetError, match=r"rejected\.jsonl: line 2 is damaged"):
        list(read_rejects(dataset))


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
