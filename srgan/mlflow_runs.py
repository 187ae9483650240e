"""An MLflow run brought up to its run folder: settings, datasets, metrics, files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srgan
from srgan import storage
from srgan.config import RunConfig
from srgan.metricslog import read_metrics
from srgan.mlflow_store import (
    connect,
    experiment_id,
    find_or_create_run,
    reported,
    tracking_uri,
)
from srgan.records import Dataset
from srgan.scores import MODEL, Evaluation
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.tracking import MlflowClient

DIGESTS = "srgan.dataset_digests"
METRICS = "metrics.jsonl"
METRICS_IN_BATCH = 1000
# The run folder's files that MLflow keeps too; checkpoints and models stay where they are.
FILES = (
    "config.yaml",
    "training.json",
    METRICS,
    "curves.png",
    "progress.webp",
    "evaluation.json",
    "per_image.csv",
    "report.html",
)
SAMPLES = "samples"
_PARAM_LIMIT = 500
_PARAMS_IN_BATCH = 100
# Of the dataset's sha256 MLflow's own column has room for so many digits; a tag has them all.
_DIGEST_DIGITS = 36


def open_run(
    client: MlflowClient,
    experiment: str,
    run_id: str,
    folder: Path,
    config: RunConfig,
    datasets: Sequence[Dataset],
) -> str:
    """MLflow's id of the run of ``run_id``, running, with its settings and datasets logged."""
    from mlflow.entities import Param

    tags = {
        DIGESTS: ",".join(dataset.digest for dataset in datasets),
        "srgan.folder": str(folder),
        "srgan.code_version": srgan.__version__,
    }
    run = find_or_create_run(client, experiment, run_id, tags)
    mlflow_run = str(run.info.run_id)
    if run.info.status != "RUNNING":
        client.update_run(mlflow_run, status="RUNNING")
    # MLflow refuses to change a parameter; a continued run has the same ones anyway.
    params = [
        Param(key, value)
        for key, value in flatten(config.model_dump(mode="json")).items()
        if key not in run.data.params
    ]
    for start in range(0, len(params), _PARAMS_IN_BATCH):
        client.log_batch(mlflow_run, params=params[start : start + _PARAMS_IN_BATCH])
    if datasets:
        client.log_inputs(mlflow_run, [_dataset_input(dataset) for dataset in datasets])
    return mlflow_run


def log_results(
    run_id: str,
    folder: Path,
    config: RunConfig,
    datasets: Sequence[Dataset],
    evaluation: Evaluation | None,
    workspace: Workspace,
) -> str:
    """Bring the MLflow run of a finished run up to its folder; returns MLflow's id of it.

    Sends metrics that MLflow missed while it was away, the evaluation's means as
    ``<split>/<metric>`` (bicubic's and the champion's as ``<split>/<system>/<metric>``, a slice's
    as ``<split>/<slice>/…``), and the folder's files. Creates the run where MLflow never saw it.
    Raises :class:`RegistryError`.
    """
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        experiment = experiment_id(client, workspace)
        mlflow_run = open_run(client, experiment, run_id, folder, config, datasets)
        metrics = _missing_metrics(client, mlflow_run, folder / METRICS)
        if evaluation is not None:
            metrics += _evaluation_metrics(evaluation)
        for start in range(0, len(metrics), METRICS_IN_BATCH):
            client.log_batch(mlflow_run, metrics=metrics[start : start + METRICS_IN_BATCH])
        log_files(client, mlflow_run, folder)
        client.set_terminated(mlflow_run, "FINISHED")
    return mlflow_run


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"a": {"b": 1}}`` to ``{"a.b": "1"}``; values longer than 500 characters end in ``…``."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            text = str(value)
            flat[name] = text if len(text) <= _PARAM_LIMIT else text[: _PARAM_LIMIT - 1] + "…"
    return flat


def to_metrics(
    stage: str, step: int, metrics: Mapping[str, float], seconds: float
) -> Iterator[Metric]:
    """MLflow's metrics ``<stage>/<name>`` at a step, logged ``seconds`` after the epoch."""
    from mlflow.entities import Metric

    for name, value in metrics.items():
        yield Metric(f"{stage}/{name}", float(value), int(seconds * 1000), int(step))


def _missing_metrics(client: MlflowClient, run: str, path: Path) -> list[Metric]:
    """Lines of ``metrics.jsonl`` whose step MLflow does not have."""
    wanted: dict[tuple[str, int], Metric] = {}
    for entry in read_metrics(path):
        stage, step = str(entry.pop("stage")), int(entry.pop("step"))
        for metric in to_metrics(stage, step, entry, time.time()):
            wanted[metric.key, metric.step] = metric
    for key in {key for key, _ in wanted}:
        for metric in client.get_metric_history(run, key):
            wanted.pop((key, metric.step), None)
    return list(wanted.values())


def _evaluation_metrics(evaluation: Evaluation) -> list[Metric]:
    metrics: list[Metric] = []
    parts = {evaluation.split: evaluation.systems} | {
        f"{evaluation.split}/{name}": part.systems for name, part in evaluation.slices.items()
    }
    for part, systems in parts.items():
        for system, values in systems.items():
            place = part if system == MODEL else f"{part}/{system}"
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            metrics += to_metrics(place, 0, finite, time.time())
    return metrics


def _dataset_input(dataset: Dataset) -> DatasetInput:
    """Lineage without reading a byte of the data."""
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag

    entity = Entity(
        name=storage.base_name(dataset.place),
        digest=dataset.digest[:_DIGEST_DIGITS],
        source_type="gs" if storage.scheme(dataset.place) == "gs" else "local",
        source=json.dumps({"uri": dataset.place}),
        profile=json.dumps({"records": dataset.manifest.records}),
    )
    tags = {"mlflow.data.context": "training", "srgan.digest": dataset.digest}
    return DatasetInput(entity, [InputTag(key, value) for key, value in tags.items()])


def log_files(client: MlflowClient, run: str, folder: Path) -> None:
    """The run folder's reports, curves and samples as artifacts, as far as they are there."""
    for name in FILES:
        if (folder / name).is_file():
            client.log_artifact(run, str(folder / name))
    if (folder / SAMPLES).is_dir():
        client.log_artifacts(run, str(folder / SAMPLES), SAMPLES)
