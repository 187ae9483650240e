"""What a person at a terminal sees of a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from srgan.runs import Stage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from srgan.config import RunConfig


@dataclass(frozen=True)
class TrainProgress:
    """Where training is: sent every ``trainer.log_every`` steps.

    ``input_wait`` is the share of a step spent waiting for data, 0 to 1; ``losses`` are those of
    the stage at this step.
    """

    stage: Stage
    step: int
    steps: int
    images_per_second: float
    input_wait: float
    eta_seconds: float
    losses: Mapping[str, float]


class CallbackListener:
    """A training listener that passes progress on to a function."""

    def __init__(self, callback: Callable[[TrainProgress], None]) -> None:
        self._callback = callback

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None:
        """Nothing to tell yet."""

    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics are for trackers."""

    def on_progress(self, progress: TrainProgress) -> None:
        self._callback(progress)


class LiveBars:
    """Rich bars that are drawn inside a ``with`` block."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class TrainingBar(LiveBars):
    """A Rich bar per stage: steps, images/s, input wait, losses, ETA; plain lines without a tty."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        super().__init__(
            Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=console,
                disable=not console.is_terminal,
            )
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._printed = -1.0

    def __call__(self, progress: TrainProgress) -> None:
        name = "pre-training" if progress.stage == "pretrain" else "GAN"
        detail = describe(progress)
        if not self._console.is_terminal:
            # A log file wants a line now and then, not a bar.
            tenth = progress.step * 10 // max(1, progress.steps)
            key = tenth + 100.0 * (progress.stage == "gan")
            if key != self._printed:
                self._printed = key
                self._console.print(f"{name} {progress.step}/{progress.steps}  {detail}")
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, detail="")
        self._progress.update(
            self._tasks[name], completed=progress.step, total=progress.steps, detail=detail
        )


def describe(progress: TrainProgress) -> str:
    """``118 img/s  wait 1%  g/content 0.0191  ETA 3:20``."""
    minutes, seconds = divmod(round(progress.eta_seconds), 60)
    shown = ("g/content", "g/adversarial", "d/real", "d/fake")
    losses = "  ".join(
        f"{name} {progress.losses[name]:.4f}" for name in shown if name in progress.losses
    )
    return (
        f"{progress.images_per_second:.0f} img/s  wait {progress.input_wait:.0%}  {losses}  "
        f"ETA {minutes}:{seconds:02d}"
    )


class CountBar(LiveBars):
    """A Rich bar for (done, total); nothing where there is no terminal."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        super().__init__(Progress(console=console, disable=not console.is_terminal, transient=True))
        self._task = self._progress.add_task(label, total=None)

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
