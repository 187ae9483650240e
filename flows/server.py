"""A Prefect server of our own as a child process: the local stack's and the demo's."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.processes import (
    MARK,
    Service,
    ServiceError,
    answers,
    end_family,
    free_port,
    new_mark,
    start_guardian,
    start_service,
)
from flows.settings import EMBEDDED_SERVER, prefect_defaults
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


@dataclass(frozen=True)
class PrefectForUs:
    """A server that this process uses: its pages, and a call that returns when it answers."""

    page: str
    wait: Callable[[], None]


@contextlib.contextmanager
def prefect_for_us(workspace: Workspace, timeout: float = 180.0) -> Iterator[PrefectForUs]:
    """The server of ``PREFECT_API_URL``; where there is none, one for this process alone.

    Entered before Prefect is imported, which reads the address once. Prefect's own embedded
    server would outlive a killed process, and starts only when the import is through.
    """
    url = os.environ.get("PREFECT_API_URL")
    if url:
        if not answers(f"{url}/health"):
            raise ServiceError(
                f"PREFECT_API_URL={url}: no Prefect server answers there; start it (make stack), "
                "or unset it and delete a .srgan.env that was left behind"
            )
        yield PrefectForUs(url.removesuffix("/api"), lambda: None)
        return
    # Not 4200, where another server may be starting: until it listens the port looks free, and
    # then its answers would pass for ours. No two processes begin their search at one port.
    mark, port = new_mark(), free_port(20_000 + os.getpid() % 20_000)
    # Processes that we start ourselves shall end with us as well.
    os.environ[MARK] = mark
    os.environ["PREFECT_API_URL"] = api_url(port)
    guardian = start_guardian(mark)
    try:
        log = workspace.root / "logs" / "prefect-embedded.log"
        server = start_prefect_server(workspace, port, mark=mark, log=log, settings=EMBEDDED_SERVER)
        yield PrefectForUs(
            f"http://127.0.0.1:{port}", lambda: server.wait_until(lambda: is_up(port), timeout)
        )
        server.stop()
    finally:
        end_family(mark, grace=2.0)
        guardian.kill()
        guardian.wait()
