"""Child processes end with us, whatever happens to us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.processes import (
    ServiceError,
    end_family,
    family,
    free_port,
    locked,
    new_mark,
    start_service,
)
from flows.server import prefect_for_us
from srgan.workspace import Workspace
from tests.flows.helpers import ROOT

SLEEP = "import time; time.sleep(120)"
# A child in a session of its own that starts a grandchild in another one, as Prefect's worker does.
FAMILY = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(120)
"""
HEAD = f"""
import sys, time
from pathlib import Path
from flows.processes import start_guardian, start_service
mark, folder = sys.argv[1], Path(sys.argv[2])
start_guardian(mark, [folder / "mine", folder / "foreign"])
start_service("child", [sys.executable, "-c", {FAMILY!r}], mark=mark, environment={{}},
              log=folder / "child.log")
print("up", flush=True)
time.sleep(120)
"""


def wait_until(condition: object, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


def test_family_ends_when_its_head_is_killed(tmp_path: Path) -> None:
    mark = new_mark()
    (tmp_path / "mine").write_text(f"# {mark}\n")
    (tmp_path / "foreign").write_text("# somebody else's\n")
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, mark, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert head.stdout is not None
    assert head.stdout.readline() == b"up\n"
    assert wait_until(lambda: len(family(mark)) == 2, 20)
    members = family(mark)
    head.send_signal(signal.SIGKILL)
    head.wait()
    _, alive = psutil.wait_procs(members, 20)
    assert not alive
    assert wait_until(lambda: not (tmp_path / "mine").exists(), 10)
    assert (tmp_path / "foreign").exists()
    head.stdout.close()


def test_end_family_insists(tmp_path: Path) -> None:
    mark = new_mark()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    service = start_service(
        "stubborn", [sys.executable, "-c", stubborn], mark=mark, environment={}, log=tmp_path / "l"
    )
    time.sleep(0.5)
    assert end_family(mark, grace=0.5) == 1
    # Reaped in there, so that its exit status is not known here.
    assert service.process.poll() is not None
    assert end_family(mark) == 0


def test_death_of_a_service_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = start_service(
        "thing",
        [sys.executable, "-c", "print('first'); raise SystemExit('no database')"],
        mark=new_mark(),
        environment={},
        log=tmp_path / "thing.log",
    )
    with pytest.raises(ServiceError, match=r"(?s)thing ended \(exit status 1\).*no database"):
        service.wait_until(lambda: False, 30)


def test_service_that_does_not_answer_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    mark = new_mark()
    service = start_service(
        "deaf", [sys.executable, "-c", SLEEP], mark=mark, environment={}, log=tmp_path / "deaf.log"
    )
    with pytest.raises(ServiceError, match=r"deaf did not answer within 1 s\..*deaf\.log"):
        service.wait_until(lambda: False, 1)
    service.stop()
    assert not family(mark)


def test_environment_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("REMOVED", "there")
    code = "from os import environ as e; print(e.get('KEPT'), e.get('REMOVED'), e['ADDED'])"
    for _ in range(2):
        start_service(
            "environment",
            [sys.executable, "-c", code],
            mark=new_mark(),
            environment={"REMOVED": None, "ADDED": "added"},
            log=tmp_path / "e.log",
        ).process.wait(20)
    assert (tmp_path / "e.log").read_text() == "kept None added\n"
    assert (tmp_path / "e.previous.log").exists()


def test_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_port(port)
        assert found > port
        assert free_port(port, reserved=[found]) > found
        with pytest.raises(ServiceError, match=f"port {port}: .*taken"):
            free_port(port, attempts=1)


def test_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with locked(path, "taken"), pytest.raises(ServiceError, match="taken"), locked(path, "taken"):
        pass
    with locked(path, "taken"):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_server_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with (
        pytest.raises(ServiceError, match=r"PREFECT_API_URL=http://127\.0\.0\.1:9/api: no Prefect"),
        prefect_for_us(Workspace(tmp_path)),
    ):
        pass
