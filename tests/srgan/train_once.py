"""Trains the preset ``tiny``: dataset, then overrides and options; to be killed.

``--workspace=FOLDER`` is where. ``--kill-at=pretrain:17`` ends it by SIGKILL when that step is
logged, ``--term-at=`` by SIGTERM. After ``--then`` follows another run, each in a process of its
own that is forked from one with TensorFlow imported. Prints the run's folder; with ``--then`` also
``ended <exit code>`` for each.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from srgan.config import RunConfig, load_run_config
from srgan.errors import SrganError
from srgan.progress import TrainProgress
from srgan.records import open_dataset
from srgan.trainer import train
from srgan.workspace import prepare_environment

_SIGNALS = {"--kill-at": signal.SIGKILL, "--term-at": signal.SIGTERM}


class Killer:
    """Sends this process a signal at a step."""

    def __init__(self, number: signal.Signals, stage: str, step: int) -> None:
        self._number = number
        self._place = (stage, step)

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None: ...

    def on_progress(self, progress: TrainProgress) -> None: ...

    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        if (stage, step) == self._place and "g/total" in metrics:
            os.kill(os.getpid(), self._number)


def run(dataset: str, *arguments: str) -> int:
    listeners = []
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option == "--workspace":
            os.environ["SRGAN_WORKSPACE"] = value
        if option in _SIGNALS:
            stage, _, step = value.partition(":")
            listeners.append(Killer(_SIGNALS[option], stage, int(step)))
    workspace = prepare_environment()
    overrides = [argument for argument in arguments if not argument.startswith("--")]
    try:
        result = train(
            load_run_config("tiny", overrides),
            [open_dataset(dataset)],
            workspace,
            listeners=listeners,
        )
    except SrganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(result.folder)
    return 0


def in_a_fork(dataset: str, *arguments: str) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run(dataset, *arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(dataset: str, *arguments: str) -> int:
    if "--then" not in arguments:
        return run(dataset, *arguments)
    for part in "\n".join(arguments).split("\n--then\n"):
        print(f"ended {in_a_fork(dataset, *part.splitlines())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
