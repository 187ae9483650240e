"""The flow ``srgan`` run in this process, with bars in the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import CrashedRun, FailedRun
from prefect.logging.handlers import APILogHandler
from prefect.states import Crashed
from rich.console import Console

from flows.artifacts import watcher
from flows.console import Bars, metrics_table, places_table, times_table
from flows.failures import INTERRUPTED
from flows.train import train
from srgan import storage
from srgan.errors import SrganError
from srgan.runs import RunFolder
from srgan.workspace import Workspace

_TAG = "foreground"


class RunFailedError(SrganError):
    """The flow run ended otherwise than completed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_train_flow(console: Console, **parameters: Any) -> dict[str, Any]:
    """Run the flow with these parameters; its result.

    :class:`RunFailedError` with the run's one line; a defect of ours as it was raised.
    """
    _close_dead_runs()
    with Bars(console) as bars, tags(_TAG):
        token = watcher.set(bars)
        try:
            state = train(**parameters, return_state=True)
        finally:
            watcher.reset(token)
            # The server may be gone before the interpreter sends them at its end.
            APILogHandler().flush()
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        if isinstance(error, Exception) and not isinstance(error, FailedRun | CrashedRun):
            raise error
        code = INTERRUPTED if state.name == "Interrupted" else SrganError.exit_code
        raise RunFailedError(state.message or f"the run ended as {state.name}", code)
    return dict(state.result())


def enhance_sample(result: Mapping[str, Any], workspace: Workspace) -> dict[str, Path]:
    """A test photo that the model never saw, small, enlarged, and as it was."""
    from srgan.records import open_dataset, read_records
    from srgan.registry import resolve_model
    from srgan.upscale import upscale

    dataset = open_dataset(result["dataset"]["place"])
    shard = next(iter(dataset.shards("test") or dataset.shards("val")))
    with storage.open_read(storage.join(dataset.place, shard.name)) as stream:
        record = next(read_records(stream, shard.name))
    folder = workspace.root / "demo"
    pictures = {name: folder / f"{name}.png" for name in ("before", "after", "original")}
    storage.write_bytes(str(pictures["before"]), record.lr)
    storage.write_bytes(str(pictures["original"]), record.hr)
    model = resolve_model(result["version"]["uri"], workspace, scale=dataset.manifest.config.scale)
    summary = upscale(str(pictures["before"]), str(pictures["after"]), model)
    for failure in summary.failures:
        raise SrganError(f"{failure.name}: {failure.detail}")
    return pictures


def show(
    console: Console,
    result: Mapping[str, Any],
    pictures: Mapping[str, Path],
    workspace: Workspace,
) -> None:
    """Measurements, times and places."""
    run = RunFolder(Path(result["training"]["folder"]))
    evaluation, decision = result["evaluation"], result["decision"]
    console.print()
    console.print(metrics_table(evaluation["systems"], evaluation["images"]))
    console.print(times_table(result))
    for note in result["training"]["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    verdict = "champion now" if decision["promoted"] else "challenger, not champion"
    console.print(
        places_table(
            {
                "dataset": result["dataset"]["place"],
                "run": str(run.path),
                "curves": str(run.curves),
                "animation": str(run.animation),
                "report": str(run.report),
                "model": f"{result['version']['uri']}, {verdict}",
                "because": "; ".join(decision["reasons"]),
                "photo before": str(pictures["before"]),
                "photo after": str(pictures["after"]),
                "photo itself": str(pictures["original"]),
                "MLflow": _tracking(workspace),
            }
        )
    )


def _tracking(workspace: Workspace) -> str:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith("http"):
        return uri
    return f"{uri} (SRGAN_WORKSPACE={workspace.root} make stack shows it)"


def _close_dead_runs() -> None:
    """Runs of ours that look alive are of killed processes: only one has the workspace's lock."""
    unfinished = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished)),
                tags=FlowRunFilterTags(all_=[_TAG]),
            ),
            sort=FlowRunSort.START_TIME_DESC,
            limit=200,
        ):
            client.set_flow_run_state(
                run.id,
                Crashed(message="Its process ended. The same command continues."),
                force=True,
            )
