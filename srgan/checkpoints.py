"""Checkpoints: all of a run's state in one folder each, so that continuing is free."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from srgan.errors import TrainingError
from srgan.position import Position
from srgan.state import TrainState
from srgan.storage import delete_temporaries

_PREFIX, _UNFINISHED = "checkpoint-", ".unfinished-"
_WEIGHTS, _POSITION = "state", "position.json"

_logger = logging.getLogger(__name__)


class Checkpoints:
    """Saves and restores a :class:`TrainState` with its :class:`Position`; keeps the last few.

    ``checkpoint-000007/`` holds TensorFlow's ``state.*`` (networks, their moving average, both
    optimisers) and ``position.json``. It appears by a rename: whole or not at all.
    """

    def __init__(self, folder: Path, state: TrainState, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        self._networks = (state.generator, state.average, state.discriminator)
        self._checkpoint = tf.train.Checkpoint(
            generator=state.generator,
            discriminator=state.discriminator,
            average=state.average,
            generator_optimizer=state.generator_optimizer,
            discriminator_optimizer=state.discriminator_optimizer,
        )

    def save(self, position: Position) -> None:
        """Raises :class:`TrainingError` where there is no room; older checkpoints stay then."""
        paths = self._paths()
        number = _number(paths[-1]) + 1 if paths else 1
        final = self._folder / f"{_PREFIX}{number:06d}"
        temporary = self._folder / f"{_UNFINISHED}{number:06d}"
        with writing(final):
            for leftover in self._folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(leftover)
            try:
                temporary.mkdir(parents=True)
                self._checkpoint.write(str(temporary / _WEIGHTS))
                (temporary / _POSITION).write_text(position.model_dump_json(indent=1), "utf-8")
                temporary.rename(final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            for path in [*paths, final][: -self._keep]:
                self._discard(path)

    def restore(self) -> Position | None:
        """Go to the newest checkpoint that can be read; ``None`` when there is none at all.

        Raises :class:`TrainingError` when there are some and none of them can be read.
        """
        return self._restore(lambda _: True)

    def go_back(self, accepted: Callable[[Position], bool]) -> Position | None:
        """Go to the newest sound checkpoint whose position is ``accepted``; forget newer ones."""
        return self._restore(accepted, sound=True)

    def _restore(
        self, accepted: Callable[[Position], bool], *, sound: bool = False
    ) -> Position | None:
        paths = self._paths()
        reason = ""
        for index in reversed(range(len(paths))):
            try:
                position = self._read(paths[index], accepted, sound)
            except (AssertionError, OSError, ValueError, tf.errors.OpError) as error:
                reason = " ".join(str(error).split())[:160]
                _logger.warning(
                    "%s: cannot be restored (%s); trying the one before", paths[index], reason
                )
                continue
            if position is not None:
                for newer in paths[index + 1 :]:
                    self._discard(newer)
                return position
        if reason and not sound:
            raise TrainingError(
                f"{paths[-1]}: cannot be restored ({reason}), nor can an older one; remove the "
                "run's folder, or start a run of its own with --new"
            )
        return None

    def _read(
        self, path: Path, accepted: Callable[[Position], bool], sound: bool
    ) -> Position | None:
        try:
            position = Position.model_validate_json((path / _POSITION).read_bytes())
        except ValidationError:
            raise ValueError(f"{_POSITION} is not readable") from None
        if not accepted(position):
            return None
        self._checkpoint.read(str(path / _WEIGHTS)).assert_existing_objects_matched()
        return position if not sound or self._is_finite() else None

    def _is_finite(self) -> bool:
        return all(
            np.isfinite(value).all() for net in self._networks for value in net.get_weights()
        )

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_PREFIX}*"), key=_number)

    def _discard(self, path: Path) -> None:
        # Renamed first: killed in the middle, it must not look like a checkpoint.
        gone = path.with_name(path.name.replace(_PREFIX, _UNFINISHED))
        shutil.rmtree(path.rename(gone))


def _number(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """One line where ``path`` cannot be written."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(
            f"{path}: cannot be written ({reason}); make room, and the same command continues "
            "from the checkpoint before"
        ) from None


def save_generator(model: keras.Model, path: Path) -> None:
    """A ``.keras`` file, whole or not at all."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_temporaries(str(path.parent))
        temporary = path.with_name(f".part-{path.name}")
        model.save(temporary)
        temporary.replace(path)


def load_generator(path: Path) -> keras.Model:
    """A ``.keras`` file of ours; refuses anything that would run code from the file."""
    import srgan.networks.generator  # noqa: F401 - registers the layers

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
