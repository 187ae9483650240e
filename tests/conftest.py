"""Every test runs in an environment of its own: no user settings, no network, no telemetry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow or MLflow.
os.environ.update(
    CUDA_VISIBLE_DEVICES="-1",
    DO_NOT_TRACK="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    TF_CPP_MIN_LOG_LEVEL="3",
)
_PERSONAL = ("SRGAN_WEIGHTS", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "SRGAN_WORKSPACE")
for _name in _PERSONAL:
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_WORKSPACE", str(tmp_path / "workspace"))
