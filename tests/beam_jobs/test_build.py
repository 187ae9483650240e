from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, features

from beam_jobs import compose
from beam_jobs.build_pairs import BuildProgress, build
from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
from srgan.errors import StorageError
from srgan.records import PairRecord, Split, open_dataset, read_records, verify_shard
from tests.beam_jobs.image_sets import SMALL, encoded, hashes, picture, rejects, write_set
from tests.support import shared_data


def read_split(dataset: str, split: Split) -> list[PairRecord]:
    found = []
    for shard in open_dataset(dataset).shards(split):
        with Path(dataset, shard.name).open("rb") as stream:
            found += list(read_records(stream))
    return found


def test_the_dataset_and_its_manifest_agree(people: Path, tmp_path: Path) -> None:
    (people / "notes.txt").write_text("not a photo")
    seen: list[BuildProgress] = []
    result = build(str(people), str(tmp_path / "out"), SMALL, progress=seen.append)
    dataset, manifest = result.dataset, result.dataset.manifest
    assert not result.already_built
    assert dataset.place == str(tmp_path / "out" / f"small-{manifest.build_id}")
    assert dataset.digest == hashes(dataset.place)["manifest.json"]
    listed = {shard.name for shard in manifest.shards} | manifest.files.keys() | {"manifest.json"}
    assert hashes(tmp_path / "out").keys() == {f"small-{manifest.build_id}/{n}" for n in listed}
    for shard in manifest.shards:
        verify_shard(dataset, shard)
    for name, digest in manifest.files.items():
        assert hashes(dataset.place)[name] == digest
    records = [record for split in manifest.records for record in read_split(dataset.place, split)]
    assert (manifest.inputs, manifest.used_sources, manifest.rejected_sources) == (25, 24, 1)
    assert sorted(r.source for r in records) == sorted(
        p.relative_to(people).as_posix() for p in people.rglob("*.png")
    )
    for record in records:
        source = people / record.source
        assert record.key == hashlib.sha256(source.read_bytes()).hexdigest()
        assert record.group == source.parent.name
        hr = images.decode(record.hr, max_pixels=10**6)
        lr = images.decode(record.lr, max_pixels=10**6)
        crop = np.asarray(Image.open(source))[4:52, 8:56]
        np.testing.assert_array_equal(hr, images.resize(crop, 32, 32))
        np.testing.assert_array_equal(lr, degrade(hr, SMALL, record.key))
    assert [progress.stage for progress in seen][-1] == "publish"
    assert seen[-1] == BuildProgress("publish", 25, 25, 1)
    assert BuildProgress("pairs", 25, 25, 1) in seen


def test_statistics_are_those_of_the_training_pixels(people: Path, tmp_path: Path) -> None:
    dataset = build(str(people), str(tmp_path / "out"), SMALL).dataset
    pixels = np.concatenate(
        [
            images.decode(record.hr, max_pixels=10**6).reshape(-1, 3) / 255
            for record in read_split(dataset.place, "train")
        ]
    )
    assert dataset.manifest.statistics is not None
    np.testing.assert_allclose(dataset.manifest.statistics.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(dataset.manifest.statistics.std, pixels.std(axis=0), rtol=1e-9)


def test_where_the_image_set_lies_does_not_matter(people: Path, tmp_path: Path) -> None:
    first = build(str(people), str(tmp_path / "one"), SMALL).dataset
    elsewhere = shutil.copytree(people, tmp_path / "another name")
    second = build(f"file://{elsewhere}", str(tmp_path / "two"), SMALL).dataset
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert first.digest == second.digest


def test_a_glob_builds_what_the_folder_builds(people: Path, tmp_path: Path) -> None:
    first = build(str(people), str(tmp_path / "one"), SMALL).dataset
    second = build(f"{people}/*/*.png", str(tmp_path / "two"), SMALL).dataset
    assert first.digest == second.digest


@pytest.mark.parametrize("change", ["rename", "pixels", "config", "more"])
def test_another_input_is_another_dataset(people: Path, tmp_path: Path, change: str) -> None:
    root, config = str(tmp_path / "out"), SMALL
    before = build(str(people), root, config).dataset
    kept = hashes(before.place)
    photo = people / "person-01" / "photo-1.png"
    if change == "rename":
        photo.rename(people / "person-01" / "renamed.png")
    elif change == "pixels":
        photo.write_bytes(encoded(picture(77)))
    elif change == "config":
        config = SMALL.model_copy(update={"split_salt": "other"})
    else:
        write_set(people, people=1, first_seed=50)
    after = build(str(people), root, config)
    assert not after.already_built
    assert after.dataset.manifest.build_id != before.manifest.build_id
    assert hashes(before.place) == kept


def test_built_again_does_nothing(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    first = build(str(people), str(root), SMALL)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    stages: list[str] = []
    second = build(str(people), str(root), SMALL, progress=lambda p: stages.append(p.stage))
    assert second.already_built
    assert not second.by_another
    assert second.dataset == first.dataset
    assert set(stages) == {"inventory"}
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times


def test_every_reason_to_reject(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / "empty.jpg").write_bytes(b"")
    (root / "notes.jpg").write_text("no picture at all")
    (root / "broken-link.png").symlink_to("nowhere.png")
    (root / "corrupt.png").write_bytes(encoded(picture(900))[:3000])
    (root / "corrupt.jpg").write_bytes(encoded(picture(901), "JPEG")[:-400])
    (root / "heavy.png").write_bytes(encoded(picture(902)) + b"\0" * 20_000)
    (root / "vast.png").write_bytes(encoded(np.zeros((300, 300, 3), np.uint8)))
    (root / "small.png").write_bytes(encoded(picture(903, 47, 90)))
    copied = (root / "person-01" / "photo-2.png").read_bytes()
    (root / "person-03" / "copy.png").write_bytes(copied)
    (root / "a-copy-that-sorts-first.png").write_bytes(
        (root / "person-00/photo-0.png").read_bytes()
    )
    (root / "smaller.png").write_bytes((root / "small.png").read_bytes())
    config = SMALL.model_copy(update={"max_bytes": 20_000, "max_pixels": 80_000})
    manifest = build(str(root), str(tmp_path / "out"), config).dataset.manifest
    lines = rejects(str(tmp_path / "out" / f"small-{manifest.build_id}"))
    assert [line["source"] for line in lines] == sorted(line["source"] for line in lines)
    assert {line["source"]: line["reason"] for line in lines} == {
        ".DS_Store": "not_an_image",
        "empty.jpg": "not_an_image",
        "notes.jpg": "not_an_image",
        "broken-link.png": "not_an_image",
        "corrupt.png": "corrupt",
        "corrupt.jpg": "corrupt",
        "heavy.png": "too_many_bytes",
        "vast.png": "too_many_pixels",
        "small.png": "too_small",
        "smaller.png": "too_small",
        "person-03/copy.png": "duplicate",
        "person-00/photo-0.png": "duplicate",
    }
    details = {line["source"]: line["detail"] for line in lines}
    assert all(details.values())
    assert details["person-03/copy.png"] == "same bytes as person-01/photo-2.png"
    assert details["person-00/photo-0.png"] == "same bytes as a-copy-that-sorts-first.png"
    assert details["smaller.png"].endswith("(same bytes as small.png)")
    assert manifest.inputs == 36
    assert manifest.used_sources + manifest.rejected_sources == manifest.inputs
    assert sum(manifest.records.values()) == manifest.used_sources
    assert manifest.reject_reasons["not_an_image"] == 4


def test_a_split_whose_sources_are_all_rejected_has_no_shard(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", people=1)
    config = SMALL.model_copy(update={"val_fraction": 0.5, "test_fraction": 0.5})
    for number in range(12):
        (root / f"bad-{number}.png").write_bytes(encoded(picture(number, 20, 20)))
    dataset = build(str(root), str(tmp_path / "out"), config).dataset
    used = {split for split, count in dataset.manifest.records.items() if count}
    assert len(used) == 1
    assert {shard.split for shard in dataset.manifest.shards} == used
    shards = {path.name for path in Path(dataset.place).glob("*.tfrecord")}
    assert shards == {shard.name for shard in dataset.manifest.shards}


def test_names_of_any_kind(tmp_path: Path) -> None:
    root = tmp_path / "Bilder [2024] *"
    (root / "Ünal Çelik").mkdir(parents=True)
    (root / "Ünal Çelik" / "foto 1.png").write_bytes(encoded(picture(1)))
    (root / "Ünal Çelik" / "写真\n2.png").write_bytes(encoded(picture(2)))
    with open(bytes(root) + b"/latin-\xe9.png", "wb") as stream:
        stream.write(encoded(picture(3)))
    dataset = build(str(root), str(tmp_path / "out"), SMALL).dataset
    records = [r for split in dataset.manifest.records for r in read_split(dataset.place, split)]
    assert {record.source for record in records} == {
        "Ünal Çelik/foto 1.png",
        "Ünal Çelik/写真\\x0a2.png",
        "latin-\\udce9.png",
    }


def test_leftovers_of_a_killed_build_are_removed(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    dataset = Path(build(str(people), str(root), SMALL).dataset.place)
    expected = hashes(root)
    (dataset / "manifest.json").unlink()
    (dataset / ".part-abc123").write_bytes(b"half a shard")
    (dataset / "train-00000-of-00099.tfrecord").write_bytes(b"a shard of another version")
    (dataset / ".parts").mkdir()
    (dataset / ".parts" / ".part-def456").write_bytes(b"half a part")
    (dataset / ".parts" / "train-00000.unit.json").write_text("{")
    assert build(str(people), str(root), SMALL).dataset.place == str(dataset)
    assert hashes(root) == expected
    (dataset / ".parts").mkdir()
    (dataset / ".parts" / "late.json").write_text("{}")
    assert build(str(people), str(root), SMALL).already_built
    assert hashes(root) == expected


class StopError(Exception):
    pass


def stop(progress: BuildProgress) -> None:
    """End the build as soon as all shards are there."""
    if progress.stage == "publish":
        raise StopError


def test_finished_shards_of_an_unfinished_build_are_not_written_again(
    people: Path, tmp_path: Path
) -> None:
    root = tmp_path / "out"
    with pytest.raises(StopError):
        build(str(people), str(root), SMALL, progress=stop)
    (dataset,) = root.iterdir()
    shards = sorted(dataset.glob("*.tfrecord"))
    shards[0].unlink()
    times = {path: path.stat().st_mtime_ns for path in shards[1:]}
    build(str(people), str(root), SMALL)
    build(str(people), str(tmp_path / "fresh"), SMALL)
    assert hashes(root) == hashes(tmp_path / "fresh")
    assert {path: path.stat().st_mtime_ns for path in shards[1:]} == times


def test_a_late_builder_of_another_version_changes_nothing(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    with pytest.raises(StopError):
        build(str(people), str(root), SMALL, progress=stop)
    (dataset,) = root.iterdir()
    parts = shutil.copytree(dataset / ".parts", tmp_path / "parts")
    build(str(people), str(root), SMALL)
    expected = hashes(root)
    # The other one's notes do not fit our plans, and its shards would have other bytes.
    shutil.copytree(parts, dataset / ".parts", ignore=shutil.ignore_patterns("*.shard.json"))
    plans = sorted(dataset.glob(".parts/*.shard.plan"))
    for plan in plans:
        tree = json.loads(plan.read_bytes())
        plan.write_text(json.dumps({**tree, "pieces": tree["pieces"] * 2}))
        compose.write_shard(str(plan))
    assert len(plans) > 2
    shutil.rmtree(dataset / ".parts")
    assert hashes(root) == expected


@pytest.mark.parametrize("damage", ["cut", "flipped", "note torn", "note empty"])
def test_damaged_shards_of_an_unfinished_build_are_written_again(
    people: Path, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "out"
    with pytest.raises(StopError):
        build(str(people), str(root), SMALL, progress=stop)
    (dataset,) = root.iterdir()
    shard = sorted(dataset.glob("*.tfrecord"))[-1]
    data = shard.read_bytes()
    note = dataset / ".parts" / f"{shard.name}.shard.json"
    if damage.startswith("note"):
        note.write_bytes(b"" if damage == "note empty" else note.read_bytes()[:20])
    else:
        shard.write_bytes(data[:-1] if damage == "cut" else data[:-9] + b"?" + data[-8:])
    build(str(people), str(root), SMALL)
    build(str(people), str(tmp_path / "fresh"), SMALL)
    assert hashes(root) == hashes(tmp_path / "fresh")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_frames_of_an_unfinished_build_are_made_again(
    people: Path, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "out"
    with pytest.raises(StopError):
        build(str(people), str(root), SMALL, progress=stop)
    (dataset,) = root.iterdir()
    for path in (*dataset.glob("*.tfrecord"), *dataset.glob(".parts/*.shard.json")):
        path.unlink()
    frames = sorted(dataset.glob(".parts/*.frames"))[1]
    data = frames.read_bytes()
    if damage == "gone":
        frames.unlink()
    else:
        frames.write_bytes(data[:-1] if damage == "cut" else data[:99] + b"?" + data[100:])
    others = {p: p.stat().st_mtime_ns for p in dataset.glob(".parts/*.frames") if p != frames}
    if damage == "flipped":
        with pytest.raises(StorageError, match="damaged record at byte 0; run the build again"):
            build(str(people), str(root), SMALL)
    with pytest.raises(StopError):
        build(str(people), str(root), SMALL, progress=stop)
    assert {path: path.stat().st_mtime_ns for path in others} == others
    build(str(people), str(root), SMALL)
    build(str(people), str(tmp_path / "fresh"), SMALL)
    assert hashes(root) == hashes(tmp_path / "fresh")


def test_preview_shows_pairs(people: Path, tmp_path: Path) -> None:
    dataset = build(str(people), str(tmp_path / "out"), SMALL).dataset
    with Image.open(Path(dataset.place, "preview.jpg")) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width >= 600
        # The pictures are colourful, the sheet behind them is not.
        pixels = np.asarray(sheet).astype(int)
    colourful = (pixels.max(axis=2) - pixels.min(axis=2) > 40).mean()
    assert 0.1 < colourful < 0.95


def test_building_is_quiet(people: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(str(people), str(tmp_path / "out"), SMALL)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def test_golden(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", people=2, photos=2)
    config = DatasetConfig(name="golden", hr_size=32, crop_size=48, val_fraction=0, test_fraction=0)
    dataset = build(str(root), str(tmp_path / "out"), config).dataset
    records = read_split(dataset.place, "train")
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps([record.key, record.group, record.source]).encode())
        for data in (record.hr, record.lr):
            digest.update(images.decode(data, max_pixels=10**6).tobytes())
    assert dataset.manifest.build_id == GOLDEN_BUILD_ID
    assert digest.hexdigest() == GOLDEN_CONTENT
    encoder = (PIL.__version__, features.version("zlib_ng"))
    if encoder != GOLDEN_ENCODER:
        pytest.skip(f"bytes of PNG are pinned for Pillow and zlib-ng {GOLDEN_ENCODER}")
    assert [shard.sha256 for shard in dataset.manifest.shards] == [GOLDEN_SHARD]


GOLDEN_BUILD_ID = "965ce92d66da"
GOLDEN_CONTENT = "8daae26dd728056f26935aa4721329ba42059f7890d158162a5607704ac2d921"
GOLDEN_ENCODER = ("12.3.0", "2.3.3")
GOLDEN_SHARD = "460c7acf4142e3226331f8ddd0c009236f06c984fb947628109bd0719e9d6d8a"


@pytest.mark.slow
def test_tensorflow_reads_the_shards(people: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    dataset = build(str(people), str(tmp_path / "out"), SMALL).dataset
    shards = [str(Path(dataset.place, s.name)) for s in dataset.manifest.shards]
    text = tf.io.FixedLenFeature([], tf.string)
    names = ("key", "group", "source", "hr/encoded", "lr/encoded")
    ours = [r for split in dataset.manifest.records for r in read_split(dataset.place, split)]
    theirs = [
        {
            name: value.numpy()
            for name, value in tf.io.parse_single_example(e, dict.fromkeys(names, text)).items()
        }
        for e in tf.data.TFRecordDataset(shards)
    ]
    assert len(theirs) == len(ours) == 24
    by_key = {record.key.encode(): record for record in ours}
    for example in theirs:
        record = by_key[example["key"]]
        assert example["group"] == record.group.encode()
        assert example["source"] == record.source.encode()
        hr = tf.io.decode_png(example["hr/encoded"]).numpy()
        lr = tf.io.decode_png(example["lr/encoded"]).numpy()
        np.testing.assert_array_equal(hr, images.decode(record.hr, max_pixels=10**6))
        np.testing.assert_array_equal(lr, images.decode(record.lr, max_pixels=10**6))
        assert (hr.shape, lr.shape) == ((32, 32, 3), (8, 8, 3))


@pytest.mark.slow
def test_real_faces(tmp_path: Path) -> None:
    faces = shared_data() / "faces" / "utk"
    config = DatasetConfig(hr_size=128, val_fraction=0.1, test_fraction=0.1)
    dataset = build(f"{faces}/2*.jpg", str(tmp_path), config).dataset
    manifest = dataset.manifest
    assert manifest.inputs == len(list(faces.glob("2*.jpg"))) > 100
    # Some photos are in that set twice; nothing else is wrong with any.
    assert manifest.reject_reasons.keys() <= {"near_duplicate"}
    assert manifest.used_sources > 0.98 * manifest.inputs
    for shard in dataset.manifest.shards:
        verify_shard(dataset, shard)
