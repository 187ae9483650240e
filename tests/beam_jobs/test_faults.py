"""Builds that are killed at any moment, builders beside one another, any number of workers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from beam_jobs.build_pairs import BuildProgress, build
from srgan.errors import DatasetError
from srgan.records import open_dataset, verify_file, verify_shard
from tests.beam_jobs.build_process import BuildProcess
from tests.beam_jobs.image_sets import SMALL, arguments, hashes, start_command, write_set

CROPS = SMALL.model_copy(
    update={"crop": "tiles", "crop_size": None, "tile_stride": 20, "degradation": "realistic"}
)
_MARKS = ("records.jsonl", "rejected.jsonl", "preview.jpg", "rejected.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on(tmp_path: Path, workers: int) -> None:
    rng = random.Random(f"moments of {workers}")
    people = write_set(tmp_path / "people", people=25)
    (people / "notes.txt").write_text("no photo")
    image_set = write_zip(people, tmp_path / "people.zip")
    steps = []

    def count(progress: BuildProgress) -> None:
        if progress.stage == "publish":
            steps.append(_steps(tmp_path / "reference") + len(_MARKS))

    build(str(image_set), str(tmp_path / "reference"), SMALL, progress=count)
    expected = hashes(tmp_path / "reference")
    root = tmp_path / "out"
    assert steps[0] > 40
    killed = 0
    while killed < 10:
        moment = rng.randrange(steps[0])
        before = _finished(root)
        command = BuildProcess([str(image_set)], root, SMALL, workers)
        _wait_for(partial(_has_come, root, moment), command)
        time.sleep(rng.random() * 0.01)
        if command.ended:
            # It was faster, and there is nothing left to interrupt.
            assert hashes(root) == expected
            shutil.rmtree(root)
            continue
        command.kill(group=rng.random() < 0.5)
        killed += 1
        _check_that_none_is_half(root, expected)
        # What was finished is not done again.
        after = _finished(root)
        assert list(root.glob("*/manifest.json")) or before.items() <= after.items()
    assert BuildProcess([str(image_set)], root, SMALL, workers).wait() == 0
    assert hashes(root) == expected
    assert not list(root.glob(".*")) + list(root.glob("*/.*"))


@pytest.mark.slow
def test_two_commands_at_once(tmp_path: Path) -> None:
    image_set = write_zip(write_set(tmp_path / "people"), tmp_path / "people.zip")
    build(str(image_set), str(tmp_path / "reference"), SMALL)
    args = arguments(image_set, tmp_path / "out", "--workers", "2")
    commands = [start_command(args) for _ in range(2)]
    answers = [command.communicate(timeout=300) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], answers
    assert sum("built in" in out for out, _ in answers) == 1
    assert sum("already built" in out for out, _ in answers) == 1
    assert hashes(tmp_path / "out") == hashes(tmp_path / "reference")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("moment", ["inventory", "units"])
def test_one_of_two_builders_is_ended(tmp_path: Path, how: signal.Signals, moment: str) -> None:
    """The other one goes on, also with what both have unpacked from a compressed archive."""
    image_set = write_tar(write_set(tmp_path / "people", people=12), tmp_path / "people.tar.gz")
    build(str(image_set), str(tmp_path / "reference"), SMALL)
    root = tmp_path / "out"
    pair = [BuildProcess([str(image_set)], root, SMALL) for _ in range(2)]
    if moment == "inventory":
        _wait_for(lambda: any(root.glob(".inventory-*/spool")), pair[0])
    else:
        _wait_for(lambda: _steps(root) >= 2, pair[0])
    if not pair[0].ended:
        pair[0].kill(how=how)
    assert pair[1].wait() == 0
    assert hashes(root) == hashes(tmp_path / "reference")
    assert BuildProcess([str(image_set)], root, SMALL).wait() == 0
    assert hashes(root) == hashes(tmp_path / "reference")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_one_line(tmp_path: Path, workers: int) -> None:
    """It reaches the whole group, as from a terminal; no decoder makes another error of it."""
    people = write_set(tmp_path / "people", people=40)
    args = arguments(people, tmp_path / "out", "--workers", str(workers))
    command = start_command(args)
    end = time.monotonic() + 60
    while _steps(tmp_path / "out") < 3 and time.monotonic() < end:
        time.sleep(0.001)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=30)
    assert (command.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "Traceback" not in err
    assert not list((tmp_path / "out").glob("*/manifest.json"))


@pytest.mark.slow
def test_a_decoder_that_crashes_is_one_line(tmp_path: Path) -> None:
    """A worker process that dies takes nothing along, and what Beam says of it is not shown."""
    people = write_set(tmp_path / "people", people=40)
    command = start_command(arguments(people, tmp_path / "out", "--workers", "2"))
    end = time.monotonic() + 60
    while _steps(tmp_path / "out") < 3 and time.monotonic() < end:
        time.sleep(0.001)
    (worker, *_) = (
        child
        for child in psutil.Process(command.pid).children()
        if "beam_jobs.worker" in child.cmdline()
    )
    worker.send_signal(signal.SIGSEGV)
    out, err = command.communicate(timeout=30)
    assert (command.returncode, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: a worker process was killed")
    assert "Traceback" not in err
    assert "ERROR" not in err
    assert not list((tmp_path / "out").glob("*/manifest.json"))


@pytest.mark.slow
def test_bytes_are_the_same_on_any_number_of_workers(tmp_path: Path) -> None:
    """With crops, with random degradations, from a folder and from an archive of it."""
    people = write_set(tmp_path / "people")
    image_set = write_zip(people, tmp_path / "people.zip")
    build(str(people), str(tmp_path / "folder"), CROPS)
    expected = hashes(tmp_path / "folder")
    assert len(expected) > 10
    for workers in (1, 2, 3):
        root = tmp_path / str(workers)
        build(str(image_set), str(root), CROPS, workers=workers)
        assert hashes(root) == expected


def write_zip(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def write_tar(folder: Path, path: Path) -> Path:
    import tarfile

    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, ".")
    return path


def _steps(root: Path) -> int:
    """How far a build has come: units, shards, and files beside them."""
    parts = sum(1 for _ in root.glob("*/.parts/*.json"))
    return parts + sum(1 for name in _MARKS for _ in root.glob(f"*/{name}"))


def _has_come(root: Path, steps: int) -> bool:
    return _steps(root) >= steps


def _finished(root: Path) -> dict[Path, int]:
    """What need not be made again, and when it was made; once published, that is removed."""
    found: dict[Path, int] = {}
    if list(root.glob("*/manifest.json")):
        return found
    for part in root.glob("*/.parts/*.json"):
        if part.name.endswith(".unit.json"):
            files = [part, part.with_name(part.name.replace(".unit.json", ".unit.frames"))]
        else:
            files = [part.parents[1] / part.name.removesuffix(".shard.json")]
        found |= {file: file.stat().st_mtime_ns for file in files}
    return found


def _check_that_none_is_half(root: Path, expected: dict[str, str]) -> None:
    """A dataset is seen as one only when all of it is there."""
    for folder in root.glob("small-*"):
        if not (folder / "manifest.json").exists():
            with pytest.raises(DatasetError, match="no dataset here"):
                open_dataset(str(folder))
            continue
        dataset = open_dataset(str(folder))
        for shard in dataset.manifest.shards:
            verify_shard(dataset, shard)
        for name, sha256 in dataset.manifest.files.items():
            verify_file(dataset, name, sha256)
        assert expected.items() <= hashes(root).items()


def _wait_for(moment: Callable[[], bool], command: BuildProcess) -> None:
    end = time.monotonic() + 120
    while not moment() and not command.ended:
        assert time.monotonic() < end
        time.sleep(0.001)
