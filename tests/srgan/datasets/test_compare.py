"""`srgan dataset diff DATASET DATASET`: why two datasets differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srgan.dataset_config import DatasetConfig
from srgan.datasets.compare import Move, compare
from srgan.records import Dataset, Split
from tests.srgan.commands import run_srgan
from tests.srgan.pairs import publish, scene


def made(folder: Path, splits: dict[Split, list[int]], **settings: object) -> Dataset:
    pictures = {
        split: [(f"person-{seed}/a.jpg", scene(seed, 64)) for seed in seeds]
        for split, seeds in splits.items()
    }
    return publish(folder, pictures, scale=4, shards=1, settings=settings)


@pytest.fixture
def here(tmp_path: Path) -> Dataset:
    return made(tmp_path / "here", {"train": [0, 1, 2, 3], "val": [4], "test": [5, 6]})


def test_a_dataset_is_equal_to_itself(here: Dataset) -> None:
    found = compare(here, here)
    assert found.same_image_set
    assert found.common == 7
    assert not found.altered
    assert not any(
        (found.settings, found.only_here, found.only_there, found.moved, found.moved_groups)
    )


def test_settings_records_and_splits(here: Dataset, tmp_path: Path) -> None:
    there = made(
        tmp_path / "there",
        {"train": [0, 1, 5], "val": [4], "test": [2, 7]},
        max_aspect=3,
    )
    found = compare(here, there)
    assert [(s.name, s.value, s.other) for s in found.settings] == [
        ("max_aspect", DatasetConfig().max_aspect, 3)
    ]
    assert found.common == 5
    assert sorted(found.only_here.values()) == ["person-3/a.jpg", "person-6/a.jpg"]
    assert list(found.only_there.values()) == ["person-7/a.jpg"]
    assert found.moved == (
        Move("person-5/a.jpg", "test", "train"),
        Move("person-2/a.jpg", "train", "test"),
    )
    assert [move.name for move in found.moved_groups] == ["person-5", "person-2"]


def test_a_person_in_two_splits_by_other_photos(here: Dataset, tmp_path: Path) -> None:
    pictures = [("person-0/b.jpg", scene(99, 64))]
    there = publish(tmp_path / "there", {"test": pictures}, scale=4, shards=1)
    found = compare(here, there)
    assert not found.moved
    assert found.moved_groups == (Move("person-0", "train", "test"),)


def test_the_command(here: Dataset, tmp_path: Path) -> None:
    there = made(tmp_path / "there", {"train": [5]}, tile_stride=32, crop="tiles")
    done = run_srgan("dataset", "diff", here.place, there.place)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "  crop         center  (there tiles)" in lines
    assert "  tile_stride  null  (there 32)" in lines
    assert "6 records only here" in lines
    start = lines.index("1 photo in another split: one dataset holds out what the other trains on")
    assert lines[start + 1 : start + 3] == [
        "  1 in test here, in train there",
        "    person-5/a.jpg",
    ]
    tree = json.loads(run_srgan("dataset", "diff", here.place, there.place, "--json").stdout)
    assert tree["moved"] == [{"name": "person-5/a.jpg", "here": "test", "there": "train"}]
    done = run_srgan("dataset", "diff", here.place, there.place, here.place)
    assert done.returncode == 2
    assert "compare with it alone" in done.stderr


def test_a_damaged_dataset_is_no_image_set(here: Dataset, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text('{"build_id": "x", "schema_version": 1}')
    done = run_srgan("dataset", "diff", here.place, str(tmp_path / "old"))
    assert done.returncode == 2
    assert "made by another version" in done.stderr
