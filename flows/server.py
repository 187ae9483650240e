"""A Prefect server of our own as a child process: the local stack's and the demo's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from flows.processes import Service, answers, start_service
from flows.settings import prefect_defaults
from srgan.workspace import Workspace


def start_prefect_server(
    workspace: Workspace,
    port: int,
    *,
    mark: str,
    log: Path,
    settings: Mapping[str, str] | None = None,
) -> Service:
    """Start a server on loopback over the workspace's SQLite database; see :func:`is_up`."""
    workspace.root.mkdir(parents=True, exist_ok=True)
    return start_service(
        "Prefect server",
        [sys.executable, "-m", "prefect", "server", "start"],
        mark=mark,
        environment={
            **prefect_defaults(workspace),
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            # A server that is a client of another one would write there.
            "PREFECT_API_URL": None,
            **(settings or {}),
        },
        log=log,
        folder=workspace.root,
    )


def api_url(port: int) -> str:
    """The API's address for ``PREFECT_API_URL``."""
    return f"http://127.0.0.1:{port}/api"


def is_up(port: int) -> bool:
    """Whether the server answers; its first start also creates the database."""
    return answers(f"{api_url(port)}/health")
