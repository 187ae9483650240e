"""The MLflow server or database that this process talks to: reach it, its experiment, its runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from srgan.errors import RegistryError
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT = "srgan"
RUN_ID = "srgan.run_id"
# MLflow's own defaults retry a server that is gone for minutes.
_PROBE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
_BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(workspace: Workspace) -> str:
    """``MLFLOW_TRACKING_URI``, else the SQLite database of the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or workspace.default_tracking_uri


def check_connection(workspace: Workspace) -> None:
    """Reach MLflow within seconds, or raise :class:`RegistryError` with the URI and the fix.

    A SQLite database that is not there yet is created.
    """
    uri = tracking_uri(workspace)
    _check_address(uri)
    with _environment(_PROBE, override=True), reported(uri):
        _client(uri).search_experiments(max_results=1)


def connect(workspace: Workspace) -> MlflowClient:
    """A client of an MLflow that was reached just now."""
    check_connection(workspace)
    # From here on a request gives up after seconds: what waits for it is training or a person.
    for name, value in _BRIEF.items():
        os.environ.setdefault(name, value)
    return _client(tracking_uri(workspace))


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Turns what MLflow, its HTTP client and its database raise into one line about ``uri``."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        roots = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
        if not roots & {"mlflow", "requests", "urllib3", "sqlalchemy", "alembic", "sqlite3"}:
            raise
        raise RegistryError(_explain(uri, error)) from error


def experiment_id(client: MlflowClient, workspace: Workspace) -> str:
    """The id of experiment ``srgan``, created where it is missing.

    Over a database its artifacts get an absolute place in the workspace (MLflow would use
    ``./mlruns`` of whoever comes first); a server decides for itself.
    """
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(workspace)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        local = not uri.startswith(("http://", "https://"))
        try:
            return str(
                client.create_experiment(
                    EXPERIMENT, workspace.artifacts.as_uri() if local else None
                )
            )
        except MlflowException:
            # Another process was first, or there is a real problem that this read shows.
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise RegistryError(
            f"{shown(uri)}: experiment {EXPERIMENT!r} is deleted; restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    return str(found.experiment_id)


def find_run(client: MlflowClient, experiment: str, run_id: str) -> Run | None:
    """The MLflow run of one of our runs, by its tag."""
    runs = client.search_runs([experiment], f"tags.`{RUN_ID}` = '{run_id}'", max_results=1)
    return runs[0] if runs else None


def find_or_create_run(
    client: MlflowClient, experiment: str, run_id: str, tags: Mapping[str, str]
) -> Run:
    """The MLflow run of one of our runs: there is never more than one."""
    run = find_run(client, experiment, run_id)
    if run is None:
        return client.create_run(experiment, tags={RUN_ID: run_id, **tags}, run_name=run_id)
    return run


def shown(uri: str) -> str:
    """A URI without its password."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def _client(uri: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _check_address(uri: str) -> None:
    """What can be told before MLflow, which would retry for a long time, is asked."""
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if kind == "sqlite":
        path = Path(uri.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"{uri}: cannot create its folder: {error.strerror}; set SRGAN_WORKSPACE or "
                "MLFLOW_TRACKING_URI to a place that can be written"
            ) from None
    elif kind in _DATABASE_PORTS:
        address = (parts.hostname or "localhost", parts.port or _DATABASE_PORTS[kind])
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError as error:
            raise RegistryError(_explain(uri, error)) from None
    elif kind not in ("http", "https"):
        raise RegistryError(
            f"MLFLOW_TRACKING_URI={uri}: not supported; use sqlite:///<absolute path>, "
            "postgresql://… or the http(s):// address of an MLflow server"
        )


def _explain(uri: str, error: Exception) -> str:
    detail = " ".join(str(error).split()).partition(" [SQL: ")[0]
    lower = detail.lower()
    if "401" in detail or "403" in detail or "not authenticated" in lower:
        fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
        return f"MLflow at {shown(uri)} refuses this user; {fix}"
    if "max retries" in lower or isinstance(error, OSError) or "timed out" in lower:
        fix = "start the server, or unset MLFLOW_TRACKING_URI to use the workspace's database"
        return f"MLflow at {shown(uri)} does not answer; {fix}"
    return f"MLflow at {shown(uri)}: {detail[:300]}"


@contextmanager
def _environment(values: Mapping[str, str], *, override: bool) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if override or before[name] is None:
            os.environ[name] = value
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
