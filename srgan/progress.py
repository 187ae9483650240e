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

TITLES: Mapping[Stage, str] = {"pretrain": "pre-training", "gan": "GAN"}
_SHOWN = (
    (("g/content", "content"), ("g/adversarial", "adversarial")),
    (("d/real", "D on HR"), ("d/fake", "on SR")),
)


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
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(
            Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=22),
                TextColumn("{task.fields[steps]:>13}", style="progress.download"),
                TextColumn("{task.fields[detail]}"),
                console=console,
                disable=not console.is_terminal,
            )
        )
        self._console = console
        self._tasks: dict[Stage, TaskID] = {}
        self._printed: tuple[Stage, int] | None = None

    def __call__(self, progress: TrainProgress) -> None:
        if not self._console.is_terminal:
            self._print(progress)
            return
        if progress.stage not in self._tasks:
            self._end_others()
            self._tasks[progress.stage] = self._progress.add_task(
                TITLES[progress.stage], steps="", detail=""
            )
        self._progress.update(
            self._tasks[progress.stage],
            completed=progress.step,
            total=progress.steps,
            steps=f"{progress.step:,}/{progress.steps:,}",
            detail="\n".join([_pace(progress), *_loss_lines(progress)]),
        )

    def _print(self, progress: TrainProgress) -> None:
        """A log file wants a line now and then, not a bar."""
        due = progress.stage, progress.step * 10 // max(1, progress.steps)
        if due != self._printed:
            self._printed = due
            self._console.print(
                f"{TITLES[progress.stage]} {progress.step:,}/{progress.steps:,}  "
                f"{describe(progress)}",
                soft_wrap=True,
                highlight=False,
            )

    def _end_others(self) -> None:
        for task in self._progress.tasks:
            passed = _clock(task.elapsed or 0.0)
            self._progress.update(task.id, detail=f"[green]done in {passed}[/]")
            self._progress.stop_task(task.id)


def describe(progress: TrainProgress) -> str:
    """``118 img/s  wait 1%  ETA 3:20  content 0.0191``."""
    return "  ".join([_pace(progress), *_loss_lines(progress)])


def _pace(progress: TrainProgress) -> str:
    return (
        f"{progress.images_per_second:.0f} img/s  wait {progress.input_wait:.0%}  "
        f"ETA {_clock(progress.eta_seconds)}"
    )


def _loss_lines(progress: TrainProgress) -> list[str]:
    """The generator's losses, and below them what the discriminator loses on HR and on SR."""
    lines = [
        "  ".join(
            f"{label} {progress.losses[name]:.4f}"
            for name, label in part
            if name in progress.losses
        )
        for part in _SHOWN
    ]
    return [line for line in lines if line]


def _clock(seconds: float) -> str:
    """``3:20``, ``1:03:20``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


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
