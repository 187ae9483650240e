"""Progress in lines, and a training in pieces of some minutes."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.progress import TrainProgress, describe
from srgan.runs import RunFolder

if TYPE_CHECKING:
    from srgan.config import RunConfig

_LINE_EVERY = 60.0


def counting(say: Callable[[str], None], what: str) -> Callable[[int, int], None]:
    """A callback for (done, total) that says a line a minute."""
    said = time.monotonic()

    def count(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _LINE_EVERY:
            said = time.monotonic()
            say(f"{what} {done:,}/{total:,}")

    return count


class TimeSlice:
    """A training listener that asks for the end, as Ctrl-C would, when its minutes are over."""

    def __init__(self, minutes: float, say: Callable[[str], None]) -> None:
        self._minutes = minutes
        self._say = say
        self._began = time.monotonic()
        self._said = -_LINE_EVERY
        self._asked = False

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None:
        self._say(f"training: {folder}")
        name = re.compile(rf"{re.escape(config.name)}-[0-9a-f]{{12}}(-\d+)?")
        others = (path for path in folder.parent.iterdir() if name.fullmatch(path.name))
        for other in sorted(others):
            if other.name != run_id and not RunFolder(other).result.exists():
                # Hours of training would seem lost, and nobody would know why.
                self._say(f"note: {other} is unfinished too: other settings, data or code")

    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        shown = "  ".join(
            f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith("val/")
        )
        if shown:
            self._say(f"{stage} {step:,}  {shown}")

    def on_progress(self, progress: TrainProgress) -> None:
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY:
            self._said = now
            self._say(
                f"{progress.stage} {progress.step:,}/{progress.steps:,}  {describe(progress)}"
            )
        if self._minutes and not self._asked and now - self._began >= 60 * self._minutes:
            self._asked = True
            self._say(f"the {self._minutes:g} minutes of this piece are over")
            # The trainer's own handler: it finishes the step, saves and raises.
            signal.raise_signal(signal.SIGTERM)
