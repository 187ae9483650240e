"""Worker processes of the local engine that are missed when they die."""

from __future__ import annotations

import shlex
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import psutil

from beam_jobs.engines.beam import BEAM_THREADS
from srgan.errors import SrganError


class WorkerLostError(SrganError):
    """A worker process was killed from outside, as a system short of memory does."""


def run_in_processes(run: Callable[[Any], None]) -> None:
    """Call ``run`` with a Beam runner whose workers are processes of their own.

    It is Beam's ``multi_processing`` mode with a silent worker. There a worker that is killed
    leaves the runner waiting for ever; here that is a :class:`WorkerLostError`, and no worker
    outlives this call.
    """
    token = uuid.uuid4().hex
    outcome: list[BaseException] = []
    lost = threading.Event()

    def work() -> None:
        try:
            run(_runner(token))
        except BaseException as error:
            outcome.append(error)

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name not in BEAM_THREADS:
            previous(args)
        elif args.thread.name == "run_worker":
            lost.set()

    thread = threading.Thread(target=work, name="beam pipeline", daemon=True)
    previous = threading.excepthook
    threading.excepthook = hook
    try:
        thread.start()
        while thread.is_alive() and not lost.is_set():
            thread.join(0.2)
        if lost.is_set() and not outcome:
            raise WorkerLostError(
                "a worker process was killed, perhaps for want of memory; run the same build "
                "again to go on, with a smaller --workers"
            )
    finally:
        _end_workers(token)
        threading.excepthook = previous
    if outcome:
        raise outcome[0]


def _runner(token: str) -> Any:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    # exec: a shell between would keep the worker from seeing that the driver is gone.
    command = f"exec {shlex.quote(sys.executable)} -m beam_jobs.worker {token}"
    return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command))


def _end_workers(token: str) -> None:
    workers = []
    for process in psutil.Process().children(recursive=True):
        try:
            if token in process.cmdline():
                process.kill()
                workers.append(process)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(workers, timeout=5)
    if workers:
        for thread in threading.enumerate():
            # They have yet to say that their worker is gone.
            if thread.name.startswith(BEAM_THREADS):
                thread.join(5)
