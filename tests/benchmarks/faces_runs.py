"""The runs behind docs/benchmarks/faces.md: trained by the project's own command, measured once.

A run's folder has all of it (settings, steps, seconds, evaluation), so a run that is finished is
not done again, and one that was stopped goes on.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.config import EvaluationConfig, RunConfig, load_run_config
from srgan.dataset_config import DatasetConfig
from srgan.evaluation import Evaluation
from srgan.pipeline import evaluate_step, keras_upscaler
from srgan.quiet import start_tensorflow
from srgan.records import Dataset
from srgan.runs import RunFolder, StageChoice, TrainResult, find_run_folder, run_identity
from srgan.scores import EVALUATION, MODEL, read_evaluation, write_evaluation
from srgan.workspace import Workspace

PRESET = "faces-cpu"
# The central 128 pixels of each photo: in LFW that is the face.
DATASET = DatasetConfig(name="lfw", hr_size=128, crop_size=128)
NORMS, UPSAMPLES, BASES = (
    ("batch", "none"),
    ("transpose", "subpixel", "resize"),
    ("none", "bicubic"),
)


@dataclass(frozen=True)
class Plan:
    """A run to make. ``overrides`` are settings that differ from the preset's."""

    name: str
    title: str
    minutes: float
    stage: StageChoice
    overrides: tuple[str, ...]

    def config(self, extra: Sequence[str] = ()) -> RunConfig:
        return load_run_config(PRESET, self.settings(extra))

    def settings(self, extra: Sequence[str] = ()) -> list[str]:
        return [
            f"name={self.name}",
            *self.overrides,
            *extra,
            f"trainer.max_minutes={self.minutes}",
        ]


@dataclass(frozen=True)
class Finished:
    """A run that was trained and measured."""

    title: str
    training: TrainResult
    evaluation: Evaluation


def recipes(scale: float = 1.0) -> list[Plan]:
    """The runs of the table; ``scale`` shortens them to try the benchmark out."""
    thirds = ("pretrain.share=0.3333", "gan.share=0.6667")
    return [
        Plan("pretrain-25", f"{25 * scale:g} minutes of pre-training", 25 * scale, "pretrain", ()),
        Plan(
            "gan-10-20",
            f"{10 * scale:g} minutes of pre-training, then {20 * scale:g} of GAN",
            30 * scale,
            "all",
            thirds,
        ),
    ]


def cells(minutes: float) -> list[Plan]:
    """The ablation: every combination of three switches, pre-trained for the same time."""
    return [
        Plan(
            f"ablation-{norm}-{upsample}-{base}",
            f"{norm} {upsample} {base}",
            minutes,
            "pretrain",
            (
                f"generator.norm={norm}",
                f"generator.upsample={upsample}",
                f"generator.base={base}",
            ),
        )
        for norm, upsample, base in itertools.product(NORMS, UPSAMPLES, BASES)
    ]


def build_dataset(faces: Sequence[str], workspace: Workspace) -> Dataset:
    """The dataset of the benchmark; one that is there already is recognised."""
    from beam_jobs.build_pairs import build

    return build(faces, str(workspace.datasets), DATASET).dataset


def folder_of(
    plan: Plan, dataset: Dataset, workspace: Workspace, extra: Sequence[str]
) -> RunFolder:
    """Where the command below trains this plan."""
    identity = run_identity(plan.config(extra), [dataset], plan.stage, None)
    return find_run_folder(workspace, identity, new=False)


def train(plan: Plan, dataset: Dataset, workspace: Workspace, extra: Sequence[str]) -> RunFolder:
    """Train as a person would, in a process of its own; a finished run is left as it is."""
    run = folder_of(plan, dataset, workspace, extra)
    if run.read_result() is None:
        settings = [part for setting in plan.settings(extra) for part in ("--set", setting)]
        subprocess.run(
            [
                *(sys.executable, "-m", "srgan.cli", "train", "--preset", PRESET),
                *("--data", dataset.place, "--stage", plan.stage, "--train-only", *settings),
            ],
            env={**os.environ, "SRGAN_WORKSPACE": str(workspace.root)},
            check=True,
        )
    return run


def measured(run: RunFolder, title: str) -> Finished:
    """The run with its evaluation and report, made where they are not there yet."""
    training = run.read_result()
    assert training is not None
    return Finished(title, training, evaluate_step(run.path))


def measured_cell(run: RunFolder, title: str, dataset: Dataset, workspace: Workspace) -> Finished:
    """The same without report, export and identity, which a table of twelve does not show."""
    training = run.read_result()
    assert training is not None
    if not (run.path / EVALUATION).is_file():
        start_tensorflow()
        from srgan.evaluation import evaluate

        limit = training.config.evaluation.max_images
        systems = {MODEL: keras_upscaler(run.generator, training.config.generator.scale)}
        config = EvaluationConfig(identity="off", max_images=limit)
        evaluation = evaluate(systems, [dataset], config, workspace=workspace)
        write_evaluation(str(run.path), evaluation)
    return Finished(title, training, read_evaluation(str(run.path)))


def finished_cells(
    minutes: float, dataset: Dataset, workspace: Workspace, extra: Sequence[str]
) -> list[Finished]:
    """The cells of the ablation that are done; nothing is trained."""
    found = []
    for plan in cells(minutes):
        run = folder_of(plan, dataset, workspace, extra)
        training = run.read_result()
        if training is not None and (run.path / EVALUATION).is_file():
            found.append(Finished(plan.title, training, read_evaluation(str(run.path))))
    return found


def read_run(folder: Path) -> Finished:
    """A run that was made elsewhere, as it was measured there."""
    training = RunFolder(folder).read_result()
    if training is None:
        raise SystemExit(f"{folder}: no finished run")
    minutes = ", ".join(f"{training.seconds[s] / 60:.0f} minutes of {s}" for s in training.steps)
    return Finished(minutes, training, read_evaluation(str(folder)))
