"""Stands in for Google's side of Dataflow: takes jobs by its REST interface and runs them.

What it runs is what was staged: the pipeline of the job's ``pipelineUrl``, in a process of its own
that has nothing of the driver's and imports only what the workers' image has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Fetches a staged pipeline and runs it; the container is this process.
RUN = """
import sys
packages, url = sys.argv[1:]
sys.path.append(packages)
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from srgan import storage
pipeline = beam_runner_api_pb2.Pipeline.FromString(storage.read_bytes(url))
for environment in pipeline.components.environments.values():
    environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
heavy = {"tensorflow", "keras", "mlflow", "prefect", "matplotlib", "rich"} & set(sys.modules)
assert not heavy, heavy
assert sys.modules["srgan"].__file__.startswith(packages)
"""


class Service:
    """The jobs that came, and what became of them.

    ``before`` is called before a job runs; with a ``refusal`` none runs.
    """

    def __init__(self, bucket: str, packages: Path) -> None:
        self._packages = packages
        self.jobs: dict[str, dict[str, Any]] = {}
        self.before: Callable[[], object] = lambda: None
        self.refusal = ""
        self.port = 0
        self._bucket = bucket
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._errors: dict[str, str] = {}

    def create(self, project: str, region: str, job: dict[str, Any]) -> dict[str, Any]:
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = {**job, "id": job_id, "project": project, "location": region}
        self.before()
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        self._processes[job_id] = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", RUN, str(self._packages), url],
            cwd=self._packages,
            env={**os.environ, "STORAGE_EMULATOR_HOST": self._bucket},
            stderr=subprocess.PIPE,
            text=True,
        )
        return {"id": job_id, "name": job["name"], "currentState": "JOB_STATE_PENDING"}

    def state(self, job_id: str) -> dict[str, Any]:
        code = self._processes[job_id].poll()
        state = "RUNNING" if code is None else "FAILED" if code else "DONE"
        name = self.jobs[job_id]["name"]
        return {"id": job_id, "name": name, "currentState": f"JOB_STATE_{state}"}

    def messages(self, job_id: str) -> dict[str, Any]:
        process = self._processes[job_id]
        if not process.poll():
            return {}
        if job_id not in self._errors:
            assert process.stderr is not None
            self._errors[job_id] = process.stderr.read()
        return {
            "jobMessages": [
                {
                    "id": "1",
                    "time": "2100-01-01T00:00:00Z",
                    "messageText": self._errors[job_id],
                    "messageImportance": "JOB_MESSAGE_ERROR",
                }
            ]
        }

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()


@contextmanager
def running_service(bucket: str, packages: Path) -> Iterator[Service]:
    """A service on a free port of localhost; its machines see ``bucket`` and have ``packages``."""
    service = Service(bucket, packages)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if service.refusal:
                status = {"code": 403, "message": service.refusal, "status": "PERMISSION_DENIED"}
                self._answer({"error": status}, 403)
                return
            _, _, _, project, _, region, *_ = self.path.partition("?")[0].split("/")
            self._answer(service.create(project, region, body))

        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].split("/")
            if parts[-1] == "metrics":
                self._answer({})
                return
            answer = service.messages if parts[-1] == "messages" else service.state
            self._answer(answer(parts[7]))

        def _answer(self, tree: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(tree).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        service.end()


def steps_of(staged: bytes) -> list[str]:
    """Names of the topmost transforms of a staged pipeline, in order."""
    from apache_beam.portability.api import beam_runner_api_pb2

    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged)
    (root,) = pipeline.root_transform_ids
    steps = pipeline.components.transforms[root].subtransforms or [root]
    return [pipeline.components.transforms[step].unique_name for step in steps]
