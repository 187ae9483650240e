"""Child processes that never outlive us: start, wait until they answer, end, even after a kill -9.

Every process started here carries a mark in its environment, and hands it to all that it starts
itself, so the whole family can be found whatever sessions and groups its members moved to. A
small guardian process ends the family when its head is gone without having done so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from srgan.errors import SrganError

MARK = "SRGAN_PROCESS_FAMILY"


class ServiceError(SrganError):
    """A server or worker did not start, or ended by itself."""


@dataclass(frozen=True)
class Service:
    """A running child process with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check_alive(self) -> None:
        """:class:`ServiceError` with the end of its log when the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ServiceError(f"{self.name} ended (exit status {code}).{self._log_end()}")

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until ``ready``; :class:`ServiceError` after ``timeout`` seconds or its end."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{self.name} did not answer within {timeout:.0f} s.{self._log_end()}"
                )
            time.sleep(0.2)

    def stop(self, grace: float = 10.0, first: signal.Signals | None = signal.SIGTERM) -> None:
        """Ask it to end with ``first``, insist after ``grace`` seconds."""
        if self.process.poll() is None:
            if first is not None:
                self.process.send_signal(first)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def _log_end(self, lines: int = 15) -> str:
        text = self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""
        tail = "\n  ".join(line[:200] for line in text.splitlines()[-lines:])
        return f" The end of {self.log}:\n  {tail}" if tail else f" Its log is {self.log}"


def new_mark() -> str:
    """A fresh value for :data:`MARK`."""
    return secrets.token_hex(8)


def start_service(
    name: str,
    command: Sequence[str],
    *,
    mark: str,
    environment: Mapping[str, str | None],
    log: Path,
    folder: Path | None = None,
) -> Service:
    """Start a service in a session of its own, so that Ctrl-C reaches us alone.

    ``environment`` is added to ours (``None`` removes a name); output goes to ``log``, and the
    previous log is kept beside it.
    """
    merged = {**os.environ, **environment, MARK: mark}
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        os.replace(log, log.with_suffix(".previous.log"))
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in merged.items() if value is not None},
            cwd=folder,
            start_new_session=True,
        )
    return Service(name, process, log)


def start_guardian(mark: str, files: Sequence[Path] = ()) -> subprocess.Popen[bytes]:
    """Start the process that, once we are gone, ends the family and removes its ``files``.

    Of ``files`` only those are removed that contain the mark.
    """
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    # Found from any working directory.
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, environment["PYTHONPATH"]] if "PYTHONPATH" in environment else [root]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return subprocess.Popen(
        [sys.executable, "-m", "flows.processes", str(os.getpid()), mark, *map(str, files)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )


def end_family(mark: str, grace: float = 10.0) -> int:
    """End every process that carries ``mark``; returns how many there were."""
    members = family(mark)
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(members, grace)
    # What the family started meanwhile is in it too.
    for process in {*alive, *family(mark)}:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, 5)
    return len(members)


def family(mark: str) -> list[psutil.Process]:
    """All processes that carry ``mark``, without ourselves."""
    members = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                members.append(process)
        except (psutil.Error, OSError):
            continue
    return members


@contextlib.contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold the lock file ``path``; :class:`ServiceError` with ``otherwise`` when another has it.

    The kernel releases it however the process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(otherwise) from None
        yield
    finally:
        os.close(descriptor)


def free_port(preferred: int, reserved: Sequence[int] = (), attempts: int = 50) -> int:
    """``preferred``, or the next port on loopback that nobody listens on."""
    for port in range(preferred, preferred + attempts):
        if port not in reserved and _is_free(port):
            return port
    last = preferred + attempts - 1
    raise ServiceError(f"port {preferred}: it and all up to {last} are taken; choose another one")


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether an HTTP GET of ``url`` gives a success."""
    try:
        request = urllib.request.Request(url, headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.URLError):
        return False


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _guard(head: int, mark: str, files: Sequence[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == head:
        time.sleep(0.5)
    end_family(mark, grace=5.0)
    for path in map(Path, files):
        # By now another head may have written its own.
        if path.exists() and mark in path.read_text("utf-8"):
            path.unlink()


if __name__ == "__main__":
    _guard(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
