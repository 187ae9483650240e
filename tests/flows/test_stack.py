"""The local stack from its start to its end, with one training in between."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.processes import free_port
from srgan.workspace import read_environment_file
from tests.flows.helpers import ROOT, processes_with, run
from tests.support import lines_until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
PREFECT = [sys.executable, "-m", "prefect"]

# A run written into the database without the server, as `make demo` does.
WITHOUT_SERVER = """
from srgan.workspace import prepare_environment
workspace = prepare_environment()
from srgan.mlflow_store import connect, experiment_id
client = connect(workspace)
run = client.create_run(experiment_id(client, workspace))
client.log_text(run.info.run_id, "hello", "note.txt")
print("run", run.info.run_id)
"""


@dataclass
class Stack:
    process: subprocess.Popen[str]
    folder: Path
    workspace: Path

    @property
    def values(self) -> dict[str, str]:
        return read_environment_file(self.folder / ".srgan.env")

    def end(self) -> str:
        """What it says until its end."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        self.process.wait(120)
        return rest


@contextmanager
def stack(tmp_path: Path, environment: dict[str, str]) -> Iterator[Stack]:
    """A running stack in a folder and a workspace of its own."""
    folder, workspace = tmp_path / "folder", tmp_path / "workspace"
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "infra.local.stack", "--folder", str(folder)),
            *("--prefect-port", str(free_port(4310)), "--mlflow-port", str(free_port(5310))),
        ],
        env={**environment, "SRGAN_WORKSPACE": str(workspace)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines_until(process, "Ctrl-C")
        yield Stack(process, folder, workspace)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)
        process.stdout.close()


def listens(url: str) -> bool:
    port = int(re.findall(r":(\d+)", url)[0])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_nothing_is_left(found: Stack, values: dict[str, str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := processes_with(str(found.workspace))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
    assert not listens(values["PREFECT_API_URL"])
    assert not listens(values["MLFLOW_TRACKING_URI"])
    assert list(found.folder.iterdir()) == []


def get(url: str, values: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of a page, with or without the stack's password."""
    headers = {}
    if values is not None:
        login = f"{values['MLFLOW_TRACKING_USERNAME']}:{values['MLFLOW_TRACKING_PASSWORD']}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_training_from_another_terminal(
    tmp_path: Path, photos: Path, clean_environment: dict[str, str]
) -> None:
    terminal = {**clean_environment, "COLUMNS": "300", "NO_COLOR": "1"}
    with stack(tmp_path, clean_environment) as running:
        values = running.values
        mlflow = values["MLFLOW_TRACKING_URI"]
        assert os.stat(running.folder / ".srgan.env").st_mode & 0o777 == 0o600

        # Nothing is sourced here: prefect.toml in the working directory is enough.
        start = [*PREFECT, "deployment", "run", "srgan/train"]
        refused = subprocess.run(
            [*start, "-p", 'dataset={"scale": 3}'],
            env=terminal,
            cwd=running.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode != 0
        assert "Validation failed for field 'dataset.scale'" in refused.stdout + refused.stderr

        parameters = {
            "image_set": str(photos),
            "preset": "tiny",
            "dataset": {"hr_size": 48, "name": "people", "min_sharpness": 0},
        }
        command = [*start, "--watch", "--params", json.dumps(parameters)]
        output = run(command, terminal, running.folder, timeout=600)
        assert "finished successfully in 'Completed'" in output

        # Neither server talks to somebody without the password.
        search = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=9"
        assert get(search)[0] == 401
        assert get(f"{values['PREFECT_API_URL']}/admin/version")[0] == 401
        status, found = get(search, values)
        assert status == 200
        (experiment,) = (e for e in json.loads(found)["experiments"] if e["name"] == "srgan")
        # Absolute, so that commands without the server read it as well.
        assert f"{running.workspace}/mlartifacts/" in experiment["artifact_location"]
        without = {**clean_environment, "SRGAN_WORKSPACE": str(running.workspace)}
        direct = run([sys.executable, "-c", WITHOUT_SERVER], without, tmp_path, timeout=120)
        run_id = direct.split("run ")[-1].split()[0]
        page = f"{mlflow}/get-artifact?path=note.txt&run_uuid={run_id}"
        assert get(page, values) == (200, b"hello")

        second = subprocess.run(
            [sys.executable, "-m", "infra.local.stack", "--folder", str(running.folder)],
            env={**clean_environment, "SRGAN_WORKSPACE": str(tmp_path / "other")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert "is already running" in second.stdout

        running.process.send_signal(signal.SIGINT)
        assert "stopped; the workspace is untouched" in running.end()
        assert running.process.returncode == 0
    assert_nothing_is_left(running, values, 5)
    assert (running.workspace / "mlflow.db").exists()


def test_killed_stack_leaves_nothing_and_a_dead_service_is_named(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    with stack(tmp_path, clean_environment) as running:
        values = running.values
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        assert_nothing_is_left(running, values, 30)
    with stack(tmp_path, clean_environment) as again:
        values = again.values
        servers = [line for line in processes_with(str(again.workspace)) if "mlflow server" in line]
        assert servers
        for process in psutil.process_iter(["cmdline"]):
            if " ".join(process.info["cmdline"] or []) in servers:
                process.kill()
        output = again.end()
        assert again.process.returncode == 2
        assert "error: MLflow server ended" in output
    assert_nothing_is_left(again, values, 5)
