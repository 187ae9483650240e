"""The orderly end of the stack: runs first, so that they save and report; the servers last."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import urllib.request
from collections.abc import Sequence

import psutil

from flows.processes import Service, end_family, family
from infra.local.output import say
from infra.local.settings import POOL, USER, StackSettings

# A run finishes its step and writes a checkpoint when it is told to end.
RUN_GRACE = 60.0


def stop(
    settings: StackSettings, mark: str, servers: Sequence[Service], workers: Sequence[Service]
) -> None:
    """Stop everything that carries ``mark``; nothing of it is left afterwards.

    1. pause the pool, so that no run starts any more
    2. end the runs: told by itself to end, the worker would kill them at once
    3. the worker, the servers, and whatever else there is
    """
    if workers:
        say("stopping")
        _pause_pool(settings)
    runs = end_runs(mark)
    if runs:
        say("waiting for the run to save")
        psutil.wait_procs(runs, RUN_GRACE)
    for worker in workers:
        worker.stop(first=signal.SIGINT)
    for server in reversed(servers):
        server.stop()
    end_family(mark, grace=2.0)


def end_runs(mark: str) -> list[psutil.Process]:
    """Ask the flow runs to end: the topmost process of each, which tells its own children."""
    runs = {}
    for process in family(mark):
        with contextlib.suppress(psutil.Error):
            if "PREFECT__FLOW_RUN_ID" in process.environ():
                runs[process.pid] = process
    for process in runs.values():
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in runs:
                process.terminate()
    return list(runs.values())


def _pause_pool(settings: StackSettings) -> None:
    login = base64.b64encode(f"{USER}:{settings.password}".encode()).decode()
    request = urllib.request.Request(
        f"{settings.prefect_url}/api/work_pools/{POOL}",
        data=json.dumps({"is_paused": True}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {login}"},
        method="PATCH",
    )
    # Where the server is what died there is nobody to ask, and nobody who hands out runs.
    with contextlib.suppress(OSError):
        urllib.request.urlopen(request, timeout=5).close()
