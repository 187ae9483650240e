"""Where a user's datasets, runs and MLflow database live, and the environment they need."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Nothing is reported home (MLflow takes only "true"), and logs say what a person can act on.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
ENVIRONMENT_FILE = ".srgan.env"


@dataclass(frozen=True)
class Workspace:
    """Absolute places of everything that the project writes."""

    root: Path

    @classmethod
    def from_environment(cls) -> Workspace:
        """``SRGAN_WORKSPACE``, else ``./workspace``; made absolute."""
        return cls(Path(os.environ.get("SRGAN_WORKSPACE", "workspace")).expanduser().absolute())

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        """Artifacts of MLflow, absolute: on SQLite they would otherwise go to ``./mlruns``."""
        return self.root / "mlartifacts"

    @property
    def default_tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"


def prepare_environment() -> Workspace:
    """Fill the process environment with our defaults and return the workspace.

    Called once by every entry point before TensorFlow, MLflow or Prefect are imported. What the
    user has set stays; then come the lines of ``.srgan.env`` (written by ``make stack``) in the
    working directory; then the embedded defaults.
    """
    for name, value in {**_QUIET, **read_environment_file(Path(ENVIRONMENT_FILE))}.items():
        os.environ.setdefault(name, value)
    workspace = Workspace.from_environment()
    os.environ.setdefault("MLFLOW_TRACKING_URI", workspace.default_tracking_uri)
    return workspace


def read_environment_file(path: Path) -> dict[str, str]:
    """``NAME=value`` and ``export NAME=value`` lines; empty when there is no such file."""
    if not path.is_file():
        return {}
    values = {}
    for line in path.read_text("utf-8").splitlines():
        name, separator, value = line.removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values
