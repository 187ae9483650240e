"""Builds in processes of their own that start at once, to be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil

from beam_jobs.build_pairs import build
from srgan.dataset_config import DatasetConfig
from srgan.errors import SrganError


class BuildProcess:
    """A build as a process group of its own; Beam is imported before it is forked."""

    def __init__(
        self, inputs: Sequence[str], root: Path, config: DatasetConfig, workers: int = 1
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.beam_jobs.preloaded"])
        arguments = (list(inputs), str(root), config, workers)
        self.process: ForkServerProcess = context.Process(target=_run, args=arguments)
        self.process.start()
        while not self.ended and os.getpgid(self.pid) != self.pid:
            time.sleep(0.001)

    @property
    def pid(self) -> int:
        """Of the process and of its group."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Whether it is over, in whatever way."""
        return not self.process.is_alive()

    def wait(self, seconds: float = 120) -> int:
        """Its exit code: 0, or that of an error for people."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the build hangs"
        return self.process.exitcode

    def kill(self, *, group: bool = True, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and its workers, or it alone: workers then notice and end by themselves."""
        children = psutil.Process(self.pid).children(recursive=True)
        if group:
            os.killpg(self.pid, how)
        else:
            os.kill(self.pid, how)
        self.wait()
        assert psutil.wait_procs(children, timeout=10)[1] == [], "workers outlive their driver"


def _run(inputs: list[str], root: str, config: DatasetConfig, workers: int) -> None:
    os.setsid()
    try:
        build(inputs, root, config, workers=workers)
    except SrganError as error:
        print(f"error: {error}")
        raise SystemExit(error.exit_code) from None
