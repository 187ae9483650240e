"""The MLflow server of the local stack over the workspace's own database."""

from __future__ import annotations

import secrets
import sys

from flows.processes import Service, start_service
from infra.local.settings import USER, StackSettings


def start_mlflow_server(settings: StackSettings, mark: str) -> Service:
    """Start the server on loopback.

    Artifacts have absolute paths and are written by the client itself, not through the server's
    proxy: commands that use the database without the server (``make demo``) then read the
    server's runs, and the server shows theirs.
    """
    workspace = settings.workspace
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
        *("--port", str(settings.mlflow_port), "--workers", "1"),
        *("--backend-store-uri", workspace.default_tracking_uri),
        *("--default-artifact-root", str(workspace.artifacts), "--no-serve-artifacts"),
        *("--uvicorn-opts", "--no-access-log"),
    ]
    environment: dict[str, str | None] = {
        "MLFLOW_TRACKING_URI": None,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Job queues for generative-AI evaluation: eight processes and 1 GB that nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if settings.password:
        command += ["--app-name", "basic-auth"]
        environment |= _authentication(settings)
    return start_service(
        "MLflow server",
        command,
        mark=mark,
        environment=environment,
        log=settings.logs / "mlflow.log",
        folder=workspace.root,
    )


def _authentication(settings: StackSettings) -> dict[str, str]:
    # The password is taken from the environment only when the user is created: start from none.
    database = settings.state / "mlflow-users.db"
    database.unlink(missing_ok=True)
    path = settings.state / "mlflow-auth.ini"
    path.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{database}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # Otherwise every request pays for a password hash.
        "auth_cache_ttl_seconds = 600\n",
        "utf-8",
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(path),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
