"""The loop: stages, steps, what comes between them, and the way back when a loss goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from srgan import animation, sharing
from srgan.checkpoints import Checkpoints, copy_weights, load_generator, save_generator
from srgan.clock import Chores, StepClock
from srgan.config import RunConfig
from srgan.data import BatchRecipe, PairSource, distributed, training_batches
from srgan.devices import check_batch, uses_xla
from srgan.errors import TrainingError
from srgan.guard import Guard, GuardMemory
from srgan.interrupts import Interrupts
from srgan.losses import ContentLoss
from srgan.position import Position, StageRecord
from srgan.progress import TrainProgress
from srgan.reporting import Reporter
from srgan.runs import STAGES, RunFolder, Stage
from srgan.schedule import MEASURED_STEPS, learning_rate, steps_for_budget
from srgan.state import TrainState, average_decay, reset_optimizers
from srgan.step import make_step
from srgan.training_config import StageConfig
from srgan.workers import Workers

# A loss shows what the updates before it did: a checkpoint is known to be good some steps later.
_PROOF = 10

_logger = logging.getLogger(__name__)


class LossFailureError(Exception):
    """A loss after which the weights are worth nothing."""


class Loop:
    """Trains the ``stages`` of one run from where its newest checkpoint is.

    Every worker runs the same loop; the chief alone has a ``reporter`` and writes.
    """

    def __init__(
        self,
        config: RunConfig,
        contents: Mapping[Stage, ContentLoss],
        source: PairSource,
        state: TrainState,
        folder: RunFolder,
        reporter: Reporter | None,
        workers: Workers,
        interrupts: Interrupts,
    ) -> None:
        self.position = Position(seed=config.trainer.seed)
        self._config = config
        self._contents = contents
        self._stages = list(contents)
        self._source = source
        self._state = state
        self._folder = folder
        self._reporter = reporter
        self._workers = workers
        self._interrupts = interrupts
        self._checkpoints = Checkpoints(folder.checkpoints, state, config.trainer.keep)
        self._chores = Chores()

    def start_from(self, initial: Path | None) -> None:
        """Continue from the run's newest checkpoint, else from ``initial``, else from scratch."""
        restored = self._checkpoints.restore() if self._reporter else None
        if self._reporter and restored is not None:
            self.position = restored
            self._reporter.go_back(restored.name, restored.step)
        elif self._reporter and initial is not None:
            model = load_generator(initial)
            copy_weights(model, [self._state.generator, self._state.average], str(initial))
        self.position = sharing.share(self._workers, self._state, self.position)
        if self._reporter and restored is None:
            self._reporter.start_afresh()
            self._sample(self._stages[0], 0)
            self._validate(self._stages[0], 0)
            # From here on there is a checkpoint to go back to.
            self._save()

    def run(self) -> None:
        """Both stages in order."""
        for index, stage in enumerate(STAGES):
            if index < self.position.stage or stage not in self._stages:
                continue
            self.position.stage = index
            if self.position.step == 0 and stage != self._stages[0]:
                reset_optimizers(self._state)
            self._train(stage)
            self._finish(stage)

    def _train(self, stage: Stage) -> None:
        settings: StageConfig = getattr(self._config, stage)
        replicas = self._state.strategy.num_replicas_in_sync
        check_batch(f"{stage}.batch", settings.batch, replicas)
        if not self._config.trainer.max_minutes and self._planned(stage) is None:
            self.position.stages[stage].planned = settings.steps
        xla = uses_xla(self._config.trainer, replicas)
        step = make_step(self._state, settings, self._contents[stage], xla=xla)
        while True:
            try:
                return self._steps(stage, settings, step)
            except LossFailureError as failure:
                self._go_back(stage, str(failure))

    def _steps(self, stage: Stage, settings: StageConfig, step: Any) -> None:
        position, trainer = self.position, self._config.trainer
        guard = Guard(settings, trainer.guard, position.guard)
        batches = self._batches(stage, settings)
        clock = StepClock(settings.batch)
        while position.step < (self._planned(stage) or settings.steps):
            rate = self._set_learning_rates(stage, settings)
            lr, hr = clock.wait_for(batches)
            decay = average_decay(position.step, trainer.ema_decay)
            # Reading the losses keeps at most one step in flight; else the clock would lie.
            losses = _read(step(lr, hr, position.step, decay))
            clock.tick()
            failure = guard.failure(losses)
            if failure:
                raise LossFailureError(f"{failure} at {stage} step {position.step + 1}")
            position.step += 1
            self._after_step(stage, settings, {**losses, "learning_rate": rate}, guard, clock)

    def _after_step(
        self,
        stage: Stage,
        settings: StageConfig,
        losses: Mapping[str, float],
        guard: Guard,
        clock: StepClock,
    ) -> None:
        trainer, done, record = self._config.trainer, self.position.step, self._record(stage)
        record.seconds += clock.take_seconds()
        decided = record.planned is None and clock.measured >= MEASURED_STEPS
        if decided:
            # Once; from here on the run is by steps, and a continued run has as many. First of
            # all, since this step may turn out to be the last one.
            expected = self._expected_steps(stage, settings, clock)
            record.planned = int(self._workers.share(str(expected).encode()))
        last = done >= (record.planned or settings.steps)
        if done % trainer.log_every == 0 or last:
            self._report(stage, settings, losses, clock)
        collapse = guard.collapse(losses)
        if collapse:
            self._note(f"{stage} step {done}: {collapse}")
            self._metrics(stage, {"guard/discriminator_collapse": 1.0})
        if decided:
            self._save()
        if animation.is_due(done, trainer.sample_every) or last:
            self._sample(stage, done)
        if done % trainer.validate_every == 0 and not last:
            self._validate(stage, done)
        if self._workers.any(self._interrupts.requested):
            self._save()
            self._interrupts.stop(f"{self._folder.path.name} {self.position}")
        if done % trainer.checkpoint_every == 0 and not last:
            self._save()

    def _finish(self, stage: Stage) -> None:
        """Keep the stage's best generator; the next stage goes on from it."""
        state, steps = self._state, self.position.step
        # A stage shorter than the measurement that would have planned it.
        self._record(stage).planned = steps
        self._validate(stage, steps)
        if self._reporter:
            best = self._reporter.best_path(stage)
            model = load_generator(best) if best.exists() else state.average
            save_generator(model, self._folder.stage_generator(stage))
            copy_weights(model, [state.generator, state.average], str(best))
            self._record(stage).seconds += self._chores.seconds("validate")
        self.position = sharing.share(self._workers, state, self.position)
        self.position.stage += 1
        self.position.step, self.position.guard = 0, GuardMemory()
        self._save()

    def _go_back(self, stage: Stage, failure: str) -> None:
        """To the last checkpoint known to be good, with lower rates and other batches from there.

        :class:`TrainingError` where that was done ``guard.rollbacks`` times already.
        """
        guard, name = self._config.trainer.guard, self._folder.path.name
        if self.position.returns >= guard.rollbacks:
            factor = guard.slow_down ** self._record(stage).returns
            rate = getattr(self._config, stage).learning_rate * factor
            raise TrainingError(
                f"{name}: {failure}, after {self.position.returns} returns to an earlier "
                f"checkpoint; lower {stage}.learning_rate (now {rate:.3g}), or set "
                "trainer.clip_norm"
            )
        failed = self.position
        if self._reporter:
            found = self._checkpoints.go_back(lambda p: self._is_good(p, failed, _PROOF))
            found = found or self._checkpoints.go_back(lambda p: self._is_good(p, failed, 0))
            if found is None:
                raise TrainingError(f"{name}: {failure}, and no checkpoint of {stage} is good")
            # Times, plans and the best generator are the run's, whatever became of its weights.
            self.position = found.model_copy(
                update={"stages": failed.stages, "notes": failed.notes}
            )
            self._record(stage).returns += 1
        self.position = sharing.share(self._workers, self._state, self.position)
        factor = guard.slow_down ** self._record(stage).returns
        self._note(
            f"{failure}: went back to step {self.position.step}, learning rates x {factor:.3g}"
        )
        if self._reporter:
            self._reporter.go_back(stage, self.position.step)
        self._metrics(
            stage,
            {
                "guard/returns": float(self.position.returns),
                "guard/failed_at": float(failed.step + 1),
                "guard/slow_down": factor,
            },
        )
        self._save()

    def _is_good(self, candidate: Position, failed: Position, proof: int) -> bool:
        """Whether the losses of ``proof`` steps after a checkpoint were fine, too.

        Those that a signal asked for do not count: an undisturbed run would not have them.
        """
        if candidate.stage != failed.stage:
            return False
        regular = candidate.step % self._config.trainer.checkpoint_every == 0
        proven = candidate.step == 0 or candidate.step + proof <= failed.step
        return not proof or (regular and proven)

    def _expected_steps(self, stage: Stage, settings: StageConfig, clock: StepClock) -> int:
        """Steps that fit into the stage's share of the time budget, with all between them."""
        trainer, chores = self._config.trainer, self._chores
        shares = {s: getattr(self._config, s).share for s in self._stages}
        budget = trainer.max_minutes * 60 * shares[stage] / (sum(shares.values()) or 1.0)
        each = clock.seconds_per_step()
        each += chores.seconds("validate") / trainer.validate_every
        each += chores.seconds("sample") / trainer.sample_every
        each += chores.seconds("save") / trainer.checkpoint_every
        left = budget - self._record(stage).seconds - chores.seconds("validate")
        return steps_for_budget(left, each, self.position.step, settings.steps)

    def _report(
        self,
        stage: Stage,
        settings: StageConfig,
        losses: Mapping[str, float],
        clock: StepClock,
    ) -> None:
        if self._reporter is None:
            return
        done = self.position.step
        steps = self._planned(stage) or self._expected_steps(stage, settings, clock)
        speed, wait = clock.images_per_second(), clock.input_wait()
        values = {**losses, "images_per_second": speed, "input_wait": wait}
        self._metrics(stage, values)
        left = (steps - done) * clock.seconds_per_step()
        self._reporter.progress(TrainProgress(stage, done, steps, speed, wait, left, values))

    def _metrics(self, stage: Stage, values: Mapping[str, float]) -> None:
        if self._reporter:
            self._reporter.metrics(stage, self.position.step, values)

    def _note(self, text: str) -> None:
        """To the log now, and to all who look at the run later."""
        self.position.notes.append(text)
        if self._reporter:
            _logger.warning("%s: %s", self._folder.path.name, text)

    def _sample(self, stage: Stage, step: int) -> None:
        if self._reporter:
            with self._chores.timed("sample"):
                self._reporter.sample(stage, step, self._state.average)

    def _validate(self, stage: Stage, step: int) -> None:
        if self._reporter:
            with self._chores.timed("validate"):
                self._reporter.validate(stage, step, self._state.average, self._record(stage))

    def _save(self) -> None:
        if self._reporter:
            with self._chores.timed("save"):
                self._checkpoints.save(self.position)

    def _set_learning_rates(self, stage: Stage, settings: StageConfig) -> float:
        steps = self._planned(stage) or settings.steps
        slow_down = self._config.trainer.guard.slow_down ** self._record(stage).returns
        rate = slow_down * learning_rate(settings, self.position.step, steps)
        self._state.generator_optimizer.learning_rate = rate
        self._state.discriminator_optimizer.learning_rate = rate
        return rate

    def _batches(self, stage: Stage, settings: StageConfig) -> Any:
        """This worker's rows of the global batches from here on, divided among its replicas."""
        trainer, workers = self._config.trainer, self._workers
        recipe = BatchRecipe(
            batch=settings.batch,
            hr_crop=settings.hr_crop,
            scale=self._config.generator.scale,
            flip=trainer.flip,
            rotate=trainer.rotate,
            # Stages see the records in different orders.
            seed=trainer.seed + STAGES.index(stage),
            attempt=self._record(stage).returns,
        )
        rows = workers.rows(settings.batch)
        batches = training_batches(self._source, self.position.step, recipe, rows)
        strategy = self._state.strategy
        return distributed(strategy, workers.replicas(strategy), batches)

    def _record(self, stage: Stage) -> StageRecord:
        return self.position.stages[stage]

    def _planned(self, stage: Stage) -> int | None:
        return self.position.stages[stage].planned


def _read(losses: Mapping[str, Any]) -> dict[str, float]:
    """All losses in one transfer from the device."""
    values = np.asarray(tf.stack(list(losses.values())))
    return dict(zip(losses, map(float, values), strict=True))
