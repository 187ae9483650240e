"""A disk that is full: one line that names the place, nothing published, and then it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_jobs.build_pairs import BuildProgress, build, main
from srgan import storage
from srgan.errors import DatasetError, StorageError
from srgan.records import open_dataset
from tests.beam_jobs.image_sets import SMALL, arguments, hashes
from tests.support import ROOT, needs

FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    needs("mount", mounted.returncode == 0, f"no file system can be mounted: {mounted.stderr}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def leave(disk: Path, pages: int) -> None:
    """Fill a disk but for so many pages of 4 KiB."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    room = os.statvfs(disk)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, room.f_bavail - pages) * room.f_bsize)


@pytest.mark.parametrize("packed", [False, True])
def test_full_at_any_stage(
    people: Path, tmp_path: Path, disk: Path, reference: dict[str, str], packed: bool
) -> None:
    """With ever more room the same build comes ever further, and in the end to the same bytes."""
    image_set = people
    if packed:
        image_set = tmp_path / "people.tar.gz"
        with tarfile.open(image_set, "w:gz") as archive:
            archive.add(people, ".")
    root = disk / "out"
    refusals = []
    for pages in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233):
        leave(disk, pages)
        try:
            build(str(image_set), str(root), SMALL)
        except StorageError as error:
            refusals.append(str(error))
            _check_refused(root, str(error))
        else:
            break
    assert len(refusals) >= 4
    assert hashes(root) == reference
    assert not list(root.glob(".*")) + list(root.glob("*/.*"))


def _check_refused(root: Path, line: str) -> None:
    assert line.startswith(f"{root}"), line
    assert "cannot write" in line
    assert FULL in line
    assert len(line.splitlines()) == 1
    for folder in root.glob("small-*"):
        with pytest.raises(DatasetError, match="no dataset here"):
            open_dataset(str(folder))


def test_the_command_says_so(
    people: Path,
    disk: Path,
    reference: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = arguments(people, disk / "out")
    leave(disk, 20)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error: ") == 1
    assert err.splitlines()[-1].startswith(f"error: {disk}/out/")
    assert err.endswith(f"cannot write: {FULL}\n")
    assert "Traceback" not in err
    (disk / "ballast").unlink()
    assert main(args) == 0
    assert hashes(disk / "out") == reference


@pytest.mark.parametrize("name", ["manifest.json", "records.jsonl"])
def test_full_at_the_very_end(
    people: Path,
    disk: Path,
    reference: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """All is there but one file: there is no dataset, and the next build adds what is missing."""

    def filling(write: Callable[..., object]) -> Callable[..., object]:
        def call(place: str, *more: object, **options: object) -> object:
            if place.endswith(name):
                leave(disk, 0)
            return write(place, *more, **options)

        return call

    root = disk / "out"
    with monkeypatch.context() as patch:
        for function in ("publish_once", "open_write"):
            patch.setattr(storage, function, filling(getattr(storage, function)))
        with pytest.raises(StorageError, match=f"{name}: cannot write: {FULL}") as caught:
            build(str(people), str(root), SMALL)
    _check_refused(root, str(caught.value))
    shards = {path: path.stat().st_mtime_ns for path in root.glob("*/*.tfrecord")}
    assert shards
    (disk / "ballast").unlink()
    build(str(people), str(root), SMALL)
    assert hashes(root) == reference
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


@pytest.mark.slow
def test_full_in_a_worker_process(people: Path, disk: Path, reference: dict[str, str]) -> None:
    leave(disk, 30)
    with pytest.raises(StorageError, match=FULL) as caught:
        build(str(people), str(disk / "out"), SMALL, workers=2)
    _check_refused(disk / "out", str(caught.value))
    (disk / "ballast").unlink()
    build(str(people), str(disk / "out"), SMALL, workers=2)
    assert hashes(disk / "out") == reference


@pytest.mark.slow
def test_a_limit_on_the_size_of_files(
    people: Path, tmp_path: Path, reference: dict[str, str]
) -> None:
    """As quotas and ``ulimit -f`` give; the same without any file system of our own."""
    args = arguments(people, tmp_path / "out")
    limited = subprocess.run(
        # Twelve blocks of 512 bytes.
        [
            "sh",
            "-c",
            'ulimit -f 12; exec "$0" -m beam_jobs.build_pairs "$@"',
            sys.executable,
            *args,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 2
    assert limited.stderr.splitlines()[-1].endswith("cannot write: File too large")
    assert "Traceback" not in limited.stderr
    assert not list((tmp_path / "out").glob("*/manifest.json"))
    build(str(people), str(tmp_path / "out"), SMALL)
    assert hashes(tmp_path / "out") == reference


def test_full_while_somebody_watches(people: Path, disk: Path, reference: dict[str, str]) -> None:
    """The disk fills up at a moment that is known only afterwards."""
    filled: list[str] = []

    def fill(progress: BuildProgress) -> None:
        if progress.stage == "pairs" and not filled:
            filled.append(progress.stage)
            leave(disk, 0)

    with pytest.raises(StorageError, match=FULL) as caught:
        build(str(people), str(disk / "out"), SMALL, progress=fill)
    _check_refused(disk / "out", str(caught.value))
    (disk / "ballast").unlink()
    build(str(people), str(disk / "out"), SMALL)
    assert hashes(disk / "out") == reference
