"""A training in pieces: progress in lines, and an end after some minutes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.progress import TrainProgress, describe

if TYPE_CHECKING:
    from srgan.config import RunConfig

_LINE_EVERY = 60.0


class TimeSlice:
    """A training listener that asks for the end, as Ctrl-C would, when its minutes are over."""

    def __init__(self, minutes: float, say: Callable[[str], None]) -> None:
        self._minutes = minutes
        self._say = say
        self._began = time.monotonic()
        self._said = -_LINE_EVERY
        self._asked = False

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None:  # noqa: ARG002
        self._say(f"training: {folder}")

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
