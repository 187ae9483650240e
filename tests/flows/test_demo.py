"""The whole pipeline as `make demo` runs it, killed on its way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.demo import main
from tests.flows.helpers import processes_with, run


def flow_runs(workspace: Path) -> list[str]:
    with sqlite3.connect(workspace / "prefect" / "prefect.db") as database:
        rows = database.execute("select state_name from flow_run order by created").fetchall()
    return [state for (state,) in rows]


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
def test_demo_killed_in_training_finishes_when_started_again(
    tmp_path: Path, photos: Path, clean_environment: dict[str, str]
) -> None:
    workspace = tmp_path / "workspace"
    environment = {
        **clean_environment,
        "SRGAN_WORKSPACE": str(workspace),
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "flows.demo", "--faces", str(photos), "--preset", "tiny"]

    first = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    seen = []
    for line in first.stdout:
        seen.append(line)
        if line.startswith("Training: pretrain"):
            break
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "".join(seen)
    first.stdout.close()
    deadline = time.monotonic() + 30
    while (left := processes_with(str(workspace))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
    manifest = next((workspace / "datasets").glob("faces-*/manifest.json"))
    built = manifest.stat().st_mtime_ns

    output = run(command, environment, tmp_path, timeout=600)
    assert manifest.stat().st_mtime_ns == built
    for word in ("psnr_y", "ssim_y", "bicubic", "models:/srgan-faces/1", "report.html", "gate"):
        assert word in output
    (folder,) = (workspace / "runs").iterdir()
    for name in ("curves.png", "progress.webp", "report.html", "evaluation.json"):
        assert (folder / name).stat().st_size > 0
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert f"{evaluation['systems']['model']['psnr_y']:.4f}" in output
    assert f"{evaluation['systems']['bicubic']['psnr_y']:.4f}" in output
    for name in ("before", "after", "original"):
        assert (workspace / "demo" / f"{name}.png").stat().st_size > 0
    assert flow_runs(workspace) == ["Crashed", "Completed"]
    assert processes_with(str(workspace)) == []

    trained = (folder / "training.json").stat().st_mtime_ns
    again = run(command, environment, tmp_path, timeout=600)
    assert "dataset, found built" in again
    assert "Training: " not in again
    assert (folder / "training.json").stat().st_mtime_ns == trained
    assert len(list((workspace / "runs").iterdir())) == 1


def test_bad_option_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    try:
        assert main(["--preset", "huge"]) == 2
        assert main(["--preset", "tiny", "--set", "trainer.bach=3"]) == 2
    finally:
        os.environ.clear()
        os.environ.update(before)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: no preset or file 'huge'")
    assert lines[1:] == ["error: tiny: unknown key 'trainer.bach'"]
