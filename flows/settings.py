"""The Prefect settings of this project, set before Prefect is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from srgan.workspace import Workspace


def prefect_defaults(workspace: Workspace) -> dict[str, str]:
    """Settings that every process of ours runs Prefect with, as environment variables.

    The database is the workspace's, so that runs of the embedded server are on the pages of the
    local stack as well, and nobody's own ``~/.prefect`` is touched. Results are JSON: Prefect
    pickles by default.
    """
    return {
        "PREFECT_HOME": str(workspace.root / "prefect"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "true",
    }


# What a server does without when it lives as long as one flow run: nothing is scheduled, and
# nobody but that run writes to it.
EMBEDDED_SERVER: Mapping[str, str] = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}


def prepare_prefect(workspace: Workspace) -> None:
    """Fill the process environment with :func:`prefect_defaults`; what is set already stays.

    Called after ``srgan.workspace.prepare_environment`` and before the first import of Prefect,
    which reads its settings once.
    """
    for name, value in prefect_defaults(workspace).items():
        os.environ.setdefault(name, value)
    # Prefect does not make its parents.
    Path(os.environ["PREFECT_HOME"]).expanduser().mkdir(parents=True, exist_ok=True)
