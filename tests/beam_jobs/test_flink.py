"""Builds on a real Flink cluster: job server, job manager, two task managers, Python workers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from beam_jobs.build_pairs import build
from flows.processes import free_port
from infra.flink.distribution import cached, fetch
from tests.beam_jobs.image_sets import (
    SMALL,
    arguments,
    hashes,
    run_command,
    start_command,
    write_set,
)
from tests.support import ROOT, lines_until, needs

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

# Takes a photo away between the two passes, as somebody who tidies up would.
LOSING_A_PHOTO = """
import sys
from pathlib import Path
from beam_jobs import build_pairs as job
from beam_jobs.command import run_command
photo = Path(sys.argv.pop(1))
def build(*args, **options):
    def listen(progress):
        if progress.stage == "inventory" and progress.done == progress.total:
            photo.unlink(missing_ok=True)
    return job.build(*args, **{**options, "progress": listen})
sys.exit(run_command(sys.argv[1:], build))
"""


@dataclass
class Cluster:
    """A running ``python -m infra.flink.cluster``."""

    process: subprocess.Popen[str]
    folder: Path
    rest: str
    arguments: list[str]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def jobs(self, *states: str) -> list[dict[str, Any]]:
        jobs = self.get("/jobs/overview")["jobs"]
        found = [job for job in jobs if not states or job["state"] in states]
        return sorted(found, key=lambda job: int(job["start-time"]))

    def restarts(self, job: dict[str, Any]) -> int:
        """How often tasks of a job failed and were started again."""
        history = self.get(f"/jobs/{job['jid']}/exceptions?maxExceptions=20")
        return len(history["exceptionHistory"]["entries"])

    def members(self, program: str = "") -> list[psutil.Process]:
        """Processes below the cluster program, of them those that run ``program``."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any(part.endswith(program) for part in process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def task_managers(self) -> int:
        return int(self.get("/overview")["taskmanagers"])


@contextmanager
def running_cluster(folder: Path, first_port: int, *more: str) -> Iterator[Cluster]:
    ports = {name: free_port(first_port + 50 * i) for i, name in enumerate(("rest", "job", "pool"))}
    command = [sys.executable, "-m", "infra.flink.cluster", "--folder", str(folder), *more]
    command += [f"--{name}-port={port}" for name, port in ports.items()]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        lines = lines_until(process, "Ctrl-C")
        (rest,) = re.findall(r"^Flink +(http\S+)", "".join(lines), re.MULTILINE)
        # As a person would: copied from the line that the cluster prints.
        (copied,) = (line for line in lines if "beam_jobs.build_pairs" in line)
        yield Cluster(process, folder, rest, copied[copied.index("--runner=") :].split())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        process.stdout.close()


def installed() -> None:
    for program, package in (("javac", "default-jdk-headless"), ("mvn", "maven")):
        needs("flink", shutil.which(program), f"no {program}; apt install {package}")
    required = os.environ.get("SRGAN_REQUIRE", "").replace(",", " ").split()
    if {"flink", "all"} & set(required):
        fetch(cached())
    reason = f"{cached().folder} has no jars; python -m infra.flink.distribution fetches them"
    needs("flink", cached().complete, reason)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    installed()
    with running_cluster(tmp_path_factory.mktemp("flink"), 8181) as running:
        yield running


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "people", people=12)


@pytest.fixture(scope="module")
def reference(people: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the local engine makes of it, with one process and with two."""
    roots = [tmp_path_factory.mktemp(f"local-{workers}") for workers in (1, 2)]
    for workers, root in enumerate(roots, start=1):
        build(str(people), str(root), SMALL, workers=workers)
    assert hashes(roots[0]) == hashes(roots[1])
    return hashes(roots[0])


@pytest.mark.parametrize("parallelism", [1, 2])
def test_bytes_are_those_of_the_local_engine(
    cluster: Cluster, people: Path, reference: dict[str, str], tmp_path: Path, parallelism: int
) -> None:
    args = arguments(people, tmp_path, *cluster.arguments, f"--parallelism={parallelism}")
    code, out, err = run_command(args)
    assert (code, "built in" in out) == (0, True), err
    assert hashes(tmp_path) == reference
    last = cluster.jobs()[-1]
    assert last["name"].startswith("srgan-")
    vertices = cluster.get(f"/jobs/{last['jid']}")["vertices"]
    assert max(vertex["parallelism"] for vertex in vertices) == parallelism
    # Python workers end with their job.
    assert _comes_true(lambda: cluster.members("beam_jobs.worker") == [], 20)


def test_workers_in_the_process_of_the_build(
    cluster: Cluster, people: Path, reference: dict[str, str], tmp_path: Path
) -> None:
    endpoint = cluster.arguments[:2]
    assert endpoint[1].startswith("--job_endpoint=")
    args = arguments(people, tmp_path, *endpoint, "--environment_type=LOOPBACK")
    code, _, err = run_command(args)
    assert code == 0, err
    assert [line for line in err.splitlines() if not line.startswith(_PROGRESS)] == []
    assert hashes(tmp_path) == reference


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for several units of work on each worker."""
    return write_set(tmp_path_factory.mktemp("set") / "many", people=25, photos=40, first_seed=100)


@pytest.fixture(scope="module")
def made_of_many(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("local")
    build(str(many), str(root), SMALL, workers=1)
    return hashes(root)


@pytest.mark.parametrize("victim", ["TaskManagerRunner", "beam_jobs.worker"])
def test_work_goes_on_when_a_process_dies(
    cluster: Cluster, many: Path, made_of_many: dict[str, str], tmp_path: Path, victim: str
) -> None:
    """A task manager, or a Python worker, is killed in the middle of the longest stage."""
    assert _comes_true(lambda: cluster.task_managers() == 2, 60)
    command = start_command(arguments(many, tmp_path, *cluster.arguments))
    job = _first_unit(cluster, command, tmp_path)
    victims = cluster.members(victim)
    assert len(victims) == 2
    victims[0].kill()
    _, err = command.communicate(timeout=300)
    assert command.returncode == 0, err
    assert hashes(tmp_path) == made_of_many
    # It did hurt the job, which ended well all the same.
    assert cluster.restarts(job) >= 1
    assert cluster.get(f"/jobs/{job['jid']}")["state"] == "FINISHED"
    # And the cluster is whole again, without workers of the dead.
    assert _comes_true(lambda: cluster.members("beam_jobs.worker") == [], 20)
    assert _comes_true(lambda: cluster.task_managers() == 2, 60)


def test_interrupted_its_workers_stop(cluster: Cluster, many: Path, tmp_path: Path) -> None:
    command = start_command(arguments(many, tmp_path, *cluster.arguments))
    job = _first_unit(cluster, command, tmp_path)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert _comes_true(lambda: job["jid"] not in {j["jid"] for j in cluster.jobs("RUNNING")}, 60)
    plans, parts = (list(tmp_path.glob(f"*/.parts/*.{kind}")) for kind in ("plan", "json"))
    assert 0 < len(parts) < len(plans)


def test_an_error_for_people_is_one_line_and_not_tried_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    people = write_set(tmp_path / "people", people=4, first_seed=70)
    photo = people / "person-71" / "photo-1.png"
    args = arguments(people, tmp_path / "out", *cluster.arguments)
    done = subprocess.run(
        [sys.executable, "-c", LOSING_A_PHOTO, str(photo), *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith(_PROGRESS)]
    (line,) = errors
    assert line.startswith(f"error: {photo}: ")
    assert done.returncode == 2
    last = cluster.jobs()[-1]
    assert last["state"] == "FINISHED"
    assert cluster.restarts(last) == 0


def test_a_second_cluster_gets_other_ports_and_ends_on_sigterm(
    cluster: Cluster, tmp_path: Path
) -> None:
    taken = [int(re.findall(r":(\d+)", cluster.rest)[0])]
    with running_cluster(tmp_path / "second", taken[0], "--task-managers=1") as second:
        assert second.rest != cluster.rest
        assert second.task_managers() == 1
        same = subprocess.run(
            [sys.executable, "-m", "infra.flink.cluster", "--folder", str(second.folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert same.returncode == 2
        assert "is already running" in same.stdout
        _assert_ends(second, signal.SIGTERM)


def test_ctrl_c_leaves_nothing(cluster: Cluster) -> None:
    """The last one: it ends the cluster of all."""
    assert len(cluster.members("TaskManagerRunner")) == 2
    _assert_ends(cluster, signal.SIGINT)


def _first_unit(cluster: Cluster, command: subprocess.Popen[str], root: Path) -> dict[str, Any]:
    """The running job, as soon as something but not all of it is done."""

    def finished() -> bool:
        return any(root.glob("*/.parts/[!.]*.json"))

    assert _comes_true(lambda: finished() or command.poll() is not None, 180)
    (job,) = cluster.jobs("RUNNING")
    return job


_PROGRESS = ("hashing", "making pairs", "composing", "publishing")


def _assert_ends(cluster: Cluster, number: signal.Signals) -> None:
    members = cluster.members()
    ports = {
        connection.laddr.port
        for member in members
        for connection in member.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(members) > 4
    assert len(ports) > 4
    cluster.process.send_signal(number)
    assert cluster.process.wait(30) == 0
    assert cluster.process.stdout is not None
    assert cluster.process.stdout.read().endswith("stopped\n")
    assert psutil.wait_procs(members, 5)[1] == []
    assert [port for port in ports if _listens(port)] == []
    assert not (cluster.folder / "tmp").exists()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
