"""A real server that speaks GCS, for tests of buckets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.support import needs


@contextmanager
def running_server() -> Iterator[str]:
    """The address of a running fake-gcs-server with a bucket ``photos``."""
    home = Path(os.environ.get("GOPATH", Path.home() / "go"), "bin", "fake-gcs-server")
    binary = shutil.which("fake-gcs-server") or (str(home) if home.exists() else None)
    needs("fake-gcs-server", binary, "go install github.com/fsouza/fake-gcs-server@latest")
    assert binary is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"
    command = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", place, "-log-level", "error"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _create_bucket(f"http://{place}")
        yield f"http://{place}"
    finally:
        process.terminate()
        process.wait(10)


def photos_bucket(server: str) -> storage.Bucket:
    """The bucket ``photos``, by Google's own client."""
    client = storage.Client(
        project="test",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": server},
    )
    return client.bucket("photos")


def _create_bucket(server: str) -> None:
    request = urllib.request.Request(
        f"{server}/storage/v1/b?project=test",
        data=b'{"name": "photos"}',
        headers={"Content-Type": "application/json"},
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"fake-gcs-server does not answer at {server}")
