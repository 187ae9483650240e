"""A training run in MLflow: settings, metrics over steps, the data it saw, its files.

MLflow looks on. While it cannot be reached training goes on, and what it missed is in the run
folder's ``metrics.jsonl``, from which :func:`log_results` sends it later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from srgan.config import RunConfig
from srgan.errors import RegistryError
from srgan.interrupts import InterruptedTrainingError
from srgan.mlflow_runs import (
    METRICS,
    METRICS_IN_BATCH,
    log_files,
    log_results,
    open_run,
    to_metrics,
)
from srgan.mlflow_store import connect, experiment_id, reported, shown, tracking_uri
from srgan.records import Dataset
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    from srgan.progress import TrainProgress

__all__ = ["MlflowTracker", "log_results"]

Status = Literal["FINISHED", "FAILED", "KILLED"]
_FLUSH_SECONDS = 5.0
_RETRY_SECONDS = 30.0

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
            stopped = issubclass(kind, (InterruptedTrainingError, KeyboardInterrupt))
            self.finish("KILLED" if stopped else "FAILED")

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
        self._waiting.extend(to_metrics(stage, step, metrics, time.time()))

    def on_progress(self, progress: TrainProgress) -> None:
        """Nothing more: speed and losses are among the metrics."""

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
                log_files(self._client, self._run, self._folder)
                self._client.set_terminated(self._run, status)
        except RegistryError as error:
            _logger.warning(
                "%s. MLflow lacks %d metric values, files and the end of run %s; they are in %s "
                "and are sent when the run is evaluated",
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
        while batch := [self._waiting[i] for i in range(min(len(self._waiting), METRICS_IN_BATCH))]:
            self._client.log_batch(self._run, metrics=batch)
            for _ in batch:
                self._waiting.popleft()


def _system_monitor(run: str, uri: str) -> Any:
    """MLflow's own thread for CPU, memory, disk, network and GPU, every ten seconds."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, resume_logging=True, tracking_uri=uri)
    monitor.start()
    return monitor
