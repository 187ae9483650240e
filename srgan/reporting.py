"""What a run tells the world: metrics, validation, fixed examples, curves and animation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from srgan import animation, curves
from srgan.checkpoints import save_generator
from srgan.config import RunConfig
from srgan.metricslog import MetricsLog
from srgan.position import Best, StageRecord
from srgan.progress import TrainProgress
from srgan.runs import RunFolder, Stage
from srgan.validation import Validator


class TrainingListener(Protocol):
    """Who wants to know: progress bars, MLflow, Prefect."""

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None: ...
    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_progress(self, progress: TrainProgress) -> None: ...


class Reporter:
    """Writes the run's folder and tells the listeners; the chief worker has one."""

    def __init__(
        self, folder: RunFolder, validator: Validator, listeners: Sequence[TrainingListener]
    ) -> None:
        self.notes = validator.notes
        self._folder = folder
        self._validator = validator
        self._listeners = listeners
        self._log = MetricsLog(folder.metrics)

    def start_afresh(self) -> None:
        """Remove what a run of this name left that has no checkpoint."""
        self._log.clear()
        animation.clear(self._folder.samples)

    def go_back(self, stage: Stage | None, step: int) -> None:
        """Forget what was logged after a checkpoint from which training goes on."""
        self._log.forget_after(stage, step)

    def metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._log.write(stage, step, values)
        for listener in self._listeners:
            listener.on_metrics(stage, step, values)

    def progress(self, progress: TrainProgress) -> None:
        for listener in self._listeners:
            listener.on_progress(progress)

    def sample(self, stage: Stage, step: int, generator: Any) -> None:
        """A frame of the fixed examples."""
        examples = self._validator.examples
        animation.add_frame(self._folder.samples, stage, step, examples, generator)

    def validate(self, stage: Stage, step: int, generator: Any, record: StageRecord) -> None:
        """Measure the moving average; keep it where it is the best of its stage so far."""
        values = self._validator.measure(generator)
        self.metrics(stage, step, {f"val/{name}": value for name, value in values.items()})
        judge = self._validator.judge(stage)
        if judge is None:
            return
        value, best = values[judge.metric], record.best
        # Weights of a metric may have come or gone since: figures of two kinds say nothing.
        if best is None or best.metric != judge.metric or judge.better(value, best.value):
            record.best = Best(
                metric=judge.metric, value=value, higher_is_better=judge.higher_is_better
            )
            save_generator(generator, self.best_path(stage))

    def best_path(self, stage: Stage) -> Path:
        return self._folder.checkpoints / f"best-{stage}.keras"

    def finish(self) -> None:
        """The files that people look at."""
        curves.draw(self._folder.metrics, self._folder.curves)
        animation.write(self._folder.samples, self._folder.animation)
