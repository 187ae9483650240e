from __future__ import annotations

import json
import logging
import statistics
import time
from pathlib import Path

import mlflow.data
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from srgan.config import RunConfig, parse
from srgan.errors import RegistryError, TrainingError
from srgan.interrupts import InterruptedTrainingError
from srgan.metricslog import MetricsLog
from srgan.mlflow_runs import flatten, log_results
from srgan.records import Dataset
from srgan.scores import SliceScores
from srgan.tracking import MlflowTracker
from srgan.trainer import TrainingListener
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, scene
from tests.srgan.tiny import evaluation_of, new_workspace

CONFIG = parse(RunConfig, {"gan": {"content": {"l1": 1.0, "vgg_multi": 0.5}}}, "test")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("root") / "faces-0123456789ab"
    return make_dataset(folder, [scene(1, 16)], split="train")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return new_workspace(tmp_path / "workspace", monkeypatch)


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """A run folder as training leaves it."""
    path = workspace.runs / "srgan-1"
    (path / "samples").mkdir(parents=True)
    (path / "checkpoints").mkdir()
    for name in ("config.yaml", "curves.png", "samples/gan-100.png", "checkpoints/ckpt-1.index"):
        (path / name).write_text(name)
    return path


def tracker(workspace: Workspace, *datasets: Dataset) -> MlflowTracker:
    return MlflowTracker(workspace, datasets, system=False)


def only_run() -> Run:
    client = MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("srgan").experiment_id])
    return run


def test_a_run_is_in_mlflow_with_everything(
    workspace: Workspace, folder: Path, dataset: Dataset
) -> None:
    with tracker(workspace, dataset) as listener:
        as_listener: TrainingListener = listener
        as_listener.on_start("srgan-1", folder, CONFIG)
        for step in range(20, 2500, 20):
            as_listener.on_metrics("pretrain", step, {"g/content": 1 / step, "learning_rate": 1e-3})
        as_listener.on_metrics("gan", 20, {"g/content": 0.5, "val/psnr_y": float("nan")})
    run, client = only_run(), MlflowClient()
    assert run.info.status == "FINISHED"
    assert run.info.run_id == listener.mlflow_run_id
    assert run.info.run_name == run.data.tags["srgan.run_id"] == "srgan-1"
    assert run.data.tags["srgan.dataset_digests"] == dataset.digest
    assert run.data.params["generator.filters"] == "64"
    assert run.data.params["gan.content.vgg_multi"] == "0.5"
    history = client.get_metric_history(run.info.run_id, "pretrain/g/content")
    assert {m.step: m.value for m in history} == {s: 1 / s for s in range(20, 2500, 20)}
    assert run.data.metrics["gan/g/content"] == 0.5
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", "curves.png", "samples"}
    # Absolute, in the workspace: not ./mlruns of whoever comes first.
    assert run.info.artifact_uri.startswith(workspace.artifacts.as_uri())


def test_the_datasets_are_the_runs_inputs(
    workspace: Workspace, folder: Path, dataset: Dataset
) -> None:
    with tracker(workspace, dataset) as listener:
        listener.on_start("srgan-1", folder, CONFIG)
    [item] = only_run().inputs.dataset_inputs
    assert item.dataset.name == "faces-0123456789ab"
    assert dataset.digest.startswith(item.dataset.digest)
    assert len(item.dataset.digest) == 36
    tags = {tag.key: tag.value for tag in item.tags}
    assert tags == {"mlflow.data.context": "training", "srgan.digest": dataset.digest}
    assert mlflow.data.get_source(item).load() == dataset.place
    assert json.loads(item.dataset.profile) == {"records": {"train": 1, "val": 0, "test": 0}}


def test_a_continued_run_continues_its_mlflow_run(
    workspace: Workspace, folder: Path, dataset: Dataset
) -> None:
    with tracker(workspace, dataset) as first:
        first.on_start("srgan-1", folder, CONFIG)
        first.on_metrics("gan", 1, {"g/total": 1.0})
    with tracker(workspace, dataset) as second:
        second.on_start("srgan-1", folder, CONFIG)
        assert only_run().info.status == "RUNNING"
        second.on_metrics("gan", 2, {"g/total": 0.5})
    run = only_run()
    assert first.mlflow_run_id == second.mlflow_run_id == run.info.run_id
    history = MlflowClient().get_metric_history(run.info.run_id, "gan/g/total")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == [1.0, 0.5]
    assert len(run.inputs.dataset_inputs) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingError("the loss is not a number"), "FAILED"),
        (InterruptedTrainingError("saved at step 7"), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_a_run_ends_as_it_ended(
    workspace: Workspace, folder: Path, error: BaseException, status: str
) -> None:
    def broken() -> None:
        with tracker(workspace) as listener:
            listener.on_start("srgan-1", folder, CONFIG)
            listener.on_metrics("gan", 1, {"g/total": 1.0})
            raise error

    with pytest.raises(type(error)):
        broken()
    assert only_run().info.status == status
    assert only_run().data.metrics["gan/g/total"] == 1.0


def test_a_run_that_never_started_leaves_nothing(workspace: Workspace) -> None:
    with tracker(workspace):
        pass
    assert MlflowClient().get_experiment_by_name("srgan") is None


def test_logging_costs_training_microseconds(
    workspace: Workspace, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = dict.fromkeys(("g/content", "g/adversarial", "g/total", "d/real", "d/fake"), 0.5)
    seconds = []
    with tracker(workspace) as listener:
        listener.on_start("srgan-1", folder, CONFIG)
        for step in range(2000):
            started = time.thread_time()
            listener.on_metrics("gan", step, values)
            seconds.append(time.thread_time() - started)
    # A step takes a tenth of a second; 0.1 ms of it is nothing.
    assert statistics.median(seconds) < 1e-4
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    history = MlflowClient().get_metric_history(listener.mlflow_run_id, "gan/d/fake")
    assert {metric.step for metric in history} == set(range(2000))


def test_system_metrics_are_there(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with MlflowTracker(workspace) as listener:
        listener.on_start("srgan-1", folder, CONFIG)
        time.sleep(1.5)
    metrics = only_run().data.metrics
    assert metrics["system/system_memory_usage_megabytes"] > 0


def test_training_goes_on_without_mlflow_and_what_it_missed_is_sent_later(
    workspace: Workspace,
    folder: Path,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("srgan.tracking._FLUSH_SECONDS", 0.05)
    monkeypatch.setattr("srgan.tracking._RETRY_SECONDS", 0.05)
    database, log = workspace.root / "mlflow.db", MetricsLog(folder / "metrics.jsonl")
    with caplog.at_level(logging.WARNING), tracker(workspace, dataset) as listener:
        listener.on_start("srgan-1", folder, CONFIG)
        for step in (1, 2, 3, 4):
            if step == 2:
                time.sleep(0.5)
                good = database.read_bytes()
                database.write_bytes(b"away" * (len(good) // 4))
            log.write("gan", step, {"g/total": 1 / step})
            listener.on_metrics("gan", step, {"g/total": 1 / step})
            time.sleep(0.3)
    during, after = (r.getMessage() for r in caplog.records if r.name == "srgan.tracking")
    assert "Training goes on; metrics are kept in metrics.jsonl" in during
    assert "MLflow lacks 3 metric values" in after
    assert str(folder) in after
    assert "\n" not in during + after

    database.write_bytes(good)
    sharpest = {"bicubic": {"psnr_y": 27.0}, "model": {"psnr_y": 32.0}}
    part = SliceScores(title="the sharpest quarter", images=3, systems=sharpest)
    evaluation = evaluation_of({"psnr_y": 30.0}, champion={"psnr_y": 29.0}).model_copy(
        update={"slices": {"sharpest": part}}
    )
    log_results("srgan-1", folder, CONFIG, [dataset], evaluation, workspace)
    run = only_run()
    assert run.info.status == "FINISHED"
    history = MlflowClient().get_metric_history(run.info.run_id, "gan/g/total")
    assert sorted((m.step, m.value) for m in history) == [(s, 1 / s) for s in (1, 2, 3, 4)]
    assert run.data.metrics["test/psnr_y"] == 30.0
    assert run.data.metrics["test/bicubic/psnr_y"] == 28.0
    assert run.data.metrics["test/champion/psnr_y"] == 29.0
    assert run.data.metrics["test/sharpest/psnr_y"] == 32.0
    assert run.data.metrics["test/sharpest/bicubic/psnr_y"] == 27.0


def test_results_of_a_run_that_mlflow_never_saw_make_its_run(
    workspace: Workspace, folder: Path, dataset: Dataset
) -> None:
    (folder / "report.html").write_text("<html>")
    first = log_results("srgan-1", folder, CONFIG, [dataset], None, workspace)
    assert log_results("srgan-1", folder, CONFIG, [dataset], None, workspace) == first
    assert only_run().data.tags["srgan.run_id"] == "srgan-1"
    assert "report.html" in {item.path for item in MlflowClient().list_artifacts(first)}


def test_training_does_not_start_when_mlflow_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    listener = tracker(Workspace(tmp_path))
    with pytest.raises(RegistryError, match="does not answer; start the server"):
        listener.on_start("srgan-1", tmp_path, CONFIG)


def test_settings_are_flattened_and_cut_where_mlflow_would_refuse() -> None:
    flat = flatten({"a": {"b": 1, "c": {}}, "d": None, "e": "x" * 600})
    assert flat.keys() == {"a.b", "a.c", "d", "e"}
    assert (flat["a.b"], flat["a.c"], flat["d"]) == ("1", "{}", "None")
    assert len(flat["e"]) == 500
    assert flat["e"].endswith("x…")
