"""Training as a person meets it: it learns, it can be killed, it goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.checkpoints import load_generator
from srgan.config import RunConfig, load_run_config
from srgan.errors import DatasetError, TrainingError
from srgan.metricslog import read_metrics
from srgan.progress import TrainProgress
from srgan.records import Dataset
from srgan.runs import RunFolder, find_run_folder, locked
from srgan.trainer import train
from srgan.workspace import Workspace
from tests.srgan.runs import assert_same_losses, in_turn, result


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.metrics: list[tuple[str, int]] = []
        self.progress: list[TrainProgress] = []

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None:
        self.started.append(run_id)

    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        assert all(np.isfinite(list(metrics.values())))
        self.metrics.append((stage, step))

    def on_progress(self, progress: TrainProgress) -> None:
        self.progress.append(progress)


def test_both_stages_leave_everything_that_a_run_has(
    dataset: Dataset, workspace: Workspace
) -> None:
    listener = Listener()
    config = load_run_config("tiny")
    result = train(config, [dataset], workspace, listeners=[listener])
    run = RunFolder(result.folder)
    assert result.steps == {"pretrain": 12, "gan": 6}
    assert result.precision == "float32"
    assert [d.digest for d in result.datasets] == [dataset.digest]
    entries = list(read_metrics(run.metrics))
    gan = next(e for e in entries if e["stage"] == "gan" and "d/real" in e)
    assert {"g/content", "g/adversarial", "g/total", "d/real", "d/fake"} <= set(gan)
    assert gan["g/total"] == pytest.approx(gan["g/content"] + 1e-3 * gan["g/adversarial"], rel=1e-5)
    assert [e["step"] for e in entries if "val/psnr_y" in e] == [0, 6, 12, 6]
    assert run.read_config() == config
    with Image.open(run.curves) as curves, Image.open(run.animation) as animation:
        assert curves.width > 800
        assert getattr(animation, "n_frames", 1) >= 5
    for path in (run.generator, run.stage_generator("pretrain"), run.stage_generator("gan")):
        lr = np.zeros((1, 5, 6, 3), np.float32)
        assert load_generator(path)(lr, training=False).shape == (1, 20, 24, 3)
    assert listener.started == [result.run_id]
    assert listener.progress[-1].step == 6

    again = Listener()
    assert train(config, [dataset], workspace, listeners=[again]) == result
    assert again.started == []
    other = train(config, [dataset], workspace, stage="pretrain", new=True)
    assert other.folder != result.folder
    assert list(other.steps) == ["pretrain"]


def test_pre_training_beats_its_start(dataset: Dataset, workspace: Workspace) -> None:
    longer = ["pretrain.steps=300", "generator.filters=16", "pretrain.learning_rate=0.003"]
    schedule = ["pretrain.warmup_steps=20", "pretrain.decay=cosine", "trainer.validate_every=150"]
    config = load_run_config("tiny", [*longer, *schedule, "trainer.sample_every=300"])
    result = train(config, [dataset], workspace, stage="pretrain")
    values = [e for e in read_metrics(RunFolder(result.folder).metrics) if "val/psnr_y" in e]
    assert values[-1]["val/psnr_y"] > values[0]["val/psnr_y"] + 0.1


def test_fine_tuning_starts_from_a_generator(dataset: Dataset, workspace: Workspace) -> None:
    first = train(load_run_config("tiny"), [dataset], workspace, stage="pretrain")
    path = RunFolder(first.folder).generator
    seed = ["trainer.seed=5"]
    tuned = train(load_run_config("tiny", seed), [dataset], workspace, initial=path)
    entries = list(read_metrics(RunFolder(tuned.folder).metrics))
    last = [e for e in read_metrics(RunFolder(first.folder).metrics) if "val/psnr_y" in e][-1]
    assert entries[0]["val/psnr_y"] == pytest.approx(last["val/psnr_y"], abs=0.05)
    other = load_run_config("tiny", ["generator.blocks=2"])
    with pytest.raises(TrainingError, match="its network is not the one of this run's settings"):
        train(other, [dataset], workspace, initial=path)


def test_a_time_budget_becomes_steps_once(dataset: Dataset, workspace: Workspace) -> None:
    budget = ["trainer.max_minutes=0.2", "pretrain.steps=100000", "pretrain.share=1.0"]
    config = load_run_config("tiny", [*budget, "gan.steps=0"])
    begun = time.monotonic()
    result = train(config, [dataset], workspace)
    # 12 s of training after some seconds of start; a loaded machine may take longer.
    assert 5 < time.monotonic() - begun < 60
    assert 55 < result.steps["pretrain"] < 100000


def test_a_budget_that_is_over_when_it_is_measured_ends_with_a_report(
    dataset: Dataset, workspace: Workspace
) -> None:
    budget = ["trainer.max_minutes=0.001", "pretrain.steps=100000", "gan.steps=0"]
    config = load_run_config("tiny", [*budget, "trainer.log_every=1000"])
    result = train(config, [dataset], workspace)
    folder = RunFolder(result.folder)
    assert result.steps == {"pretrain": 55}
    assert [e["step"] for e in read_metrics(folder.metrics) if "g/total" in e] == [55]
    assert (folder.samples / "pretrain-0000055.png").exists()


def test_a_stage_too_short_to_plan_counts_its_steps(dataset: Dataset, workspace: Workspace) -> None:
    config = load_run_config("tiny", ["trainer.max_minutes=5"])
    result = train(config, [dataset], workspace)
    assert result.steps == {"pretrain": 12, "gan": 6}
    logged = list(read_metrics(RunFolder(result.folder).metrics))
    assert max(e["step"] for e in logged if e["stage"] == "gan" and "g/total" in e) == 6


def test_a_new_run_is_continued_until_it_is_finished(workspace: Workspace) -> None:
    base = find_run_folder(workspace, "run-1", new=True)
    assert base.path.name == "run-1"
    base.path.mkdir(parents=True)
    second = find_run_folder(workspace, "run-1", new=True)
    assert second.path.name == "run-1-2"
    second.path.mkdir()
    assert find_run_folder(workspace, "run-1", new=True) == second
    second.result.write_text("{}")
    assert find_run_folder(workspace, "run-1", new=True).path.name == "run-1-3"
    assert find_run_folder(workspace, "run-1", new=False) == base


def test_what_cannot_be_trained_is_one_line(dataset: Dataset, workspace: Workspace) -> None:
    with pytest.raises(TrainingError, match="every chosen stage has 0 steps"):
        train(load_run_config("tiny", ["pretrain.steps=0"]), [dataset], workspace, stage="pretrain")
    with pytest.raises(
        DatasetError, match=r"has scale 4, but the generator has generator\.scale 2"
    ):
        train(load_run_config("tiny", ["generator.scale=2"]), [dataset], workspace)
    config = load_run_config("tiny", ["trainer.seed=9"])
    folder = RunFolder(train(config, [dataset], workspace).folder)
    folder.result.unlink()
    with locked(folder), pytest.raises(TrainingError, match="another process is training this run"):
        train(config, [dataset], workspace)


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", ["minmax", "relativistic"])
def test_one_two_and_four_devices_give_the_same_losses(
    dataset: Dataset, tmp_path: Path, adversarial: str
) -> None:
    """With batch normalisation: without synchronisation it drifts apart within these steps."""
    settings = [
        "generator.architecture=srresnet",
        "generator.norm=batch",
        "pretrain.batch=8",
        "gan.batch=8",
        f"gan.adversarial={adversarial}",
        "trainer.precision=float32",
        "trainer.log_every=1",
    ]
    folders, _ = in_turn(
        dataset,
        *(
            (Workspace(tmp_path / str(count)), [*settings, f"trainer.cpu_devices={count}"], 0)
            for count in (1, 2, 4)
        ),
    )
    one, two, four = (RunFolder(path) for path in folders)
    assert [result(run)["replicas"] for run in (one, two, four)] == [1, 2, 4]
    assert_same_losses(one, two)
    assert_same_losses(one, four)
