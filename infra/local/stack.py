"""``make stack``: Prefect server, MLflow server and a worker on loopback, until Ctrl-C.

1. take the working directory, end what a killed stack left behind
2. start both servers, wait until they answer
3. create the work pool, close runs that died with an earlier stack
4. start the worker, apply ``prefect.yaml``
5. write ``.srgan.env`` and ``prefect.toml`` for other terminals
6. watch; at the end stop runs, worker and servers, in this order
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.processes import (
    Service,
    ServiceError,
    answers,
    end_family,
    free_port,
    locked,
    start_service,
)
from flows.server import is_up, start_prefect_server
from infra.local import handover
from infra.local.ending import stop
from infra.local.mlflow_server import start_mlflow_server
from infra.local.output import say
from infra.local.settings import USER, StackSettings, state_folder, workspace_password
from infra.until_stopped import guarded, run_until_stopped
from srgan.workspace import ENVIRONMENT_FILE, Workspace

ROOT = Path(__file__).resolve().parents[2]
# The first start creates the databases, on a busy machine within a minute.
START_TIMEOUT = 240.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stack; 0 when it was asked to end, 2 when it could not start or a part died."""
    options = _parser().parse_args(argv)
    return run_until_stopped(
        lambda mark: _run(options, mark), "stopped; the workspace is untouched"
    )


def _run(options: argparse.Namespace, mark: str) -> None:
    workspace = Workspace.from_environment()
    folder = options.folder.resolve()
    with (
        handover.owned_environment_file(folder) as environment_file,
        locked(state_folder(workspace) / "lock", _taken(workspace)),
        guarded(mark, [environment_file, folder / handover.PREFECT_FILE]),
    ):
        left = handover.previous_mark(environment_file)
        if left and (count := end_family(left)):
            say(f"ended {count} processes that a killed stack had left")
        handover.publish(environment_file, mark, {})
        settings = _settings(options, folder, workspace)
        try:
            with _running(settings, mark) as services:
                _hand_over(settings, environment_file, mark)
                _watch(services)
        finally:
            handover.withdraw_prefect_settings(folder, mark)


def _taken(workspace: Workspace) -> str:
    return (
        f"another stack has the workspace {workspace.root}: stop that one, or choose another "
        "workspace with SRGAN_WORKSPACE"
    )


def _settings(options: argparse.Namespace, folder: Path, workspace: Workspace) -> StackSettings:
    prefect_port = free_port(options.prefect_port)
    mlflow_port = free_port(options.mlflow_port, reserved=[prefect_port])
    for name, wanted, port in (
        ("Prefect", options.prefect_port, prefect_port),
        ("MLflow", options.mlflow_port, mlflow_port),
    ):
        if port != wanted:
            say(f"port {wanted} is taken: {name} listens on {port}")
    password = "" if options.no_auth else workspace_password(workspace)
    return StackSettings(folder, workspace, prefect_port, mlflow_port, password)


@contextlib.contextmanager
def _running(settings: StackSettings, mark: str) -> Iterator[list[Service]]:
    """Both servers and the worker, ready; all stopped at the end."""
    began = time.monotonic()
    say(f"starting in {settings.workspace.root} (logs: {settings.logs})")
    servers: list[Service] = []
    workers: list[Service] = []
    try:
        prefect = start_prefect_server(
            settings.workspace,
            settings.prefect_port,
            mark=mark,
            log=settings.logs / "prefect.log",
            settings=settings.prefect_server_settings(),
        )
        servers.append(prefect)
        mlflow = start_mlflow_server(settings, mark)
        servers.append(mlflow)
        prefect.wait_until(lambda: is_up(settings.prefect_port), START_TIMEOUT)
        _run_once(
            settings, mark, "prepare", "-m", "infra.local.prepare_server", str(settings.folder)
        )
        worker = start_worker(settings, mark)
        workers.append(worker)
        _run_once(settings, mark, "deploy", "-m", "prefect", "--no-prompt", "deploy", "--all")
        worker.wait_until(lambda: _worker_online(settings), START_TIMEOUT)
        mlflow.wait_until(lambda: answers(f"{settings.mlflow_url}/health"), START_TIMEOUT)
        say(f"ready after {time.monotonic() - began:.0f} s")
        yield [*servers, *workers]
    finally:
        stop(settings, mark, servers, workers)


def start_worker(settings: StackSettings, mark: str) -> Service:
    """One process worker, one run at a time: two trainings would only slow each other down."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
    return start_service(
        "worker",
        [*command, "--pool", "srgan", "--name", "local", "--limit", "1"],
        mark=mark,
        environment={**settings.client_environment(), "PREFECT_WORKER_QUERY_SECONDS": "2"},
        log=settings.logs / "worker.log",
        folder=ROOT,
    )


def _run_once(settings: StackSettings, mark: str, name: str, *arguments: str) -> None:
    """A step of the start that is a program of its own; its output is shown when it fails."""
    step = start_service(
        name,
        [sys.executable, *arguments],
        mark=mark,
        environment=settings.client_environment(),
        log=settings.logs / f"{name}.log",
        folder=ROOT,
    )
    try:
        code = step.process.wait(START_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{name} did not end within {START_TIMEOUT:.0f} s") from None
    if code:
        step.check_alive()


def _worker_online(settings: StackSettings) -> bool:
    log = settings.logs / "worker.log"
    return "started!" in log.read_text("utf-8", errors="replace")


def _hand_over(settings: StackSettings, environment_file: Path, mark: str) -> None:
    values = settings.client_environment()
    handover.publish(environment_file, mark, values)
    login = settings.password and f"{USER}:{settings.password}"
    say(f"Prefect  {settings.prefect_url}   {login and f'log in with {login}'}")
    say(f"MLflow   {settings.mlflow_url}   {login and 'the same, user and password'}")
    if not handover.publish_prefect_settings(settings.folder, mark, values):
        say(f"{settings.folder / handover.PREFECT_FILE} is your own, so it stays as it is")
    prefect = Path(sys.executable).with_name("prefect")
    within = settings.folder == ROOT and prefect.is_relative_to(ROOT)
    shown = prefect.relative_to(ROOT) if within else prefect
    say(f"\nIn another terminal, in {settings.folder}:")
    say(f"  . ./{ENVIRONMENT_FILE} && {shown} deployment run srgan/train --watch")
    say("\nCtrl-C stops everything.")


def _watch(services: Sequence[Service]) -> None:
    while True:
        for service in services:
            service.check_alive()
        time.sleep(0.5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infra.local.stack", description=__doc__)
    for name, default in (("prefect", 4200), ("mlflow", 5000)):
        variable = f"SRGAN_{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port",
            type=int,
            metavar="PORT",
            default=int(os.environ.get(variable, default)),
            help=f"first choice ({variable}, {default}); where it is taken, the next free one",
        )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT,
        help=f"where {ENVIRONMENT_FILE} is written and runs start (default: the repository)",
    )
    parser.add_argument("--no-auth", action="store_true", help="no log-in on either server")
    return parser


if __name__ == "__main__":
    sys.exit(main())
