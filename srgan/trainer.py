"""Train a generator: the life cycle of a run, from its identity to its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from srgan import storage
from srgan.config import RunConfig
from srgan.data import PairSource
from srgan.devices import make_deterministic, make_strategy, resolve_precision
from srgan.errors import DatasetError, TrainingError
from srgan.interrupts import Interrupts
from srgan.loop import Loop
from srgan.losses import ContentLoss, build_content_loss
from srgan.position import Position
from srgan.records import Dataset
from srgan.reporting import Reporter, TrainingListener
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
from srgan.state import create_state
from srgan.validation import Validator
from srgan.workers import Workers, lost_workers_reported
from srgan.workspace import Workspace

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["TrainingListener", "train"]


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

    ``initial`` is a ``.keras`` file to start from, ``initial_name`` how lineage calls it. With
    ``TF_CONFIG`` several processes train one run: all return the chief's result, and none but
    the chief writes the run's folder or tells the listeners. Raises subclasses of
    :class:`SrganError`; :class:`InterruptedTrainingError` after SIGTERM or Ctrl-C, with everything
    saved.
    """
    _check_scale(config, datasets)
    # Which record a step sees must not depend on the order in which datasets were named.
    datasets = sorted(datasets, key=lambda dataset: dataset.digest)
    origin = initial_name or (str(initial) if initial else None)
    identity = run_identity(config, datasets, stage, origin)
    folder = find_run_folder(workspace, identity, new=new)
    workers = Workers.from_environment()
    finished = folder.read_result() if workers.is_chief else None
    if finished is not None and workers.alone:
        return finished
    with lost_workers_reported(workers):
        strategy = make_strategy(config.trainer, workers)
        known = workers.share(finished.model_dump_json().encode() if finished else b"")
        if known:
            return TrainResult.model_validate_json(known)
        policy = workers.share(resolve_precision(config.trainer).encode()).decode()
        lock = locked(folder) if workers.is_chief else nullcontext()
        # After the strategy: that of several workers takes SIGTERM for itself.
        with lock, _precision(policy), Interrupts() as interrupts:
            make_deterministic(config.trainer)
            run = _Run(config, datasets, workspace, stage, strategy, workers)
            result = run.train(folder, initial, origin, interrupts, listeners)
            # A signal that came after the last step: what follows training must not start.
            if workers.any(interrupts.requested):
                interrupts.stop(f"{folder.path.name}, training finished")
    return result


class _Run:
    """The parts of one training process."""

    def __init__(
        self,
        config: RunConfig,
        datasets: Sequence[Dataset],
        workspace: Workspace,
        stage: StageChoice,
        strategy: tf.distribute.Strategy,
        workers: Workers,
    ) -> None:
        stages = [s for s in STAGES if stage in ("all", s) and getattr(config, s).steps]
        if not stages:
            raise TrainingError("nothing to train: every chosen stage has 0 steps")
        self._config = config
        self._datasets = datasets
        self._workers = workers
        # Losses first: missing weights are found before minutes of training, not after.
        self._contents: dict[Stage, ContentLoss] = {
            s: build_content_loss(getattr(config, s), config.perceptual) for s in stages
        }
        self._source = PairSource(datasets, "train", cache=workspace.cache / "shards")
        self._validator = Validator(config, datasets, workspace) if workers.is_chief else None
        self._state = create_state(config, strategy)

    def train(
        self,
        folder: RunFolder,
        initial: Path | None,
        origin: str | None,
        interrupts: Interrupts,
        listeners: Sequence[TrainingListener],
    ) -> TrainResult:
        """From the newest checkpoint, or the start, to ``training.json``."""
        reporter = None
        if self._validator is not None:
            reporter = Reporter(folder, self._validator, listeners)
            folder.write_config(self._config)
            for listener in listeners:
                listener.on_start(folder.path.name, folder.path, self._config)
        loop = Loop(
            self._config,
            self._contents,
            self._source,
            self._state,
            folder,
            reporter,
            self._workers,
            interrupts,
        )
        loop.start_from(initial)
        loop.run()
        result = self._result(folder, loop.position, origin)
        if reporter is not None:
            last = folder.stage_generator(list(self._contents)[-1])
            storage.write_bytes(str(folder.generator), last.read_bytes())
            reporter.finish()
            folder.write_result(result)
        return TrainResult.model_validate_json(
            self._workers.share(result.model_dump_json().encode())
        )

    def _result(self, folder: RunFolder, position: Position, origin: str | None) -> TrainResult:
        records = {stage: position.stages[stage] for stage in self._contents}
        return TrainResult(
            run_id=folder.path.name,
            folder=folder.path,
            config=self._config,
            datasets=[
                DatasetReference(place=d.place, digest=d.digest, image_set=d.manifest.image_set)
                for d in self._datasets
            ],
            initial=origin,
            steps={stage: record.planned or 0 for stage, record in records.items()},
            seconds={stage: round(record.seconds, 1) for stage, record in records.items()},
            precision=keras.mixed_precision.dtype_policy().name,
            replicas=self._state.strategy.num_replicas_in_sync,
            notes=self._notes(position),
        )

    def _notes(self, position: Position) -> list[str]:
        notes = [note for content in self._contents.values() for note in content.notes]
        if self._source.left_out:
            notes.append(
                f"{self._source.left_out} photos are not trained on: another of the datasets "
                "holds them out for validation or test"
            )
        if self._validator is not None:
            notes += self._validator.notes
        return list(dict.fromkeys([*notes, *position.notes]))


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
