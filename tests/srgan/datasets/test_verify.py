"""`srgan dataset verify`: nothing that is wrong with a dataset stays unseen, or hides the rest."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan import images, records
from srgan.datasets.verify import verify
from srgan.records import Dataset, PairRecord, Reject, open_dataset
from tests.gcs_server import photos_bucket, running_server
from tests.srgan.commands import run_srgan
from tests.srgan.pairs import make_training_dataset
from tests.support import ROOT

REJECTS = [
    Reject("bad/a.jpg", "corrupt", "ends early", "b" * 64),
    Reject("person-1/a.jpg", "blurred", "sharpness 0.1", "c" * 64, crop=1),
]
FIRST = "train-00000-of-00002.tfrecord"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_training_dataset(tmp_path / "people", rejects=REJECTS)


def problems(dataset: Dataset, **options: bool) -> list[str]:
    return [str(problem) for problem in verify(open_dataset(dataset.place), **options).problems]


def flip(path: Path, *positions: int) -> None:
    data = bytearray(path.read_bytes())
    for position in positions:
        data[position] ^= 1
    path.write_bytes(bytes(data))


def republish(dataset: Dataset, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest; the hashes in it become those of the files as they are."""
    folder = Path(dataset.place)
    tree = json.loads((folder / "manifest.json").read_bytes())
    for shard in tree["shards"]:
        data = (folder / shard["name"]).read_bytes()
        shard |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    for name in tree["files"]:
        tree["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit(tree)
    (folder / "manifest.json").write_text(json.dumps(tree))


def nothing(tree: dict[str, Any]) -> None:
    """Only the hashes are made anew."""


def rewrite(dataset: Dataset, change: Callable[[int, PairRecord], PairRecord]) -> None:
    """Change the records of the first shard, all checksums and hashes right."""
    path = Path(dataset.place, FIRST)
    with path.open("rb") as stream:
        pairs = list(records.read_records(stream))
    stream = io.BytesIO()
    records.write_records(stream, [change(number, pair) for number, pair in enumerate(pairs)])
    path.write_bytes(stream.getvalue())
    republish(dataset, nothing)


def edit_lines(dataset: Dataset, name: str, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    path = Path(dataset.place, name)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    republish(dataset, nothing)


def test_a_sound_dataset_has_no_problem(dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    found = verify(dataset, progress=lambda done, total: told.append((done, total)))
    assert found.problems == ()
    assert found.records == 18
    assert found.files == 9
    assert told[-1] == (found.bytes, found.bytes)
    assert verify(dataset, quick=True).problems == ()


def test_tensorflow_is_not_needed(dataset: Dataset) -> None:
    code = (
        "import sys\nfrom srgan.datasets.verify import verify\nfrom srgan.records import *\n"
        "assert not verify(open_dataset(sys.argv[1])).problems\n"
        "print([m for m in ('tensorflow', 'keras', 'apache_beam') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, dataset.place]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_all_damaged_records_of_a_shard_are_named(dataset: Dataset) -> None:
    path = Path(dataset.place, FIRST)
    with path.open("rb") as stream:
        spans = list(records.frame_spans(stream))
    flip(path, spans[1][0] + 200, spans[4][0] + 200)
    found = problems(dataset)
    expected = next(s.sha256 for s in dataset.manifest.shards if s.name == FIRST)
    assert found[0] == (
        f"{FIRST}: changed since it was built "
        f"(sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}…, "
        f"manifest.json says {expected[:12]}…)"
    )
    assert found[1:] == [
        f"{FIRST}: record 2 (person-2/a.jpg) at byte {spans[1][0] - 12}: its checksum is wrong",
        f"{FIRST}: record 5 (person-8/a.jpg) at byte {spans[4][0] - 12}: its checksum is wrong",
    ]
    assert problems(dataset, quick=True) == found[:1]


@pytest.mark.parametrize("damage", ["length", "cut", "longer", "empty"])
def test_what_follows_a_broken_length_counts_as_lost(dataset: Dataset, damage: str) -> None:
    path = Path(dataset.place, FIRST)
    data = path.read_bytes()
    if damage == "length":
        flip(path, 7)
    else:
        cut = {"cut": data[: len(data) // 2], "longer": data + b"more", "empty": b""}[damage]
        path.write_bytes(cut)
    found = problems(dataset)
    assert found[0].startswith(f"{FIRST}: changed since it was built")
    assert (damage == "length") == (
        f"bytes, the manifest says {len(data):,}" not in " ".join(found)
    )
    if damage != "longer":
        assert any("records can be read, the manifest says 6" in line for line in found)


def test_missing_changed_and_unlisted_files_are_all_named(dataset: Dataset) -> None:
    folder = Path(dataset.place)
    (folder / FIRST).unlink()
    (folder / "records.jsonl").unlink()
    flip(folder / "rejected.jsonl", 5)
    (folder / "notes.txt").write_text("mine")
    (folder / ".parts").mkdir()
    for number in range(3):
        (folder / ".parts" / f"{number}.json").write_text("{}")
    found = problems(dataset, quick=True)
    assert found[:4] == [
        f"{FIRST}: missing, though manifest.json lists it",
        "records.jsonl: missing, though manifest.json lists it",
        "notes.txt: not listed in manifest.json",
        ".parts/: 3 files that are not listed in manifest.json",
    ]
    assert found[4].startswith("rejected.jsonl: changed since it was built (sha256 ")
    assert len(found) == 5
    # Without the list the records are read all the same.
    slow = problems(dataset)
    assert set(found) <= set(slow)
    assert any(line.startswith("records.jsonl: cannot be read") for line in slow)
    flip(folder / "val-00000-of-00002.tfrecord", 400)
    assert any("record 1 at byte 0: its checksum is wrong" in line for line in problems(dataset))


def test_pixels_must_be_what_the_settings_say(dataset: Dataset) -> None:
    def png(side: int) -> bytes:
        return images.encode_png(np.zeros((side, side, 3), np.uint8))

    bad = [
        {"lr": png(15)},
        {"hr": b"no image"},
        {"hr": png(60), "lr": png(15)},
        {"lr": images.encode_jpeg(np.zeros((16, 16, 3), np.uint8))},
        {"hr": png(64)[:-30]},
    ]
    rewrite(dataset, lambda n, pair: dataclasses.replace(pair, **bad[n]) if n < len(bad) else pair)
    found = problems(dataset)
    assert len(found) == 5
    for line, number, words in zip(
        found,
        range(1, 6),
        (
            "LR is 15x15, HR 64x64: not x4",
            "HR cannot be decoded: not_an_image",
            "HR is 60x60, hr_size asks for 64x64",
            "LR is no PNG",
            "HR cannot be decoded: corrupt",
        ),
        strict=True,
    ):
        assert line.startswith(f"{FIRST}: record {number} (person-{2 * number - 2}/a.jpg) at byte ")
        assert words in line
    assert problems(dataset, quick=True) == []


def test_whole_images_may_be_larger_than_hr_size(tmp_path: Path) -> None:
    settings = {"crop": "none", "hr_size": 48}
    whole = make_training_dataset(tmp_path / "whole", settings=settings)
    assert problems(whole) == []
    too_large = make_training_dataset(tmp_path / "small", settings={"crop": "none", "hr_size": 80})
    assert len(problems(too_large)) == 18


def test_no_pair_in_a_sound_frame(dataset: Dataset) -> None:
    Path(dataset.place, FIRST).write_bytes(records.frame(b"\xff\xff\xff") * 6)
    republish(dataset, nothing)
    assert [line.partition(": ")[2].rpartition(": ")[2] for line in problems(dataset)] == [
        "no LR/HR pair"
    ] * 6


def test_records_must_be_those_that_are_listed(dataset: Dataset) -> None:
    def swapped(rows: list[dict[str, Any]]) -> None:
        rows[0], rows[1] = rows[1], rows[0]

    edit_lines(dataset, "records.jsonl", swapped)
    found = problems(dataset)
    assert len(found) == 6  # key, group and source of two records
    assert all("records.jsonl says" in line for line in found)


def a_key_twice(rows: list[dict[str, Any]]) -> None:
    rows[3]["key"] = rows[2]["key"]


def a_group_in_two_splits(rows: list[dict[str, Any]]) -> None:
    rows[-1]["group"] = rows[0]["group"]


def another_split(rows: list[dict[str, Any]]) -> None:
    rows[0]["split"] = "test"


def an_unknown_shard(rows: list[dict[str, Any]]) -> None:
    rows[0]["shard"] = rows[1]["shard"] = "train-00009-of-00009.tfrecord"


def another_order(rows: list[dict[str, Any]]) -> None:
    rows.insert(0, rows.pop())


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (a_key_twice, "is listed twice"),
        (a_group_in_two_splits, "group person-0 is in train and in test (person-16/a.jpg)"),
        (another_split, "of test is in train-00000-of-00002.tfrecord"),
        (an_unknown_shard, "2 records in train-00009-of-00009.tfrecord, which manifest.json"),
        (another_order, "is not in the order of the shards"),
    ],
)
def test_the_list_of_records_must_be_sound(
    dataset: Dataset, edit: Callable[[list[dict[str, Any]]], None], words: str
) -> None:
    edit_lines(dataset, "records.jsonl", edit)
    assert any(line.startswith("records.jsonl: ") and words in line for line in problems(dataset))


def test_a_line_that_is_none_is_a_problem_of_its_own(dataset: Dataset) -> None:
    path = Path(dataset.place, "records.jsonl")
    path.write_text(path.read_text() + "{}\n")
    republish(dataset, nothing)
    (line,) = problems(dataset)
    assert line.startswith("records.jsonl: cannot be read")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": 99}, "99 inputs are not 18 used and 1 rejected"),
        ({"inputs": 20, "used_sources": 19}, "19 used sources, records.jsonl has 18"),
        ({"rejected_crops": 5}, "5 rejected crops, rejected.jsonl has 1"),
        ({"reject_reasons": {"flat": 1}}, "sources rejected (flat): 0, manifest.json says 1"),
        ({"reject_crop_reasons": {}}, "crops rejected (blurred): 1, manifest.json says 0"),
        (
            {"records": {"train": 13, "val": 3, "test": 2}},
            "records (test): 3, manifest.json says 2",
        ),
        ({"groups": {"train": 1, "val": 3, "test": 3}}, "groups (train): 12, manifest.json says 1"),
    ],
)
def test_the_accounts_must_balance(dataset: Dataset, change: dict[str, Any], words: str) -> None:
    republish(dataset, lambda tree: tree.update(change))
    assert any(words in line for line in problems(dataset))


def test_nobody_is_used_and_rejected(dataset: Dataset) -> None:
    def used_and_twice(rows: list[dict[str, Any]]) -> None:
        rows[0]["source"] = "person-3/a.jpg"
        rows.append(rows[0])

    edit_lines(dataset, "rejected.jsonl", used_and_twice)
    found = problems(dataset)
    assert "rejected.jsonl: person-3/a.jpg is rejected 2 times" in found
    assert "rejected.jsonl: person-3/a.jpg is rejected, though a record is made of it" in found


def test_a_file_that_cannot_be_read_is_a_problem(dataset: Dataset) -> None:
    Path(dataset.place, FIRST).unlink()
    Path(dataset.place, FIRST).symlink_to("/proc/self/mem")  # Opens, and fails when it is read.
    assert any(line.startswith(f"{FIRST}: ") for line in problems(dataset))
    assert any(line.startswith(f"{FIRST}: ") for line in problems(dataset, quick=True))


def test_the_command_lists_the_problems_and_fails(dataset: Dataset) -> None:
    done = run_srgan("dataset", "verify", dataset.place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{dataset.place}: whole (9 files, {done.stdout.split('files, ')[1]}"
    assert "18 records read" in done.stdout
    folder = Path(dataset.place)
    flip(folder / FIRST, -1)
    flip(folder / "rejected.jsonl", 5)
    done = run_srgan("dataset", "verify", "--quick", dataset.place)
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [
        "rejected.jsonl",
        FIRST,
    ]
    assert done.stderr.startswith(f"error: {dataset.place}: 2 problems")
    assert len(done.stderr.splitlines()) == 1
    tree = json.loads(run_srgan("dataset", "verify", "--json", dataset.place).stdout)
    (changed,) = (p for p in tree["problems"] if p["name"] == FIRST and p["found"])
    assert changed["found"] == hashlib.sha256((folder / FIRST).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.mark.server
@pytest.mark.slow
def test_in_a_bucket(dataset: Dataset, server: str) -> None:
    bucket = photos_bucket(server)
    for path in Path(dataset.place).iterdir():
        bucket.blob(f"sets/{path.name}").upload_from_string(path.read_bytes())
    shown = run_srgan("dataset", "show", "gs://photos/sets", STORAGE_EMULATOR_HOST=server)
    assert "18 pairs" in shown.stdout, shown.stderr
    command = ("dataset", "verify", "gs://photos/sets")
    assert run_srgan(*command, STORAGE_EMULATOR_HOST=server).returncode == 0
    bucket.blob(f"sets/{FIRST}").delete()
    done = run_srgan(*command, STORAGE_EMULATOR_HOST=server)
    assert done.returncode == 2
    assert f"{FIRST}: missing, though manifest.json lists it" in done.stdout
