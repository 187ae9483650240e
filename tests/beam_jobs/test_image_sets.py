"""What may be an image set, and what of it becomes records: through the whole builder."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_jobs.build_pairs import build
from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.datasets.verify import verify
from srgan.degrade import bicubic
from srgan.errors import DatasetError
from srgan.records import Dataset, PairRecord, RecordInfo, read_record_infos, read_records
from tests.beam_jobs.image_sets import SMALL, encoded, hashes, picture, rejects, write_set
from tests.support import shared_data


def records_of(dataset: Dataset) -> list[PairRecord]:
    found = []
    for shard in dataset.manifest.shards:
        with Path(dataset.place, shard.name).open("rb") as stream:
            found += list(read_records(stream))
    return found


def infos_of(dataset: Dataset) -> list[RecordInfo]:
    return list(read_record_infos(dataset))


def pixels_of(data: bytes) -> np.ndarray:
    return images.decode(data, max_pixels=10**8)


def faces_like(seed: int, side: int = 96) -> np.ndarray:
    """Pictures that look different from one another, in large and in fine detail."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((side, side))
    grain = rng.integers(-40, 40, (side, side, 1))
    return np.clip(np.asarray(coarse, np.int64) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_builds_what_its_folder_builds(tmp_path: Path, kind: str) -> None:
    people = write_set(tmp_path / "people")
    (people / "Ünal Çelik").mkdir()
    (people / "Ünal Çelik" / "写真.png").write_bytes(encoded(picture(7)))
    (people / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    archive = tmp_path / f"people.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in people.rglob("*"):
                packed.write(path, path.relative_to(people))
    else:
        with tarfile.open(archive, "w:gz" if kind == "tgz" else "w") as packed:
            packed.add(people, ".")
    folder = build(str(people), str(tmp_path / "one"), SMALL).dataset
    packed_build = build(str(archive), str(tmp_path / "two"), SMALL).dataset
    assert folder.digest == packed_build.digest
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert folder.manifest.reject_reasons == {"not_an_image": 1}


def test_several_inputs_are_one_image_set(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one", people=2)
    two = write_set(tmp_path / "two", people=2, first_seed=10)
    first = build([str(one), str(two)], str(tmp_path / "a"), SMALL).dataset
    second = build([str(two), str(one), str(two)], str(tmp_path / "b"), SMALL).dataset
    assert first.digest == second.digest
    infos = infos_of(first)
    assert len(infos) == 16
    assert {info.source.partition("/")[0] for info in infos} == {"one", "two"}
    # Groups are what they would be in each image set by itself.
    assert {info.group for info in infos} == {f"person-{n:02d}" for n in (0, 1, 10, 11)}


def test_excluded_photos_and_their_twins_stay_out(tmp_path: Path) -> None:
    config = SMALL.model_copy(
        update={"group": "none", "test_fraction": 0.5, "near_duplicate_bits": 32, "hr_size": 48}
    )
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for seed in range(12):
        (old / f"{seed}.png").write_bytes(encoded(faces_like(seed)))
    earlier = build(str(old), str(tmp_path / "out"), config).dataset
    shutil.copy(old / "3.png", new / "renamed.png")
    for seed in range(12):
        (new / f"again-{seed}.jpg").write_bytes(encoded(faces_like(seed), "JPEG", quality=92))
    for seed in range(100, 106):
        (new / f"{seed}.png").write_bytes(encoded(faces_like(seed)))
    result = build(str(new), str(tmp_path / "out"), config, exclude=[earlier.place])
    manifest = result.dataset.manifest
    assert manifest.excluded == [earlier.digest]
    reasons = {line["source"]: line for line in rejects(result.dataset.place)}
    assert reasons["renamed.png"]["reason"] == "excluded"
    assert reasons["renamed.png"]["detail"] == f"in {Path(earlier.place).name} as 3.png"
    held = {info.source: info.split for info in infos_of(earlier)}
    kept = {info.source: info.split for info in infos_of(result.dataset)}
    for seed in range(12):
        name = f"again-{seed}.jpg"
        if name in kept:
            assert kept[name] == held[f"{seed}.png"]
        else:
            assert reasons[name]["reason"] == "near_duplicate"
            assert f"{seed}.png" in reasons[name]["detail"]
    assert set(reasons) - {"renamed.png"}
    assert {f"{seed}.png" for seed in range(100, 106)} <= kept.keys()
    # Without the older dataset it is another one.
    assert build(str(new), str(tmp_path / "out"), config).dataset.place != result.dataset.place
    again = build(str(new), str(tmp_path / "out"), config, exclude=[earlier.place])
    assert again.already_built
    assert verify(result.dataset).problems == ()


def test_everything_excluded_is_said(tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    earlier = build(str(people), str(tmp_path / "out"), SMALL).dataset
    with pytest.raises(DatasetError, match="no usable image among 4 files: 4 excluded"):
        build(str(people), str(tmp_path / "out"), SMALL, exclude=[earlier.place])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(earlier.place).name]


def test_twins_in_two_splits_lose_the_one_in_training(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for seed in range(20):
        for person, options in ((f"a{seed}", {}), (f"b{seed}", {"quality": 90})):
            kind = "JPEG" if options else "PNG"
            folder = root / person
            folder.mkdir(parents=True)
            (folder / f"{seed}.{kind.lower()}").write_bytes(
                encoded(faces_like(seed), kind, **options)
            )
    config = SMALL.model_copy(
        update={"near_duplicate_bits": 32, "test_fraction": 0.4, "val_fraction": 0, "hr_size": 48}
    )
    dataset = build(str(root), str(tmp_path / "out"), config).dataset
    lines = {line["source"]: line for line in rejects(dataset.place)}
    splits = {info.source: info.split for info in infos_of(dataset)}
    assert lines
    for name, line in lines.items():
        twin = name.replace("a", "b", 1) if name.startswith("a") else name.replace("b", "a", 1)
        twin = twin.replace("png", "x").replace("jpeg", "png").replace("x", "jpeg")
        assert line["reason"] == "near_duplicate"
        assert splits[twin] == "test"
        assert twin in line["detail"]
    assert len(splits) + len(lines) == 40


def test_equal_pixels_in_other_files_are_one_record(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    pixels = picture(5)
    (root / "a.png").write_bytes(encoded(pixels))
    (root / "b.bmp").write_bytes(encoded(pixels, "BMP"))
    (root / "c.png").write_bytes(encoded(picture(6)))
    dataset = build(str(root), str(tmp_path / "out"), SMALL).dataset
    (line,) = rejects(dataset.place)
    assert line["reason"] == "duplicate"
    assert "same pixels" in line["detail"]
    assert dataset.manifest.used_sources == 2


def test_tiles_of_a_photo_keep_together_and_are_accounted_for(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    wide = picture(1, 32 * 5, 32 * 3)
    wide[:32, :32] = 128
    (root / "wide.png").write_bytes(encoded(wide))
    (root / "flat.png").write_bytes(encoded(np.full((64, 64, 3), 9, np.uint8)))
    settings = {"name": "tiles", "hr_size": 32, "crop": "tiles", "min_sharpness": 0}
    config = DatasetConfig.model_validate({**settings, "near_duplicate_bits": -1})
    dataset = build(str(root), str(tmp_path / "out"), config).dataset
    infos = infos_of(dataset)
    sha256 = hashlib.sha256((root / "wide.png").read_bytes()).hexdigest()
    assert [info.key for info in infos] == [f"{sha256}-{n:03d}" for n in range(1, 15)]
    assert {info.split for info in infos} == {infos[0].split}
    manifest = dataset.manifest
    assert (manifest.inputs, manifest.used_sources, manifest.rejected_sources) == (2, 1, 1)
    assert (manifest.rejected_crops, manifest.reject_crop_reasons) == (1, {"flat": 1})
    lines = {(line["source"], line.get("crop")): line["reason"] for line in rejects(dataset.place)}
    assert lines == {("flat.png", None): "flat", ("wide.png", 0): "flat"}
    assert verify(dataset).problems == ()


def test_lr_files_that_come_with_hr_files(tmp_path: Path) -> None:
    bench = shared_data() / "bench" / "Set5"
    root = shutil.copytree(bench, tmp_path / "Set5")
    (root / "img_099_SRF_4_HR.png").write_bytes(encoded(picture(1, 64, 64)))
    (root / "img_100_SRF_4_HR.png").write_bytes(encoded(picture(2, 64, 64)))
    (root / "img_100_SRF_4_LR.png").write_bytes(encoded(picture(2, 15, 16)))
    (root / "readme.txt").write_text("what this is")
    settings = {"name": "set5", "hr_size": 64, "crop": "none", "degradation": "paired"}
    dataset = build(
        str(root), str(tmp_path / "out"), DatasetConfig.model_validate(settings)
    ).dataset
    lines = {line["source"]: line for line in rejects(dataset.place)}
    assert {name: line["reason"] for name, line in lines.items()} == {
        "img_099_SRF_4_HR.png": "unpaired",
        "img_100_SRF_4_HR.png": "pair_mismatch",
        "img_100_SRF_4_LR.png": "pair_mismatch",
        "readme.txt": "unpaired",
    }
    manifest = dataset.manifest
    assert (manifest.inputs, manifest.used_sources) == (14, 10)
    records = records_of(dataset)
    assert len(records) == 5
    for record in records:
        lr = Image.open(bench / record.source.replace("HR", "LR")).convert("RGB")
        np.testing.assert_array_equal(pixels_of(record.lr), np.asarray(lr))
        hr = Image.open(bench / record.source).convert("RGB")
        np.testing.assert_array_equal(pixels_of(record.hr), np.asarray(hr))
    assert verify(dataset).problems == ()


def test_folders_of_hr_and_of_lr_files(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(3):
        hr = picture(number, 64, 64)
        for kind, pixels in (("HR", hr), ("LR", bicubic(hr, 4))):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / f"{number}.png").write_bytes(encoded(pixels))
    shutil.copy(root / "HR" / "0.png", root / "HR" / "copy.png")
    shutil.copy(root / "LR" / "1.png", root / "LR" / "copy.png")
    config = DatasetConfig(hr_size=64, degradation="paired", near_duplicate_bits=-1)
    for inputs in ([str(root)], [str(root / "HR"), str(root / "LR")]):
        dataset = build(inputs, str(tmp_path / "out"), config).dataset
        assert {info.source: info.group for info in infos_of(dataset)} == {
            f"HR/{n}.png": hashlib.sha256((root / "HR" / f"{n}.png").read_bytes()).hexdigest()
            for n in range(3)
        }
        assert {
            line["source"]: (line["reason"], line["detail"]) for line in rejects(dataset.place)
        } == {
            "HR/copy.png": ("duplicate", "same bytes as HR/0.png"),
            "LR/copy.png": ("duplicate", "same bytes as HR/0.png (LR of HR/copy.png)"),
        }
        assert verify(dataset).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yunet", "dlib"])
def test_every_large_face_of_a_group_photo(tmp_path: Path, detector: str) -> None:
    data = shared_data()
    model = str(data / "weights" / "yunet_n_dynamic.onnx") if detector == "yunet" else None
    photo = data / "photos" / "ultralight_17.jpg"
    config = DatasetConfig.model_validate({"name": "faces", "crop": "faces", "hr_size": 64})
    root = tmp_path / "set"
    root.mkdir()
    shutil.copy(photo, root)
    dataset = build(str(root), str(tmp_path / "out"), config, face_model=model).dataset
    infos = infos_of(dataset)
    assert len(infos) >= 20
    assert dataset.manifest.config.faces.detector == detector
    assert dataset.manifest.config.faces.model_sha256
    assert all(info.side >= 64 and info.key[64] == "-" for info in infos)
    assert {info.split for info in infos} == {infos[0].split}
    assert dataset.manifest.used_sources == dataset.manifest.inputs == 1
    assert dataset.manifest.rejected_crops == sum("crop" in r for r in rejects(dataset.place))
    assert verify(dataset).problems == ()


@pytest.mark.parametrize("degradation", ["area", "tone", "realistic"])
def test_degradations_are_drawn_from_the_key(tmp_path: Path, degradation: str) -> None:
    people = write_set(tmp_path / "people", people=2, photos=2)
    config = SMALL.model_copy(update={"degradation": degradation})
    first = build(str(people), str(tmp_path / "one"), config).dataset
    second = build(str(people), str(tmp_path / "two"), config).dataset
    assert first.digest == second.digest
    plain = build(str(people), str(tmp_path / "three"), SMALL).dataset
    pairs = zip(records_of(first), records_of(plain), strict=True)
    for one, other in pairs:
        assert one.hr == other.hr
        assert one.lr != other.lr
