"""Training runs in processes of their own, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from numpy.typing import NDArray

from srgan.metricslog import read_metrics
from srgan.position import Position
from srgan.records import Dataset
from srgan.runs import RunFolder
from srgan.workspace import Workspace
from tests.support import ROOT


def start(
    dataset: Dataset, workspace: Workspace, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    """``train_once`` with these overrides and options."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.srgan.train_once", dataset.place, *arguments],
        cwd=ROOT,
        env={**os.environ, "SRGAN_WORKSPACE": str(workspace.root), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait; standard error of a process that ended with ``code``."""
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err[-3000:]
    return err


def finish(process: subprocess.Popen[str]) -> RunFolder:
    """Wait; the folder of a run that was finished."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return RunFolder(Path(out.strip().splitlines()[-1]))


def in_turn(dataset: Dataset, *runs: tuple[Workspace, list[str], int]) -> tuple[list[Path], str]:
    """Train in these workspaces with these arguments, one after the other, each to end with this
    code; the folders of those that were finished, and standard error of all."""
    arguments: list[str] = []
    for workspace, own, _ in runs:
        arguments += ["--then", f"--workspace={workspace.root}", *own]
    process = start(dataset, runs[0][0], *arguments[1:])
    out, err = process.communicate(timeout=500)
    lines = out.splitlines()
    codes = [int(line.removeprefix("ended ")) for line in lines if line.startswith("ended ")]
    assert codes == [code for _, _, code in runs], err[-3000:]
    return [Path(line) for line in lines if not line.startswith("ended ")], err


def checkpoints(run: RunFolder) -> list[Path]:
    """Oldest first."""
    return sorted(run.checkpoints.glob("checkpoint-*"))


def position(checkpoint: Path) -> Position:
    return Position.model_validate_json((checkpoint / "position.json").read_bytes())


def state(checkpoint: Path) -> dict[str, NDArray[Any]]:
    """Every variable of a checkpoint: networks, average, moments, loss scales."""
    reader = tf.train.load_checkpoint(str(checkpoint / "state"))
    names = [name for name, shape in reader.get_variable_to_shape_map().items()]
    return {n: reader.get_tensor(n) for n in names if n.endswith("VARIABLE_VALUE")}


def same_bits(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> bool:
    def digest(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        return {n: hashlib.sha256(a.tobytes()).hexdigest() for n, a in arrays.items()}

    return digest(first) == digest(second)


def logged(run: RunFolder, name: str) -> list[tuple[str, int, float]]:
    """(stage, step, value) of a metric."""
    return [(e["stage"], e["step"], e[name]) for e in read_metrics(run.metrics) if name in e]


def figures(run: RunFolder) -> list[dict[str, float]]:
    """The log without what depends on the clock, and without the penalty: at steps that have none
    the last one is shown, and after a start none is known yet."""
    other = ("images_per_second", "input_wait", "d/r1")
    return [{k: v for k, v in e.items() if k not in other} for e in read_metrics(run.metrics)]


def result(run: RunFolder) -> dict[str, Any]:
    return dict(json.loads(run.result.read_text()))


def assert_same_losses(first: RunFolder, second: RunFolder) -> None:
    """Equal to a hundred-thousandth in the first eight steps of a stage, to a hundredth after.

    Sums in another order differ in their last bit (6e-8); every step after makes more of it.
    """
    names = ("g/content", "g/total", "g/adversarial", "d/real", "d/fake", "val/psnr_y")
    for one, other in zip(figures(first), figures(second), strict=True):
        assert (one["stage"], one["step"]) == (other["stage"], other["step"])
        for name in set(names) & set(one):
            relative = 1e-5 if one["step"] <= 8 else 1e-2
            assert other[name] == pytest.approx(one[name], rel=relative), (one, other)
