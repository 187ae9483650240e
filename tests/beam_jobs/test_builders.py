"""Builds that are disturbed: by other builders, by changing sources, by lost workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from beam_jobs.build_pairs import BuildProgress, BuildResult, build
from beam_jobs.processes import WorkerLostError
from srgan.errors import DatasetError
from tests.beam_jobs.image_sets import (
    SMALL,
    arguments,
    encoded,
    hashes,
    picture,
    run_command,
    write_set,
)
from tests.support import ROOT


def once_at(stage: str, action: Callable[[], None]) -> Callable[[BuildProgress], None]:
    """A listener that acts as soon as ``stage`` is through with all sources, and only once."""
    done = []

    def listen(progress: BuildProgress) -> None:
        if progress.stage == stage and progress.done == progress.total and not done:
            done.append(stage)
            action()

    return listen


@pytest.mark.parametrize("stage", ["inventory", "pairs", "publish"])
def test_another_builder_is_first(
    people: Path, tmp_path: Path, reference: dict[str, str], stage: str
) -> None:
    root = str(tmp_path / "out")
    others: list[BuildResult] = []
    listener = once_at(stage, lambda: others.append(build(str(people), root, SMALL)))
    mine = build(str(people), root, SMALL, progress=listener)
    (other,) = others
    assert not other.already_built
    assert mine.already_built
    # After the inventory the manifest is seen before anything is done.
    assert mine.by_another == (stage != "inventory")
    assert mine.dataset == other.dataset
    assert hashes(root) == reference


def test_a_source_that_changes(people: Path, tmp_path: Path, reference: dict[str, str]) -> None:
    photo = people / "person-02" / "photo-1.png"
    before = photo.read_bytes()
    listener = once_at("inventory", lambda: _write(photo, encoded(picture(4711))))
    with pytest.raises(DatasetError, match=r"photo-1\.png: changed while the dataset was being"):
        build(str(people), str(tmp_path / "out"), SMALL, progress=listener)
    assert hashes(tmp_path / "out") == {}
    photo.write_bytes(before)
    build(str(people), str(tmp_path / "out"), SMALL)
    assert hashes(tmp_path / "out") == reference


def test_a_source_that_vanishes(people: Path, tmp_path: Path) -> None:
    photo = people / "person-02" / "photo-1.png"
    with pytest.raises(DatasetError, match=r"photo-1\.png: vanished while the dataset was being"):
        build(
            str(people), str(tmp_path / "out"), SMALL, progress=once_at("inventory", photo.unlink)
        )
    assert hashes(tmp_path / "out") == {}
    build(str(people), str(tmp_path / "out"), SMALL)
    build(str(people), str(tmp_path / "fresh"), SMALL)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "fresh")


def test_stale_inventory_is_not_used(people: Path, tmp_path: Path) -> None:
    """Same name and size, other bytes, and the inventory of a killed build still there."""
    root = tmp_path / "out"
    photo = people / "person-00" / "photo-0.png"
    kept: dict[Path, bytes] = {}

    def keep() -> None:
        kept.update({p: p.read_bytes() for p in root.rglob("*") if p.is_file()})

    build(str(people), str(root), SMALL, progress=once_at("inventory", keep))
    assert any(".inventory-" in str(path) for path in kept)
    for path, data in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    data = bytearray(photo.read_bytes())
    data[-20] ^= 1
    photo.write_bytes(bytes(data))
    after = build(str(people), str(root), SMALL)
    assert not after.already_built
    assert hashes(after.dataset.place) == _fresh(people, tmp_path / "fresh")
    assert not list(root.glob(".*"))


@pytest.mark.slow
def test_an_error_in_a_worker_process_is_one_line(people: Path, tmp_path: Path) -> None:
    photo = people / "person-02" / "photo-1.png"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from beam_jobs import build_pairs as job\n"
        "def build(*args, **options):\n"
        "    def listen(progress):\n"
        "        if progress.stage == 'inventory' and progress.done == progress.total:\n"
        f"            Path({str(photo)!r}).unlink(missing_ok=True)\n"
        "    return job.build(*args, **{**options, 'progress': listen})\n"
        "from beam_jobs.command import run_command\n"
        "sys.exit(run_command(sys.argv[1:], build))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments(people, tmp_path / "out", "--workers", "2")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {photo}: vanished while the dataset was being built; "
        "run the build again when nobody changes the image set\n"
    )
    assert done.stdout == ""


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_build(tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=30)
    killed: list[int] = []

    def kill(progress: BuildProgress) -> None:
        for child in psutil.Process().children():
            if progress.stage == "pairs" and not killed and "beam_jobs.worker" in child.cmdline():
                killed.append(child.pid)
                child.kill()

    root = str(tmp_path / "out")
    with pytest.raises(WorkerLostError, match="run the same build again"):
        build(str(people), root, SMALL, workers=2, progress=kill)
    assert killed
    assert [c for c in psutil.Process().children() if "beam_jobs.worker" in c.cmdline()] == []
    build(str(people), root, SMALL)
    assert hashes(Path(root)) == _fresh_root(people, tmp_path / "fresh")


@pytest.mark.slow
def test_workers_do_not_import_tensorflow(people: Path, tmp_path: Path) -> None:
    """Every process of a build writes down at its end what it has imported."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import atexit, json, os, sys\n"
        "def write():\n"
        f"    with open({str(tmp_path)!r} + f'/modules-{{os.getpid()}}.json', 'w') as stream:\n"
        "        json.dump([*sys.modules, *sys.orig_argv], stream)\n"
        "atexit.register(write)\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    args = arguments(people, tmp_path / "out", "--workers", "2")
    assert run_command(args, {"PYTHONPATH": path})[0] == 0
    imported = [set(json.loads(p.read_text())) for p in tmp_path.glob("modules-*.json")]
    workers = [modules for modules in imported if "beam_jobs.worker" in modules]
    assert len(imported) == 3
    assert len(workers) == 2
    assert any("beam_jobs.units" in modules for modules in workers)
    for modules in imported:
        assert not modules & {"tensorflow", "keras", "mlflow", "prefect", "matplotlib"}


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _fresh_root(image_set: Path, root: Path) -> dict[str, str]:
    build(str(image_set), str(root), SMALL)
    return hashes(root)


def _fresh(image_set: Path, root: Path) -> dict[str, str]:
    return hashes(build(str(image_set), str(root), SMALL).dataset.place)
