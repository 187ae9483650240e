"""`srgan dataset diff DATASET IMAGE_SET`: what a new build would add."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan import records
from srgan.dataset_config import DatasetConfig
from srgan.datasets.sources import FileChange, SourceDiff, compare_sources, diff_sources
from srgan.datasets.text import source_diff_lines
from srgan.records import Dataset, Manifest, RecordInfo, Reject, open_dataset
from tests.srgan.commands import run_srgan


def changes(known: dict[str, str], found: dict[str, str], **options: str) -> set[FileChange]:
    return set(compare_sources({n: (s, s != "r") for n, s in known.items()}, found, **options))


def test_files_are_told_apart_by_their_bytes() -> None:
    known = {"a": "1", "b": "2", "c": "3", "d": "4", "e": "r"}
    found = {"a": "1", "B": "2", "c": "9", "f": "1", "g": "8", "h": "8"}
    assert changes(known, found) == {
        FileChange("a", "unchanged", used=True),
        FileChange("B", "renamed", "b", used=True),
        FileChange("c", "changed", used=True),
        FileChange("d", "gone", used=True),
        FileChange("e", "gone"),
        FileChange("f", "copy", "a"),
        FileChange("g", "new"),
        FileChange("h", "copy", "g"),
    }


def test_lr_files_are_not_known_and_not_new() -> None:
    known = {"HR/1.png": "1"}
    found = {"HR/1.png": "1", "HR/2.png": "2", "LR/1.png": "x", "LR/2.png": "y", "FLR/3.png": "z"}
    assert changes(known, found, lr_word="LR") == {
        FileChange("HR/1.png", "unchanged", used=True),
        FileChange("HR/2.png", "new"),
        FileChange("LR/1.png", "unknown"),
        FileChange("LR/2.png", "unknown"),
        FileChange("FLR/3.png", "new"),
    }


sides = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("12345"))


@given(sides, sides)
def test_every_file_is_said_once(known: dict[str, str], found: dict[str, str]) -> None:
    said = list(compare_sources({name: (s, True) for name, s in known.items()}, found))
    assert sorted(f.name for f in said if f.kind != "gone") == sorted(found)
    gone = [f.name for f in said if f.kind == "gone"]
    renamed = [f.was for f in said if f.kind == "renamed"]
    assert len({*gone, *renamed}) == len(gone) + len(renamed)
    assert set(gone) == known.keys() - found.keys() - set(renamed)
    # What a build would read for the first time: as many as there are bytes that nobody knows.
    fresh = [f for f in said if f.kind in ("new", "changed")]
    assert len(fresh) == len(set(found.values()) - set(known.values()))


@given(sides)
def test_nothing_differs_from_itself(files: dict[str, str]) -> None:
    assert {change.kind for change in changes(files, files)} <= {"unchanged"}


def photo(name: str) -> bytes:
    return f"photo {name}".encode() * 20


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("Ada/1.jpg", "Ada/2.jpg", "Ünal/1.jpg", "bad.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo(name))
    return folder


@pytest.fixture
def dataset(tmp_path: Path, photos: Path) -> Dataset:
    """Records of all photos but ``bad.jpg``, which was rejected; shards do not matter here."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    names = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.jpg"))
    sha256 = {name: hashlib.sha256(photo(name)).hexdigest() for name in names}
    infos = [
        RecordInfo(sha256[n], n, "g", "train", "s", 64, 64, 64.0, 1.0, 1.0, "0" * 64)
        for n in names
        if n != "bad.jpg"
    ]
    reject = Reject("bad.jpg", "corrupt", "ends early", sha256["bad.jpg"])
    crop = Reject("Ada/1.jpg", "blurred", "x", sha256["Ada/1.jpg"], crop=3)
    lists = {
        records.RECORDS: b"".join(info.to_line() for info in infos),
        records.REJECTED: reject.to_line() + crop.to_line(),
    }
    for name, data in lists.items():
        (folder / name).write_bytes(data)
    manifest = Manifest(
        build_id="0" * 12,
        config=DatasetConfig(),
        image_set="sha256:0",
        excluded=[],
        inputs=4,
        used_sources=3,
        rejected_sources=1,
        rejected_crops=1,
        records={"train": 3, "val": 0, "test": 0},
        groups={"train": 1, "val": 0, "test": 0},
        reject_reasons={"corrupt": 1},
        reject_crop_reasons={"blurred": 1},
        shards=[],
        files={n: hashlib.sha256(d).hexdigest() for n, d in lists.items()},
        statistics=None,
        code_version="test",
    )
    (folder / records.MANIFEST).write_bytes(manifest.to_bytes())
    return open_dataset(str(folder))


def test_an_image_set_against_its_dataset(dataset: Dataset, photos: Path) -> None:
    told: list[tuple[int, int]] = []
    diff = diff_sources(dataset, [str(photos)], lambda *counts: told.append(counts))
    assert {file.kind for file in diff.files} == {"unchanged"}
    assert told[-1] == (4, 4)
    assert "nothing to build" in "".join(line.plain for line in source_diff_lines(diff))


def test_an_archive_of_the_same_files_is_the_same(dataset: Dataset, photos: Path) -> None:
    archive = photos.parent / "photos.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(photos.rglob("*.jpg")):
            packed.write(path, path.relative_to(photos).as_posix())
    diff = diff_sources(dataset, [str(archive)])
    assert {file.kind for file in diff.files} == {"unchanged"}


def test_the_command(dataset: Dataset, photos: Path) -> None:
    shutil.move(photos / "Ada" / "1.jpg", photos / "Ada" / "eins.jpg")
    (photos / "Ünal" / "1.jpg").unlink()
    (photos / "neu.jpg").write_bytes(b"new")
    done = run_srgan("dataset", "diff", dataset.place, str(photos))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{photos} against {dataset.place}",
        "  2 files unchanged",
        "",
        "new: 1 file, bytes that the dataset does not know",
        "  neu.jpg",
        "",
        "renamed: 1 file, the same bytes under another name",
        "  Ada/1.jpg -> Ada/eins.jpg",
        "",
        "gone: 1 file, in the dataset, no longer in the image set (1 of them with records)",
        "  Ünal/1.jpg",
    ]
    done = run_srgan("dataset", "diff", dataset.place, str(photos), "--json")
    kinds = {file["name"]: file["kind"] for file in json.loads(done.stdout)["files"]}
    assert kinds["neu.jpg"] == "new"
    assert kinds["Ada/2.jpg"] == "unchanged"
    done = run_srgan("dataset", "diff", dataset.place, str(photos / "nowhere"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_many_files_are_counted_by_folder() -> None:
    files = tuple(FileChange(f"{n % 30}/{n}.jpg", "new") for n in range(100))
    diff = SourceDiff("dataset", ("photos",), files)
    lines = [line.plain for line in source_diff_lines(diff)]
    assert lines[4:6] == ["   4  0/", "   4  1/"]
    assert lines[-1] == "  30  in 10 more folders; --all lists every file"
    listed = [line.plain for line in source_diff_lines(diff, every=True)]
    assert len(listed) == len(lines) - 21 + 100
