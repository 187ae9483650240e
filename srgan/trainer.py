"""Train a generator: the life cycle of a run, from its identity to its result."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import keras

from srgan import animation, curves, storage
from srgan.checkpoints import (
    Checkpoints,
    Counters,
    copy_weights,
    get_item,
    load_generator,
    planned_steps,
    save_generator,
    set_item,
)
from srgan.clock import StepClock
from srgan.config import RunConfig
from srgan.data import PairSource, distributed, training_batches
from srgan.devices import make_strategy, resolve_precision
from srgan.errors import DatasetError, TrainingError
from srgan.interrupts import Interrupts
from srgan.losses import build_content_loss
from srgan.metricslog import MetricsLog
from srgan.progress import TrainProgress
from srgan.records import Dataset
from srgan.runs import (
    STAGES,
    DatasetReference,
    RunFolder,
    Stage,
    StageChoice,
    TrainResult,
    find_run_folder,
    locked,
    run_identity,
)
from srgan.schedule import MEASURED_STEPS, learning_rate, steps_for_budget
from srgan.state import average_decay, create_state, reset_optimizers
from srgan.step import make_step
from srgan.training_config import StageConfig
from srgan.validation import Validator
from srgan.workspace import Workspace


class TrainingListener(Protocol):
    """Who wants to know: progress bars, MLflow, Prefect."""

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None: ...
    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_progress(self, progress: TrainProgress) -> None: ...


def train(
    config: RunConfig,
    datasets: Sequence[Dataset],
    workspace: Workspace,
    *,
    stage: StageChoice = "all",
    new: bool = False,
    initial: Path | None = None,
    initial_name: str | None = None,
    listeners: Sequence[TrainingListener] = (),
) -> TrainResult:
    """Train as ``config`` says and return what is in the run's folder afterwards.

    1. The run's identity follows from the settings, the datasets and the start; a finished run
       is returned at once, an interrupted one goes on where it was.
    2. ``pretrain`` minimises the content loss, ``gan`` adds the adversarial one.
    3. The moving average of the generator is what is validated, sampled and kept.

    ``initial`` is a ``.keras`` file to start from, ``initial_name`` how lineage calls it. Raises
    subclasses of :class:`SrganError`; :class:`Interrupted` after SIGTERM or Ctrl-C, with
    everything saved.
    """
    _check_scale(config, datasets)
    # Which record a step sees must not depend on the order in which datasets were named.
    datasets = sorted(datasets, key=lambda dataset: dataset.digest)
    origin = initial_name or (str(initial) if initial else None)
    identity = run_identity(config, datasets, stage, origin)
    folder = find_run_folder(workspace, identity, new=new)
    finished = folder.read_result()
    if finished is not None:
        return finished
    with locked(folder), _precision(resolve_precision(config.trainer)), Interrupts() as interrupts:
        folder.write_config(config)
        for listener in listeners:
            listener.on_start(folder.path.name, folder.path, config)
        run = _Run(config, datasets, workspace, folder, stage, interrupts, listeners)
        run.start_from(initial)
        run.train()
        result = run.result(datasets, origin)
        folder.write_result(result)
        # A signal that came after the last step: what follows training must not start.
        interrupts.raise_if_requested(f"{folder.path.name}, training finished")
    return result


class _Run:
    """The state of one training process."""

    def __init__(
        self,
        config: RunConfig,
        datasets: Sequence[Dataset],
        workspace: Workspace,
        folder: RunFolder,
        stage: StageChoice,
        interrupts: Interrupts,
        listeners: Sequence[TrainingListener],
    ) -> None:
        self.config = config
        self.folder = folder
        self.interrupts = interrupts
        self.listeners = listeners
        self.stages = [s for s in STAGES if stage in ("all", s) and getattr(config, s).steps]
        if not self.stages:
            raise TrainingError("nothing to train: every chosen stage has 0 steps")
        # Losses first: missing weights are found before minutes of training, not after.
        self.content = {
            s: build_content_loss(getattr(config, s), config.perceptual) for s in self.stages
        }
        self.source = PairSource(datasets, "train", cache=workspace.cache / "shards")
        self.validator = Validator(config, datasets, workspace)
        self.strategy = make_strategy(config.trainer)
        keras.utils.set_random_seed(config.trainer.seed)
        self.state = create_state(config, self.strategy)
        self.counters = Counters()
        self.checkpoints = Checkpoints(folder, self.state, self.counters, config.trainer.keep)
        self.log = MetricsLog(folder.metrics)
        self._rate = self._validation_seconds = self._sample_seconds = 0.0

    def start_from(self, initial: Path | None) -> None:
        """Continue from the run's newest checkpoint, else from ``initial``, else from scratch."""
        if self.checkpoints.restore():
            stage, step = self._position()
            self.log.forget_after(stage, step)
            return
        if initial is not None:
            model = load_generator(initial)
            copy_weights(model, [self.state.generator, self.state.average], str(initial))
        self.log.clear()
        animation.clear(self.folder.samples)
        self._sample(self.stages[0], 0)
        self._validate(self.stages[0], 0)

    def train(self) -> None:
        """Both stages in order, then the files that people look at."""
        for index, stage in enumerate(STAGES):
            if index < int(self.counters.stage.numpy()) or stage not in self.stages:
                continue
            self.counters.stage.assign(index)
            if int(self.counters.step.numpy()) == 0 and stage != self.stages[0]:
                reset_optimizers(self.state)
            self._train_stage(stage)
            self._finish_stage(stage, index)
        finished = self.folder.stage_generator(self.stages[-1]).read_bytes()
        storage.write_bytes(str(self.folder.generator), finished)
        curves.draw(self.folder.metrics, self.folder.curves)
        animation.write(self.folder.samples, self.folder.animation)

    def result(self, datasets: Sequence[Dataset], origin: str | None) -> TrainResult:
        return TrainResult(
            run_id=self.folder.path.name,
            folder=self.folder.path,
            config=self.config,
            datasets=[
                DatasetReference(place=d.place, digest=d.digest, image_set=d.manifest.image_set)
                for d in datasets
            ],
            initial=origin,
            steps={s: planned_steps(self.counters, s) or 0 for s in self.stages},
            seconds={s: round(get_item(self.counters.seconds, s), 1) for s in self.stages},
            precision=keras.mixed_precision.dtype_policy().name,
            replicas=self.strategy.num_replicas_in_sync,
            notes=self._notes(),
        )

    def _train_stage(self, stage: Stage) -> None:
        settings: StageConfig = getattr(self.config, stage)
        if self.config.trainer.max_minutes == 0 and planned_steps(self.counters, stage) is None:
            set_item(self.counters.planned, stage, settings.steps)
        step = make_step(self.state, settings, self.content[stage])
        done = int(self.counters.step.numpy())
        batches = self._batches(settings, stage, done)
        clock = StepClock(settings.batch)
        while done < (planned_steps(self.counters, stage) or settings.steps):
            self._set_learning_rates(settings, stage, done)
            lr, hr = clock.wait_for(batches)
            decay = average_decay(done, self.config.trainer.ema_decay)
            losses = step(lr, hr, done, decay)
            done += 1
            self.counters.step.assign(done)
            self._after_step(stage, settings, done, losses, clock)

    def _after_step(
        self, stage: Stage, settings: StageConfig, done: int, losses: Any, clock: StepClock
    ) -> None:
        trainer = self.config.trainer
        steps = planned_steps(self.counters, stage)
        last = done >= (steps or settings.steps)
        if done % trainer.log_every == 0 or last:
            expected = steps or self._expected_steps(stage, settings, done, clock)
            self._report(stage, done, expected, losses, clock)
        else:
            # Reading one value keeps at most one step in flight; else the clock would lie.
            float(losses["g/total"])
        clock.tick()
        set_item(
            self.counters.seconds,
            stage,
            get_item(self.counters.seconds, stage) + clock.take_seconds(),
        )
        if steps is None and clock.measured >= MEASURED_STEPS:
            self._plan(stage, settings, done, clock)
        if animation.is_due(done, trainer.sample_every) or last:
            self._sample(stage, done)
        if done % trainer.validate_every == 0 and not last:
            self._validate(stage, done)
        if self.interrupts.requested:
            self.checkpoints.save()
            self.interrupts.raise_if_requested(f"{self.folder.path.name} {stage} step {done}")
        if done % trainer.checkpoint_every == 0 and not last:
            self.checkpoints.save()

    def _finish_stage(self, stage: Stage, index: int) -> None:
        steps = int(self.counters.step.numpy())
        # A stage shorter than the measurement that would have planned it.
        set_item(self.counters.planned, stage, steps)
        self._validate(stage, steps)
        best = self._best_path(stage)
        model = load_generator(best) if best.exists() else self.state.average
        save_generator(model, self.folder.stage_generator(stage))
        # The next stage goes on from what this one kept.
        copy_weights(model, [self.state.generator, self.state.average], str(best))
        self.counters.stage.assign(index + 1)
        self.counters.step.assign(0)
        self.checkpoints.save()

    def _plan(self, stage: Stage, settings: StageConfig, done: int, clock: StepClock) -> None:
        """Turn the time budget into steps, once; from here on the run is by steps."""
        steps = self._expected_steps(stage, settings, done, clock)
        set_item(self.counters.planned, stage, steps)

    def _expected_steps(
        self, stage: Stage, settings: StageConfig, done: int, clock: StepClock
    ) -> int:
        """Steps that fit into the stage's share of the time budget, validation included."""
        trainer = self.config.trainer
        shares = {s: getattr(self.config, s).share for s in self.stages}
        budget = trainer.max_minutes * 60 * shares[stage] / (sum(shares.values()) or 1.0)
        each = clock.seconds_per_step()
        each += self._validation_seconds / trainer.validate_every
        each += self._sample_seconds / trainer.sample_every
        left = budget - get_item(self.counters.seconds, stage)
        return steps_for_budget(left, each, done, settings.steps)

    def _report(self, stage: Stage, done: int, steps: int, losses: Any, clock: StepClock) -> None:
        values = {name: float(value) for name, value in losses.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"{self.folder.path.name}: {bad[0]} is {values[bad[0]]} at {stage} step {done}; "
                f"lower {stage}.learning_rate (now {getattr(self.config, stage).learning_rate})"
            )
        values["learning_rate"] = self._rate
        values["images_per_second"] = clock.images_per_second()
        values["input_wait"] = clock.input_wait()
        self._log(stage, done, values)
        progress = TrainProgress(
            stage,
            done,
            steps,
            values["images_per_second"],
            values["input_wait"],
            (steps - done) * clock.seconds_per_step(),
            values,
        )
        for listener in self.listeners:
            listener.on_progress(progress)

    def _validate(self, stage: Stage, step: int) -> None:
        """Measure the moving average; keep it where it is the best of its stage so far."""
        started = time.perf_counter()
        values = self.validator.measure(self.state.average)
        self._log(stage, step, {f"val/{name}": value for name, value in values.items()})
        judge = self.validator.judge(stage)
        if judge is not None:
            best = get_item(self.counters.best, stage)
            if math.isnan(best) or judge.better(values[judge.metric], best):
                set_item(self.counters.best, stage, values[judge.metric])
                save_generator(self.state.average, self._best_path(stage))
        self._validation_seconds = time.perf_counter() - started

    def _sample(self, stage: Stage, step: int) -> None:
        started = time.perf_counter()
        animation.add_frame(
            self.folder.samples, stage, step, self.validator.examples, self.state.average
        )
        self._sample_seconds = time.perf_counter() - started

    def _log(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self.log.write(stage, step, values)
        for listener in self.listeners:
            listener.on_metrics(stage, step, values)

    def _set_learning_rates(self, settings: StageConfig, stage: Stage, done: int) -> None:
        steps = planned_steps(self.counters, stage) or settings.steps
        rate = learning_rate(settings, done, steps)
        self._rate = rate
        self.state.generator_optimizer.learning_rate = rate
        self.state.discriminator_optimizer.learning_rate = rate

    def _batches(self, settings: StageConfig, stage: Stage, done: int) -> Iterator[Any]:
        """Global batches from step ``done`` on, divided among the replicas."""
        trainer, replicas = self.config.trainer, self.strategy.num_replicas_in_sync
        if settings.batch % replicas:
            raise TrainingError(
                f"{stage}.batch {settings.batch} cannot be divided among {replicas} devices; "
                f"use a multiple of {replicas}"
            )
        return distributed(
            self.strategy,
            training_batches(
                self.source,
                done,
                batch=settings.batch,
                hr_crop=settings.hr_crop,
                scale=self.config.generator.scale,
                flip=trainer.flip,
                # Stages see the records in different orders.
                seed=trainer.seed + STAGES.index(stage),
            ),
        )

    def _best_path(self, stage: Stage) -> Path:
        return self.folder.checkpoints / f"best-{stage}.keras"

    def _position(self) -> tuple[Stage | None, int]:
        index = int(self.counters.stage.numpy())
        return (STAGES[index] if index < len(STAGES) else None), int(self.counters.step.numpy())

    def _notes(self) -> list[str]:
        notes = [note for s in self.stages for note in self.content[s].notes]
        if self.source.left_out:
            notes.append(
                f"{self.source.left_out} photos are not trained on: another of the datasets "
                "holds them out for validation or test"
            )
        return list(dict.fromkeys([*notes, *self.validator.notes]))


def _check_scale(config: RunConfig, datasets: Sequence[Dataset]) -> None:
    if not datasets:
        raise DatasetError("no dataset given; use --data <dataset>")
    for dataset in datasets:
        if dataset.manifest.config.scale != config.generator.scale:
            raise DatasetError(
                f"{dataset.place}: has scale {dataset.manifest.config.scale}, but the generator "
                f"has generator.scale {config.generator.scale}"
            )


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """The Keras policy while training; other users of Keras in the process get theirs back."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
