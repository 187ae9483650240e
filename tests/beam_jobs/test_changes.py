"""Image sets that change while they are being built: one line, and nothing of a wrong dataset."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_jobs.build_pairs import BuildProgress, build
from srgan.errors import DatasetError
from tests.beam_jobs.image_sets import SMALL, encoded, hashes, picture, write_set

CHANGED = "changed while the dataset was being built; run the build again"
VANISHED = "vanished while the dataset was being built; run the build again"


def after_inventory(action: Callable[[], object]) -> Callable[[BuildProgress], None]:
    """A listener that acts once, when all files are hashed and none is decoded yet."""
    done: list[str] = []

    def listen(progress: BuildProgress) -> None:
        if progress.stage == "inventory" and progress.done == progress.total and not done:
            done.append(progress.stage)
            action()

    return listen


def _replace(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


PHOTO = "person-02/photo-1.png"
FOLDER_CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another picture": (lambda p: _replace(p, encoded(picture(4711))), CHANGED),
    "cut off": (lambda p: os.truncate(p, 100), CHANGED),
    "emptied": (lambda p: os.truncate(p, 0), CHANGED),
    "appended to": (lambda p: _replace(p, p.read_bytes() + b"more"), CHANGED),
    "far too large": (lambda p: os.truncate(p, SMALL.max_bytes + 1), CHANGED),
    "removed": (lambda p: p.unlink(), VANISHED),
    "folder removed": (lambda p: shutil.rmtree(p.parent), VANISHED),
    "image set removed": (lambda p: shutil.rmtree(p.parents[1]), VANISHED),
    "now a dead link": (_link, VANISHED),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_a_file_of_a_folder(tmp_path: Path, change: str) -> None:
    people = write_set(tmp_path / "people")
    act, line = FOLDER_CHANGES[change]
    root = tmp_path / "out"
    with pytest.raises(DatasetError, match=line) as caught:
        build(str(people), str(root), SMALL, progress=after_inventory(lambda: act(people / PHOTO)))
    assert len(str(caught.value).splitlines()) == 1
    assert str(people) in str(caught.value)
    assert hashes(root) == {}
    assert not list(root.glob("*"))


def _zip_of(path: Path, seed: int = 0, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Twelve pictures of the same sizes under the same names, whatever the seed."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(12):
            pixels = picture(seed + number)
            archive.writestr(f"p{number % 3}/{number}.bmp", encoded(pixels, "BMP"))
    return path


def _tar_of(path: Path, seed: int = 0) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in range(12):
            file = path.with_name("member.bmp")
            file.write_bytes(encoded(picture(seed + number), "BMP"))
            archive.add(file, f"p{number % 3}/{number}.bmp")
            file.unlink()
    return path


ARCHIVES: dict[str, Callable[..., Path]] = {
    "zip": _zip_of,
    "stored.zip": lambda path, seed=0: _zip_of(path, seed, zipfile.ZIP_STORED),
    "tar": _tar_of,
}
ARCHIVE_CHANGES: dict[str, tuple[Callable[[Path, Callable[..., Path]], object], str]] = {
    "other pictures": (lambda path, make: make(path, 100), CHANGED),
    "cut off": (lambda path, _: os.truncate(path, path.stat().st_size // 2), CHANGED),
    "emptied": (lambda path, _: os.truncate(path, 0), CHANGED),
    "zeros": (lambda path, _: _replace(path, bytes(path.stat().st_size)), CHANGED),
    "removed": (lambda path, _: path.unlink(), VANISHED),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("in_folder", [True, False])
@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("change", ARCHIVE_CHANGES)
def test_an_archive(tmp_path: Path, change: str, kind: str, in_folder: bool) -> None:
    """Not even a member that cannot be unpacked any more is taken for a damaged photo."""
    path = tmp_path / "set" / f"people.{kind}"
    path.parent.mkdir()
    ARCHIVES[kind](path)
    act, line = ARCHIVE_CHANGES[change]
    root = tmp_path / "out"
    listener = after_inventory(lambda: act(path, ARCHIVES[kind]))
    with pytest.raises(DatasetError, match=line) as caught:
        build(str(path.parent if in_folder else path), str(root), SMALL, progress=listener)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    assert not list(root.glob("*"))


def test_a_compressed_tar_is_read_once(tmp_path: Path) -> None:
    """What was unpacked is what was hashed: the archive itself may go meanwhile."""
    tar = _tar_of(tmp_path / "people.tar")
    packed = tmp_path / "people.tar.xz"
    with tarfile.open(tar) as source, tarfile.open(packed, "w:xz") as archive:
        for member in source:
            archive.addfile(member, source.extractfile(member))
    build(str(packed), str(tmp_path / "reference"), SMALL)
    listener = after_inventory(packed.unlink)
    build(str(packed), str(tmp_path / "out"), SMALL, progress=listener)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "reference")


def test_what_is_added_meanwhile_belongs_to_the_next_dataset(tmp_path: Path) -> None:
    people = write_set(tmp_path / "people")
    build(str(people), str(tmp_path / "reference"), SMALL)
    more = people / "person-02" / "late.png"
    listener = after_inventory(lambda: _replace(more, encoded(picture(99))))
    first = build(str(people), str(tmp_path / "out"), SMALL, progress=listener)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "reference")
    second = build(str(people), str(tmp_path / "out"), SMALL)
    assert second.dataset.manifest.inputs == first.dataset.manifest.inputs + 1
