"""Where the local stack listens, what it is protected by, and what its processes are told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from flows.server import api_url
from flows.settings import prefect_defaults
from srgan.workspace import Workspace

USER = "admin"
POOL = "srgan"


@dataclass(frozen=True)
class StackSettings:
    """One start of the stack.

    ``folder`` is where other terminals find it and runs start; ``password`` is empty where there
    is no authentication.
    """

    folder: Path
    workspace: Workspace
    prefect_port: int
    mlflow_port: int
    password: str

    @property
    def state(self) -> Path:
        """What the stack itself keeps in the workspace."""
        return state_folder(self.workspace)

    @property
    def logs(self) -> Path:
        return self.workspace.root / "logs"

    @property
    def prefect_url(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    def client_environment(self) -> dict[str, str]:
        """What a process needs to work with the stack: the worker's, and another terminal's."""
        values = {
            "SRGAN_WORKSPACE": str(self.workspace.root),
            **prefect_defaults(self.workspace),
            "PREFECT_API_URL": api_url(self.prefect_port),
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        if self.password:
            values["PREFECT_API_AUTH_STRING"] = f"{USER}:{self.password}"
            values["MLFLOW_TRACKING_USERNAME"] = USER
            values["MLFLOW_TRACKING_PASSWORD"] = self.password
        return values

    def prefect_server_settings(self) -> dict[str, str]:
        """Beyond the client's: who may use the server."""
        if not self.password:
            return {}
        login = f"{USER}:{self.password}"
        return {"PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login}


def state_folder(workspace: Workspace) -> Path:
    """The part of a workspace that belongs to the stack."""
    return workspace.root / "stack"


def workspace_password(workspace: Workspace) -> str:
    """A random password, made once for each workspace, so that browsers may remember it."""
    path = state_folder(workspace) / "password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(18) + "\n", "utf-8")
    return path.read_text("utf-8").strip()
