"""Runs once after the Prefect server is up: the work pool, and the runs of a stack that died.

A process of its own, because importing Prefect costs the stack 150 MB for as long as it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from infra.local.settings import POOL

UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def main(folder: Path) -> None:
    """Create or update the pool so that runs start in ``folder``, and close dead runs."""
    with get_client(sync_client=True) as client:
        create_pool(client, folder)
        for name in close_dead_runs(client):
            print(f"flow run {name!r} was cut off when an earlier stack ended: marked as crashed")


def create_pool(client: SyncPrefectClient, folder: Path) -> None:
    """The process pool; runs start in ``folder``, where relative paths mean what they say."""
    template = process_template(folder)
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        )
    else:
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template, is_paused=False))


def process_template(folder: Path) -> dict[str, Any]:
    """The process worker's own job template with ``folder`` as the default working directory."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["working_dir"]["default"] = str(folder)
    return template


def close_dead_runs(client: SyncPrefectClient) -> list[str]:
    """Mark the pool's runs that look alive as crashed: no worker runs yet, so none of them is."""
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        sort=FlowRunSort.START_TIME_DESC,
        limit=200,
    )
    for run in runs:
        client.set_flow_run_state(
            run.id,
            Crashed(message="The stack that ran it ended. Run it again: it continues."),
            force=True,
        )
    return [run.name for run in runs]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
