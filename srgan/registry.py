"""Models in MLflow's registry: look versions up, fetch and verify them.

What is registered is the exported folder, byte for byte, with MLflow's own description beside it:
``mlflow.pyfunc.load_model`` and ``mlflow models serve`` need TensorFlow and none of our code.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.card import CARD
from srgan.errors import ModelError
from srgan.export import ExportedModel, from_generator, in_float32, load_exported
from srgan.mlflow_store import check_connection, connect, reported, shown, tracking_uri
from srgan.packed import is_packed, load_packed
from srgan.registration import register
from srgan.shipped import load_shipped, shipped_names
from srgan.versions import (
    CHALLENGER,
    CHAMPION,
    MODEL_SHA256,
    Version,
    by_alias,
    by_number,
    registered_name,
    versions_of,
)
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Version",
    "champion",
    "check_connection",
    "find_version",
    "list_versions",
    "load_version",
    "register",
    "registered_name",
    "resolve_model",
]

TRAIN = "train one with `srgan train` or `make demo`"
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


def champion(workspace: Workspace, scale: int = 4) -> Version | None:
    """The champion of a scale, ``None`` when there is none yet."""
    name, client = registered_name(scale), connect(workspace)
    with reported(tracking_uri(workspace)):
        return by_alias(client, name, CHAMPION)


def list_versions(workspace: Workspace) -> list[Version]:
    """All versions of all registered models, by name and the newest first."""
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        names = sorted(model.name for model in client.search_registered_models())
        return [version for name in names for version in versions_of(client, name)]


def find_version(ref: str, workspace: Workspace, *, scale: int = 4) -> Version:
    """The version that ``champion``, ``challenger``, ``models:/name/3`` or ``models:/name@alias``
    means; a :class:`ModelError` lists what there is and says how to train one.
    """
    name, number, alias = _parse(ref, scale)
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        found = by_alias(client, name, alias) if alias else by_number(client, name, number)
        if found is not None:
            return found
        names = sorted(model.name for model in client.search_registered_models())
        known = [text for other in names for text in _known(client, other)]
    there = f"there is {', '.join(known)}" if known else "no model is registered"
    raise ModelError(f"no model {ref!r} in {shown(tracking_uri(workspace))}: {there}; {TRAIN}")


def resolve_model(ref: str, workspace: Workspace, *, scale: int = 4) -> ExportedModel:
    """The model that ``ref`` means: a registered one (see :func:`find_version`), a packaged one by
    its name, or a folder or ``.keras`` file.

    A registered one is fetched into the workspace's cache once, and every time its card's sha256
    is compared with the registry's and its files' with the card.
    """
    if ref in (CHAMPION, CHALLENGER) or ref.startswith("models:"):
        return load_version(find_version(ref, workspace, scale=scale), workspace)
    if ref in shipped_names():
        return load_shipped(ref)
    path = Path(ref).expanduser()
    if path.suffix == ".keras" and path.is_file():
        from srgan.checkpoints import load_generator

        return from_generator(in_float32(load_generator(path)), path.absolute())
    if not path.is_dir():
        raise ModelError(
            f"no model {ref!r}: give champion, challenger, models:/<name>/<version>, "
            f"models:/<name>@<alias>, {', '.join([*shipped_names(), 'a .keras file'])} or the "
            "folder of an exported model"
        )
    return load_packed(path) if is_packed(path) else load_exported(path)


def load_version(version: Version, workspace: Workspace) -> ExportedModel:
    """The model of a registered version, from the cache or fetched, verified either way."""
    if not re.fullmatch(r"[0-9a-f]{64}", version.model_sha256):
        raise ModelError(
            f"{version.uri}: it has no tag {MODEL_SHA256}, so it cannot be verified; register "
            "models with `srgan train` or `srgan.registry.register`"
        )
    folder = workspace.cache / "models" / version.model_sha256
    if folder.is_dir():
        try:
            return _load_checked(folder, version)
        except ModelError:
            # A damaged cache is no reason to fail while the registry has the model.
            shutil.rmtree(folder)
    _fetch(version, folder, workspace)
    return _load_checked(folder, version)


def _load_checked(folder: Path, version: Version) -> ExportedModel:
    path = folder / CARD
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    if found != version.model_sha256:
        raise ModelError(
            f"{version.uri}: {CARD} changed: sha256 is {found}, the registry says "
            f"{version.model_sha256}; register the model again"
        )
    return load_exported(folder)


def _fetch(version: Version, folder: Path, workspace: Workspace) -> None:
    from mlflow.artifacts import download_artifacts

    client, uri = connect(workspace), tracking_uri(workspace)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
        with reported(uri):
            # Of models:/… MLflow would ask the tracking URI of the process.
            place = client.get_model_version_download_uri(version.name, str(version.version))
            target = str(Path(name) / "model")
            got = Path(download_artifacts(artifact_uri=place, dst_path=target, tracking_uri=uri))
        try:
            got.rename(folder)
        except OSError:
            # Another process has put it there; which one it was makes no difference.
            if not folder.is_dir():
                raise


def _known(client: MlflowClient, name: str) -> list[str]:
    return [
        version.uri + (f" ({', '.join(version.aliases)})" if version.aliases else "")
        for version in versions_of(client, name)[:5]
    ]


def _parse(ref: str, scale: int) -> tuple[str, int, str]:
    if ref in (CHAMPION, CHALLENGER):
        return registered_name(scale), 0, ref
    match = _URI.fullmatch(ref)
    if match is None:
        raise ModelError(
            f"{ref!r} names no model; write champion, challenger, models:/<name>/<version> or "
            "models:/<name>@<alias>"
        )
    return match["name"], int(match["version"] or 0), match["alias"] or ""
