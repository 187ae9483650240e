"""One checkpoint object that holds all of a run's state, so that continuing is free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from srgan.errors import TrainingError
from srgan.runs import STAGES, RunFolder, Stage
from srgan.state import TrainState
from srgan.storage import delete_temporaries

_UNPLANNED = -1


class Counters:
    """Where a run is: kept in the checkpoint beside the networks.

    ``stage`` is an index into ``STAGES`` (its length: finished), ``step`` the updates done in
    that stage, ``planned`` the steps that each stage has (-1: not decided yet), ``seconds`` the
    time spent in each, ``best`` the best validation figure of each (NaN: none).
    """

    def __init__(self) -> None:
        count = len(STAGES)
        self.stage = tf.Variable(0, dtype=tf.int64, name="stage")
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self.planned = tf.Variable([_UNPLANNED] * count, dtype=tf.int64, name="planned")
        self.seconds = tf.Variable([0.0] * count, dtype=tf.float64, name="seconds")
        self.best = tf.Variable([float("nan")] * count, dtype=tf.float64, name="best")

    def variables(self) -> dict[str, tf.Variable]:
        return dict(vars(self))


def planned_steps(counters: Counters, stage: Stage) -> int | None:
    """Steps that ``stage`` has in all, once that is decided."""
    steps = int(counters.planned.numpy()[STAGES.index(stage)])
    return None if steps == _UNPLANNED else steps


def set_item(variable: tf.Variable, stage: Stage, value: float) -> None:
    """Change the entry of ``stage``."""
    values = variable.numpy()
    values[STAGES.index(stage)] = value
    variable.assign(values)


def get_item(variable: tf.Variable, stage: Stage) -> float:
    """The entry of ``stage``."""
    return float(variable.numpy()[STAGES.index(stage)])


class Checkpoints:
    """Saves and restores a :class:`TrainState` with its :class:`Counters`; keeps the last few."""

    def __init__(self, folder: RunFolder, state: TrainState, counters: Counters, keep: int) -> None:
        self._checkpoint = tf.train.Checkpoint(
            generator=state.generator,
            discriminator=state.discriminator,
            average=state.average,
            generator_optimizer=state.generator_optimizer,
            discriminator_optimizer=state.discriminator_optimizer,
            **counters.variables(),
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(folder.checkpoints), max_to_keep=keep
        )
        self._number = 0

    def restore(self) -> bool:
        """Go back to the newest checkpoint; ``False`` when there is none.

        A checkpoint that a killed process left half written was never named by the manager.
        """
        newest = self._manager.latest_checkpoint
        if newest is None:
            return False
        try:
            self._checkpoint.restore(newest).assert_existing_objects_matched()
        except (AssertionError, tf.errors.OpError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise TrainingError(
                f"{newest}: cannot be restored ({reason}); remove the run's folder, or start a run "
                "of its own with --new"
            ) from None
        self._number = int(newest.rpartition("-")[2])
        return True

    def save(self) -> None:
        self._number += 1
        self._manager.save(checkpoint_number=self._number)


def save_generator(model: keras.Model, path: Path) -> None:
    """A ``.keras`` file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    delete_temporaries(str(path.parent))
    temporary = path.with_name(f".part-{path.name}")
    model.save(temporary)
    temporary.replace(path)


def load_generator(path: Path) -> keras.Model:
    """A ``.keras`` file of ours; refuses anything that would run code from the file."""
    import srgan.networks.layers  # noqa: F401 - registers the layers

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(f"{path}: not a generator that can be loaded ({reason})") from None


def copy_weights(source: keras.Model, targets: Sequence[keras.Model], origin: str) -> None:
    """Give ``targets`` the weights of ``source``; one line when they do not fit."""
    try:
        for target in targets:
            target.set_weights(source.get_weights())
    except ValueError:
        raise TrainingError(
            f"{origin}: its network is not the one of this run's settings; use the preset that it "
            "was trained with"
        ) from None
