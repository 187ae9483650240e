"""Two processes that train one run, joined by TF_CONFIG over loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from srgan.errors import TrainingError
from srgan.metricslog import read_metrics
from srgan.records import Dataset
from srgan.runs import RunFolder
from srgan.workers import Workers
from srgan.workspace import Workspace
from tests.srgan.runs import assert_same_losses, checkpoints, finish, position, start

SETTINGS = [
    "generator.architecture=srresnet",
    "generator.norm=batch",
    "pretrain.batch=8",
    "pretrain.steps=40",
    "gan.batch=8",
    "gan.adversarial=relativistic",
    "trainer.precision=float32",
    "trainer.log_every=1",
]


def config_of(index: int, addresses: list[str]) -> str:
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def start_two(dataset: Dataset, root: Path, *settings: str) -> list[subprocess.Popen[str]]:
    """Each with a workspace of its own, as on machines that share no disk."""
    addresses = free_addresses(2)
    return [
        start(
            dataset,
            Workspace(root / f"worker{index}"),
            *settings,
            TF_CONFIG=config_of(index, addresses),
        )
        for index in range(2)
    ]


def signal_second_at(
    processes: list[subprocess.Popen[str]], root: Path, step: int, number: signal.Signals
) -> None:
    """Once the chief has logged ``step``."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for log in root.glob("worker0/runs/*/metrics.jsonl"):
            if any(e["step"] >= step for e in read_metrics(log)):
                processes[1].send_signal(number)
                return
        assert processes[0].poll() is None, processes[0].communicate()[1][-3000:]
        time.sleep(0.05)
    pytest.fail("nothing was logged")


@pytest.mark.slow
def test_two_workers_train_like_one_process(dataset: Dataset, tmp_path: Path) -> None:
    """Stopped through the one that is not the chief, and continued."""
    alone = finish(start(dataset, Workspace(tmp_path / "alone"), *SETTINGS))
    stopped = start_two(dataset, tmp_path, *SETTINGS)
    signal_second_at(stopped, tmp_path, 3, signal.SIGTERM)
    errors = []
    for process in stopped:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 75, err[-3000:]
        errors.append(err.strip().splitlines()[-1])
    assert "stopped by another worker at" in errors[0]
    assert "stopped by SIGTERM at" in errors[1]
    (chief,) = (tmp_path / "worker0" / "runs").iterdir()
    run = RunFolder(chief)
    where = position(checkpoints(run)[-1])
    assert where.name == "pretrain"
    assert where.step >= 3

    first, second = start_two(dataset, tmp_path, *SETTINGS)
    assert finish(first).path == finish(second).path == run.path
    assert not (tmp_path / "worker1" / "runs").exists()
    assert_same_losses(alone, run)


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_others_with_one_line(
    dataset: Dataset, tmp_path: Path
) -> None:
    endless = [*SETTINGS, "pretrain.steps=100000"]
    first, second = start_two(dataset, tmp_path, *endless)
    signal_second_at([first, second], tmp_path, 3, signal.SIGKILL)
    _, err = first.communicate(timeout=200)
    second.communicate(timeout=60)
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 2, err[-3000:]
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: worker 0 of 2: another worker cannot be reached")


def test_each_worker_knows_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["a:1", "b:1", "c:1"]
    monkeypatch.setenv("TF_CONFIG", config_of(2, addresses))
    workers = Workers.from_environment()
    assert (workers.index, workers.count, workers.is_chief) == (2, 3, False)
    assert workers.rows(12) == range(8, 12)
    chief = {
        "cluster": {"chief": ["a:1"], "worker": ["b:1"]},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(chief))
    assert Workers.from_environment().index == 1
    monkeypatch.delenv("TF_CONFIG")
    assert Workers.from_environment().alone


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "TF_CONFIG: .*expected"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "TF_CONFIG: 'task'"),
        ('{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}}', r"has tasks \['ps', 'worker'\]"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "list"),
    ],
)
def test_a_wrong_cluster_is_one_line(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingError, match=reason):
        Workers.from_environment()
