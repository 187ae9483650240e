"""A Flink session cluster for Beam jobs on this machine, until Ctrl-C.

    python -m infra.flink.cluster

One job manager, task managers, Beam's job server and a pool of Python workers. Missing jars are
fetched first. A task manager that dies is replaced; jobs go on meanwhile.

All of it listens on loopback, except the ports that task managers open for their Python workers
while a job runs: Beam has no option for those. On a network that you do not trust, keep the ports
of this machine closed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.processes import (
    Service,
    end_family,
    free_port,
    locked,
    start_service,
)
from infra.flink.distribution import HERE, Distribution, cached, fetch
from infra.flink.java import Java, find_java
from infra.flink.settings import HOST, JOB_MANAGER, JOB_SERVER, TASK_MANAGER, ClusterSettings
from infra.local.output import say
from infra.until_stopped import guarded, run_until_stopped

ROOT = HERE.parents[1]
START_TIMEOUT = 120.0
# More deaths than this within a minute are no accident.
_REPLACEMENTS = 5


@dataclass
class Cluster:
    """The running processes."""

    settings: ClusterSettings
    distribution: Distribution
    java: Java
    mark: str
    task_managers: dict[int, Service] = field(default_factory=dict)
    others: list[Service] = field(default_factory=list)

    def start(self) -> None:
        """Start all, and wait until jobs may come."""
        settings = self.settings
        manager = self._start_java(
            "job-manager",
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            *("--configDir", str(settings.configuration), "--executionMode", "cluster"),
            memory=JOB_MANAGER,
        )
        pool = start_service(
            "worker-pool",
            [sys.executable, "-m", "beam_jobs.worker_pool", "--port", str(settings.pool_port)],
            mark=self.mark,
            environment={},
            log=settings.logs / "worker-pool.log",
            folder=ROOT,
        )
        server = self._start_java(
            "job-server",
            str(HERE / "JobServer.java"),
            f"--flink-master={HOST}:{settings.rest_port}",
            f"--flink-conf-dir={settings.configuration}",
            *("--job-host=localhost", f"--job-port={settings.job_port}"),
            *("--artifact-port=0", "--expansion-port=0"),
            f"--artifacts-dir={settings.temporary / 'artifacts'}",
            memory=JOB_SERVER,
        )
        self.others += [manager, pool, server]
        for number in range(1, settings.task_managers + 1):
            self._start_task_manager(number)
        manager.wait_until(self._all_registered, START_TIMEOUT)
        server.wait_until(lambda: _listens(settings.job_port), START_TIMEOUT)
        pool.wait_until(lambda: _listens(settings.pool_port), START_TIMEOUT)

    def watch(self) -> None:
        """Replace task managers that die; where something else does, that is a ``ServiceError``."""
        deaths: list[float] = []
        while True:
            for service in self.others:
                service.check_alive()
            for number, service in list(self.task_managers.items()):
                code = service.process.poll()
                if code is None:
                    continue
                deaths = [t for t in deaths if t > time.monotonic() - 60] + [time.monotonic()]
                if len(deaths) > _REPLACEMENTS:
                    service.check_alive()
                say(f"{service.name} ended (exit status {code}): starting another one")
                self._start_task_manager(number)
            time.sleep(0.3)

    def _start_task_manager(self, number: int) -> None:
        self.task_managers[number] = self._start_java(
            f"task-manager-{number}",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            *("--configDir", str(self.settings.configuration)),
            memory=TASK_MANAGER,
        )

    def _start_java(self, name: str, main: str, *arguments: str, memory: dict[str, int]) -> Service:
        log4j = self.settings.configuration / "log4j.properties"
        command = self.java.command(
            main,
            *arguments,
            class_path=self.distribution.class_path,
            memory=memory,
            properties={
                "java.io.tmpdir": str(self.settings.temporary),
                "log4j.configurationFile": f"file:{log4j}",
            },
        )
        return start_service(
            name,
            command,
            mark=self.mark,
            environment={},
            log=self.settings.logs / f"{name}.log",
            folder=self.settings.folder,
        )

    def _all_registered(self) -> bool:
        for service in [*self.others, *self.task_managers.values()]:
            service.check_alive()
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(f"{self.settings.rest_url}/overview", timeout=5) as answer:
                found = json.load(answer)
            return bool(found["taskmanagers"] == self.settings.task_managers)
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster; 0 when it was asked to end, 2 when it could not start or a part died."""
    options = _parser().parse_args(argv)
    return run_until_stopped(lambda mark: _run(options, mark), "stopped")


def _run(options: argparse.Namespace, mark: str) -> None:
    java = find_java()
    distribution = cached()
    fetch(distribution)
    folder = (options.folder or distribution.folder / "cluster").absolute()
    taken = f"a cluster with the folder {folder} is already running; choose another --folder"
    with locked(folder / "lock", taken), guarded(mark):
        settings = _settings(options, folder)
        shutil.rmtree(settings.temporary, ignore_errors=True)
        settings.temporary.mkdir(parents=True)
        settings.write()
        cluster = Cluster(settings, distribution, java, mark)
        try:
            began = time.monotonic()
            say(f"starting (logs: {settings.logs})")
            cluster.start()
            say(f"ready after {time.monotonic() - began:.0f} s")
            _say_how(settings)
            cluster.watch()
        finally:
            # Nothing of it is worth an orderly end: jobs that run are lost with the job manager.
            end_family(mark, grace=3.0)
            shutil.rmtree(settings.temporary, ignore_errors=True)


def _settings(options: argparse.Namespace, folder: Path) -> ClusterSettings:
    ports: dict[str, int] = {}
    for name in ("rest", "job", "pool", "rpc"):
        wanted = getattr(options, f"{name}_port")
        ports[name] = free_port(wanted, reserved=list(ports.values()))
        if ports[name] != wanted and name != "rpc":
            say(f"port {wanted} is taken: {ports[name]} instead")
    return ClusterSettings(
        folder=folder,
        rest_port=ports["rest"],
        job_port=ports["job"],
        pool_port=ports["pool"],
        rpc_port=ports["rpc"],
        task_managers=options.task_managers,
        slots=options.slots,
    )


def _say_how(settings: ClusterSettings) -> None:
    python = Path(sys.executable)
    shown = python.relative_to(ROOT) if python.is_relative_to(ROOT) else python
    job = f"{shown} -m beam_jobs.build_pairs --input photos --output workspace/datasets"
    say(f"Flink    {settings.rest_url}")
    say(f"\nIn another terminal, in {ROOT}:")
    say(f"  {job} {' '.join(map(shlex.quote, settings.pipeline_arguments))}")
    say("\nCtrl-C stops everything.")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.flink.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, default, what in (
        ("rest", 8081, "Flink's web page"),
        ("job", 8099, "Beam's job server"),
        ("pool", 50000, "the worker pool"),
        ("rpc", 6123, "Flink's processes among themselves"),
    ):
        parser.add_argument(
            f"--{name}-port",
            type=int,
            metavar="PORT",
            default=default,
            help=f"{what}: first choice ({default}); where it is taken, the next free one",
        )
    parser.add_argument(
        "--task-managers", type=int, default=2, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--slots",
        type=int,
        default=2,
        metavar="N",
        help="of each task manager; one is used, the others stand in for a dead one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="of this cluster: configuration, logs, temporary files (default: in the cache)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
