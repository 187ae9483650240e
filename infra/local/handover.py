"""What another terminal needs to talk to the running stack: ``.srgan.env`` and ``prefect.toml``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from srgan.errors import SrganError
from srgan.workspace import ENVIRONMENT_FILE, read_environment_file

PREFECT_FILE = "prefect.toml"
_HEADER = "# Written by `make stack`; removed when it stops."
_OWNER = "SRGAN_STACK"


class AlreadyRunningError(SrganError):
    """Another stack has this working directory."""


@contextlib.contextmanager
def owned_environment_file(folder: Path) -> Iterator[Path]:
    """Hold ``.srgan.env`` for as long as the stack runs; it is empty at first, removed at the end.

    The lock is the file's own, so it is gone with the process that held it, however that ended.
    """
    path = folder / ENVIRONMENT_FILE
    if path.exists() and path.stat().st_size and _OWNER not in read_environment_file(path):
        raise SrganError(f"{path} was not written by the stack: move it away, then start again")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            url = read_environment_file(path).get("PREFECT_API_URL", "").removesuffix("/api")
            where = f" ({url})" if url else ""
            raise AlreadyRunningError(
                f"the stack of {folder} is already running{where}: stop it with Ctrl-C there, "
                f"or use it: . ./{ENVIRONMENT_FILE}"
            ) from None
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def previous_mark(path: Path) -> str | None:
    """The process family of a stack that was killed before it could remove its file."""
    return read_environment_file(path).get(_OWNER)


def publish(path: Path, mark: str, values: Mapping[str, str]) -> None:
    """Write the environment file: ``export NAME=value`` lines, for its owner's eyes only."""
    lines = [_HEADER, f"export {_OWNER}={mark}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    path.chmod(0o600)
    # In place: the lock belongs to this very file.
    path.write_text("\n".join(lines) + "\n", "utf-8")


def publish_prefect_settings(folder: Path, mark: str, values: Mapping[str, str]) -> bool:
    """Write ``prefect.toml``, which Prefect reads from its working directory by itself.

    ``False`` when somebody's own file is there: it stays.
    """
    path = folder / PREFECT_FILE
    if path.exists() and not path.read_text("utf-8").startswith(_HEADER):
        return False
    text = "\n".join(
        [
            _HEADER,
            f"# {_OWNER}={mark}",
            f"home = {_toml(values['PREFECT_HOME'])}",
            "[api]",
            f"url = {_toml(values['PREFECT_API_URL'])}",
            *(
                [f"auth_string = {_toml(values['PREFECT_API_AUTH_STRING'])}"]
                if "PREFECT_API_AUTH_STRING" in values
                else []
            ),
            "[results]",
            'default_serializer = "json"',
            "[server]",
            "analytics_enabled = false",
        ]
    )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text + "\n")
    return True


def withdraw_prefect_settings(folder: Path, mark: str) -> None:
    """Remove our ``prefect.toml``."""
    path = folder / PREFECT_FILE
    if path.exists() and mark in path.read_text("utf-8"):
        path.unlink()


def _toml(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
