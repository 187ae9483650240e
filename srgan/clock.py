"""Step time and input wait, side by side: a slow input shows as wait, not as a slow network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from srgan.schedule import UNMEASURED_STEPS

T = TypeVar("T")
_WINDOW = 50


class StepClock:
    """Measures the last steps. Healthy: ``input_wait`` under 0.05."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._waits: deque[float] = deque(maxlen=_WINDOW)
        self._seen = 0
        self._begun = self._taken = time.perf_counter()

    def wait_for(self, batches: Iterator[T]) -> T:
        """The next batch; the step begins when one asks for it."""
        self._begun = time.perf_counter()
        batch = next(batches)
        self._waits.append(time.perf_counter() - self._begun)
        return batch

    def tick(self) -> None:
        """The step has ended, its result is here."""
        self._seen += 1
        if self._seen > UNMEASURED_STEPS:
            self._steps.append(time.perf_counter() - self._begun)

    def take_seconds(self) -> float:
        """Wall time since this was last called: steps and everything between them."""
        now = time.perf_counter()
        passed, self._taken = now - self._taken, now
        return passed

    @property
    def measured(self) -> int:
        """Steps measured so far, at most the window."""
        return len(self._steps)

    def seconds_per_step(self) -> float:
        """Mean of the window; 0 before the first measured step."""
        return sum(self._steps) / len(self._steps) if self._steps else 0.0

    def images_per_second(self) -> float:
        seconds = self.seconds_per_step()
        return self._batch / seconds if seconds else 0.0

    def input_wait(self) -> float:
        """Share of the step's time spent waiting for input, 0 to 1."""
        waits = list(self._waits)[-len(self._steps) :] if self._steps else []
        total = sum(self._steps)
        return sum(waits) / total if total else 0.0


class Chores:
    """How long what comes between steps takes each time: validation, samples, checkpoints."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """The last time counts: the first one of a process also compiles."""
        begun = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - begun

    def seconds(self, name: str) -> float:
        """0 before the first time."""
        return self._seconds.get(name, 0.0)
