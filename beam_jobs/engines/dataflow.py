"""Dataflow: what Google would say after minutes, or never, said at once."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence

from beam_jobs.engines.beam import option
from srgan.errors import ConfigError

_REQUIRED = {
    "project": "--project=<project id>",
    "region": "--region=<region>, such as europe-west4, best that of the bucket",
    "temp_location": "--temp_location=gs://<bucket>/<prefix>",
}
_PACKAGES = ("sdk_container_image", "setup_file", "extra_package", "requirements_file")
_LABEL = re.compile(r"[^a-z0-9_-]+")


def arguments_for(arguments: Sequence[str], workers: int, step: str) -> list[str]:
    """Further options of a job; those that were given stay.

    * The main session is not pickled: workers import our modules by name.
    * Two threads a process: one decodes while the other one reads. The default of 12 would hold
      twelve units in memory.
    """
    label = _LABEL.sub("-", step.lower())
    more = ["--no_save_main_session", "--labels=app=srgan-faces", f"--labels=step={label}"]
    if option(arguments, "number_of_worker_harness_threads") is None:
        more.append("--number_of_worker_harness_threads=2")
    if workers and option(arguments, "max_num_workers") is None:
        more.append(f"--max_num_workers={workers}")
    # Beam is in the image; by default its sources would be staged and installed at every start.
    if option(arguments, "sdk_container_image") and option(arguments, "sdk_location") is None:
        more.append("--sdk_location=container")
    return more


def check(arguments: Sequence[str], places: Sequence[str]) -> None:
    """:class:`ConfigError` for what is missing or cannot work; workers need all ``places``."""
    for name, example in _REQUIRED.items():
        if not option(arguments, name):
            raise ConfigError(f"--runner=dataflow needs {example}")
    for name in ("temp_location", "staging_location"):
        place = option(arguments, name)
        if place and not place.startswith("gs://"):
            raise ConfigError(f"--{name}={place}: Dataflow's machines see only gs://")
    if option(arguments, "template_location") is not None:
        raise ConfigError(
            "--template_location: a build is several jobs with decisions in between, "
            "which no template can hold; start the build itself"
        )
    if not any(option(arguments, name) for name in _PACKAGES):
        raise ConfigError(
            "--runner=dataflow needs --sdk_container_image=<image> with this package in it; "
            "infra/dataflow/Dockerfile makes one, docs/engines.md says how"
        )
    for place in places:
        if not place.startswith("gs://"):
            raise ConfigError(
                f"{place}: with --runner=dataflow input and output must be on gs://, "
                "for Google's machines see nothing else"
            )
    if not has_packages():
        raise ConfigError(
            "--runner=dataflow needs Google's client for it: pip install "
            "google-cloud-dataflow-client, or this package with its extra gcp"
        )


def has_packages() -> bool:
    """Whether the client of Dataflow is installed."""
    try:
        return importlib.util.find_spec("google.cloud.dataflow") is not None
    except ModuleNotFoundError:
        return False
