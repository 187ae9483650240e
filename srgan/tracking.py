"""A training run in MLflow: settings, metrics over steps, the data it saw, its files.

MLflow looks on. While it cannot be reached training goes on, and what it missed is in the run
folder's ``metrics.jsonl``, from which :func:`log_results` sends it later.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import srgan
from srgan import storage
from srgan.config import RunConfig
from srgan.errors import RegistryError
from srgan.mlflow_store import (
    connect,
    experiment_id,
    find_or_create_run,
    reported,
    shown,
    tracking_uri,
)
from srgan.records import Dataset
from srgan.scores import MODEL, Evaluation
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.tracking import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]
DIGESTS = "srgan.dataset_digests"
# The run folder's files that MLflow keeps too; checkpoints and models stay where they are.
FILES = (
    "config.yaml",
    "training.json",
    "metrics.jsonl",
    "curves.png",
    "progress.webp",
    "evaluation.json",
    "per_image.csv",
    "report.html",
)
SAMPLES = "samples"
METRICS = "metrics.jsonl"
_PARAM_LIMIT = 500
_PARAMS_IN_BATCH = 100
_METRICS_IN_BATCH = 1000
# Of the dataset's sha256 MLflow's own column has room for so many digits; a tag has them all.
_DIGEST_DIGITS = 36
_FLUSH_SECONDS = 5.0
_RETRY_SECONDS = 30.0
_SPEED_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class MlflowTracker:
    """A training listener that writes to MLflow; leave its ``with`` block to end the run.

    A continued run continues its MLflow run. Metrics are sent by a thread in batches, so that
    logging costs the training loop an append to a list. Only :meth:`on_start` raises
    (:class:`RegistryError`, when MLflow cannot be reached before training has begun).
    """

    def __init__(
        self, workspace: Workspace, datasets: Sequence[Dataset] = (), *, system: bool = True
    ) -> None:
        self._workspace = workspace
        self._datasets = datasets
        self._system = system
        self._uri = shown(tracking_uri(workspace))
        self._client: MlflowClient | None = None
        self._run = ""
        self._folder = Path()
        self._waiting: deque[Metric] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._monitor: Any = None
        self._warned = False
        self._not_before = 0.0
        self._speed_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    @property
    def mlflow_run_id(self) -> str:
        """MLflow's own id of the run; empty before :meth:`on_start`."""
        return self._run

    def on_start(self, run_id: str, folder: Path, config: RunConfig) -> None:
        """Open (again) the MLflow run of ``run_id`` with its settings and datasets."""
        client = connect(self._workspace)
        with reported(self._uri):
            experiment = experiment_id(client, self._workspace)
            self._run = open_run(client, experiment, run_id, folder, config, self._datasets)
        self._client, self._folder = client, folder
        if self._system:
            self._monitor = _system_monitor(self._run, tracking_uri(self._workspace))
        self._thread = threading.Thread(target=self._send_often, daemon=True, name="mlflow-metrics")
        self._thread.start()

    def on_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Queue metrics as ``<stage>/<name>``."""
        self._waiting.extend(_to_metrics(stage, step, metrics, time.time()))

    def on_progress(
        self,
        stage: str,
        done: int,
        total: int,
        images_per_second: float,
        eta_seconds: float,
    ) -> None:
        """Queue the speed now and then."""
        del total, eta_seconds
        if time.monotonic() >= self._speed_at:
            self._speed_at = time.monotonic() + _SPEED_SECONDS
            self.on_metrics(stage, done, {"images_per_second": images_per_second})

    def finish(self, status: Status) -> None:
        """Send what is left, the run folder's files and the status; never raises for MLflow."""
        if self._client is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._monitor is not None:
            self._monitor.finish()
        try:
            with reported(self._uri):
                self._send()
                _log_files(self._client, self._run, self._folder)
                self._client.set_terminated(self._run, status)
        except RegistryError as error:
            _logger.warning(
                "%s. MLflow lacks %d metric values, files and the end of run %s; they are in %s "
                "and are sent when the run is evaluated or continued",
                error,
                len(self._waiting),
                self._run,
                self._folder,
            )
        self._client = None

    def _send_often(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            if time.monotonic() < self._not_before:
                continue
            try:
                with reported(self._uri):
                    self._send()
            except RegistryError as error:
                self._not_before = time.monotonic() + _RETRY_SECONDS
                if not self._warned:
                    self._warned = True
                    _logger.warning("%s. Training goes on; metrics are kept in %s", error, METRICS)

    def _send(self) -> None:
        assert self._client is not None
        while batch := [
            self._waiting[i] for i in range(min(len(self._waiting), _METRICS_IN_BATCH))
        ]:
            self._client.log_batch(self._run, metrics=batch)
            for _ in batch:
                self._waiting.popleft()


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
    ``<split>/<metric>`` (bicubic's and the champion's as ``<split>/<system>/<metric>``), and the
    folder's files. Creates the run where MLflow never saw it. Raises :class:`RegistryError`.
    """
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        experiment = experiment_id(client, workspace)
        mlflow_run = open_run(client, experiment, run_id, folder, config, datasets)
        metrics = _missing_metrics(client, mlflow_run, folder / METRICS)
        if evaluation is not None:
            metrics += _evaluation_metrics(evaluation)
        for start in range(0, len(metrics), _METRICS_IN_BATCH):
            client.log_batch(mlflow_run, metrics=metrics[start : start + _METRICS_IN_BATCH])
        _log_files(client, mlflow_run, folder)
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


def _to_metrics(
    stage: str, step: int, metrics: Mapping[str, float], seconds: float
) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for name, value in metrics.items():
        yield Metric(f"{stage}/{name}", float(value), int(seconds * 1000), int(step))


def _missing_metrics(client: MlflowClient, run: str, path: Path) -> list[Metric]:
    """Lines of ``metrics.jsonl`` whose step MLflow does not have."""
    if not path.is_file():
        return []
    wanted: dict[tuple[str, int], Metric] = {}
    for line in path.read_text("utf-8").splitlines():
        record: dict[str, Any] = json.loads(line)
        stage, step = str(record.pop("stage")), int(record.pop("step"))
        numbers = {k: v for k, v in record.items() if isinstance(v, (int, float))}
        for metric in _to_metrics(stage, step, numbers, time.time()):
            wanted[metric.key, metric.step] = metric
    for key in {key for key, _ in wanted}:
        for metric in client.get_metric_history(run, key):
            wanted.pop((key, metric.step), None)
    return list(wanted.values())


def _evaluation_metrics(evaluation: Evaluation) -> list[Metric]:
    metrics: list[Metric] = []
    for system, values in evaluation.systems.items():
        place = evaluation.split if system == MODEL else f"{evaluation.split}/{system}"
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        metrics += _to_metrics(place, 0, finite, time.time())
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


def _log_files(client: MlflowClient, run: str, folder: Path) -> None:
    for name in FILES:
        if (folder / name).is_file():
            client.log_artifact(run, str(folder / name))
    if (folder / SAMPLES).is_dir():
        client.log_artifacts(run, str(folder / SAMPLES), SAMPLES)


def _system_monitor(run: str, uri: str) -> Any:
    """MLflow's own thread for CPU, memory, disk, network and GPU, every ten seconds."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, resume_logging=True, tracking_uri=uri)
    monitor.start()
    return monitor
