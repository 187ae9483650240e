"""Flink: a session cluster behind Beam's job server, or the one that Beam starts by itself."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from beam_jobs.engines.beam import option
from beam_jobs.engines.failures import EngineError
from srgan.errors import ConfigError

START = "start one with: python -m infra.flink.cluster"


def runner(arguments: Sequence[str]) -> str:
    """Beam's name: with a job server at hand it is one runner, without it another."""
    return "FlinkRunner" if option(arguments, "job_endpoint") is None else "PortableRunner"


def arguments_for(arguments: Sequence[str], workers: int) -> list[str]:
    """Further options: ``workers`` is the parallelism; 0 leaves it to the cluster."""
    if workers and option(arguments, "parallelism") is None:
        return [f"--parallelism={workers}"]
    return []


def check(arguments: Sequence[str]) -> None:
    """An error in one line where Beam would wait for a minute or fail on a worker."""
    endpoint = option(arguments, "job_endpoint")
    if endpoint is None:
        return
    if option(arguments, "environment_type", "sdk_container_image") is None:
        raise ConfigError(
            "--job_endpoint without --environment_type: say where Python runs, as in "
            "--environment_type=EXTERNAL --environment_config=localhost:50000 (a worker pool), "
            "or --environment_type=LOOPBACK (in this process, to try something)"
        )
    host, _, port = endpoint.rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"--job_endpoint={endpoint}: no host:port, such as localhost:8099")
    try:
        with contextlib.closing(socket.create_connection((host, int(port)), timeout=10)):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(
            f"--job_endpoint={endpoint}: no job server answers ({reason}); {START}"
        ) from None
