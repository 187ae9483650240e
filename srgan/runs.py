"""A run's folder: its identity, its files, its result, and the lock that one process holds."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from srgan import storage
from srgan.config import RunConfig, canonical_json, explain, load_yaml, parse
from srgan.errors import TrainingError
from srgan.frozen import Frozen
from srgan.records import Dataset
from srgan.workspace import Workspace

Stage = Literal["pretrain", "gan"]
StageChoice = Literal["all", "pretrain", "gan"]
STAGES: tuple[Stage, ...] = ("pretrain", "gan")


class DatasetReference(Frozen):
    """A dataset as a run remembers it."""

    place: str
    digest: str
    image_set: str


class TrainResult(Frozen):
    """What training left behind; ``training.json`` in the run's folder, written last."""

    run_id: str
    folder: Path
    config: RunConfig
    datasets: list[DatasetReference]
    initial: str | None
    steps: dict[Stage, int]
    seconds: dict[Stage, float]
    precision: str
    replicas: int
    notes: list[str]


@dataclass(frozen=True)
class RunFolder:
    """Names inside ``<workspace>/runs/<run-id>``."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def animation(self) -> Path:
        return self.path / "progress.webp"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def generator(self) -> Path:
        """The finished generator: the moving average of the last stage's weights."""
        return self.path / "generator.keras"

    def stage_generator(self, stage: Stage) -> Path:
        """The generator at the end of a stage."""
        return self.path / f"generator-{stage}.keras"

    @property
    def result(self) -> Path:
        return self.path / "training.json"

    def read_result(self) -> TrainResult | None:
        """The result of a finished training, else ``None``."""
        if not self.result.exists():
            return None
        try:
            stored = TrainResult.model_validate_json(self.result.read_bytes())
        except ValidationError as error:
            raise TrainingError(
                f"{self.result}: not readable ({explain(error)}); remove {self.path} "
                "and train again"
            ) from None
        # The workspace may have been moved since.
        return stored.model_copy(update={"folder": self.path})

    def write_result(self, result: TrainResult) -> None:
        storage.write_bytes(str(self.result), result.model_dump_json(indent=2).encode())

    def write_config(self, config: RunConfig) -> None:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        storage.write_bytes(str(self.config), text.encode())

    def read_config(self) -> RunConfig:
        return parse(RunConfig, load_yaml(self.config.read_text("utf-8")), str(self.config))


def run_identity(
    config: RunConfig, datasets: Sequence[Dataset], stage: StageChoice, initial: str | None
) -> str:
    """Name of the run: the same command continues its own run, another one gets another."""
    facts: dict[str, Any] = {
        "config": config.digest(),
        "datasets": sorted(dataset.digest for dataset in datasets),
        "stage": stage,
        "initial": initial,
    }
    return f"{config.name}-{hashlib.sha256(canonical_json(facts)).hexdigest()[:12]}"


def find_run_folder(workspace: Workspace, identity: str, *, new: bool) -> RunFolder:
    """The folder of a run; with ``new`` the first of ``<identity>-2``, ``-3``, … not finished yet.

    So an interrupted run that was started as a new one is continued by the same command, too.
    """
    run = RunFolder(workspace.runs / identity)
    number = 2
    while new and (run.result.exists() or (number == 2 and run.path.exists())):
        run = RunFolder(workspace.runs / f"{identity}-{number}")
        number += 1
    return run


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Held while a process trains a run; the kernel releases it however the process ends."""
    folder.path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(
                f"{folder.path}: another process is training this run; wait for it, or start a "
                "run of its own with --new"
            ) from None
        yield
    finally:
        os.close(descriptor)
