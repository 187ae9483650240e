"""A pool that starts Python workers for the task managers of a Flink cluster on this machine.

    python -m beam_jobs.worker_pool --port 50000

It is what ``--environment_type=EXTERNAL --environment_config=localhost:50000`` asks for. Beam's
own pool listens on all interfaces, makes a program of what it is sent, starts whichever
``python`` comes first, and keeps a worker's output in a pipe that nobody reads. Here it is
loopback, this very Python, and :mod:`beam_jobs.worker`, which ends with this process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from beam_jobs.engines.beam import import_beam


class Workers:
    """The processes that were asked for."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(self, worker_id: str, control: str) -> None:
        """Start a worker that gets its work at ``control`` (host:port)."""
        environment = {
            "CONTROL_API_SERVICE_DESCRIPTOR": f"url: {json.dumps(control)}",
            "WORKER_ID": worker_id,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "beam_jobs.worker"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        with self._lock:
            self._processes = [p for p in self._processes if p.poll() is None]
            self._processes.append(process)

    def stop_all(self) -> None:
        """End all workers."""
        with self._lock:
            for process in self._processes:
                process.kill()
            for process in self._processes:
                process.wait()


def serve(host: str, port: int, workers: Workers) -> Any:
    """A running gRPC server that hands requests to ``workers``."""
    import_beam()
    import grpc  # type: ignore[import-untyped]
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
    from apache_beam.utils import thread_pool_executor

    class Servicer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
        def StartWorker(self, request: Any, _context: Any) -> Any:  # noqa: N802
            try:
                workers.start(request.worker_id, request.control_endpoint.url)
            except OSError as error:
                return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
            return beam_fn_api_pb2.StartWorkerResponse()

        def StopWorker(self, _request: Any, _context: Any) -> Any:  # noqa: N802
            # The id is no name: those of two task managers are equal at times. A worker ends by
            # itself when its task manager hangs up, or is gone.
            return beam_fn_api_pb2.StopWorkerResponse()

    # As Beam's pool: task managers may ask at any interval whether it is alive.
    pings = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=pings)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(Servicer(), server)
    if server.add_insecure_port(f"{host}:{port}") == 0:
        raise OSError(f"{host}:{port} is taken")
    server.start()
    return server


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m beam_jobs.worker_pool")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    options = parser.parse_args(argv)
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    workers = Workers()
    try:
        server = serve(options.host, options.port, workers)
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("serving", flush=True)
    end.wait()
    server.stop(None)
    workers.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
