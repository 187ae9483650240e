"""Models in MLflow's registry: register a run's model, look versions up, fetch them.

What is registered is the exported folder, byte for byte, with MLflow's own description beside it:
``mlflow.pyfunc.load_model`` and ``mlflow models serve`` need TensorFlow and none of our code.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan.card import CARD, ModelCard
from srgan.errors import ModelError, RegistryError
from srgan.export import SAVED_MODEL, ExportedModel, load_exported, weights_digest
from srgan.mlflow_store import (
    RUN_ID,
    check_connection,
    connect,
    experiment_id,
    find_or_create_run,
    reported,
    shown,
    tracking_uri,
)
from srgan.scores import BASELINE, MODEL
from srgan.tracking import DIGESTS
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Version",
    "champion",
    "check_connection",
    "find_version",
    "list_versions",
    "register",
    "registered_name",
    "resolve_model",
]

CHAMPION = "champion"
CHALLENGER = "challenger"
MODEL_SHA256 = "srgan.model_sha256"
WEIGHTS_SHA256 = "srgan.weights_sha256"
TRAIN = "train one with `srgan train` or `make demo`"
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class Version:
    """A version of a registered model. ``run_id`` is our run's, ``model_sha256`` its card's."""

    name: str
    version: int
    run_id: str
    model_sha256: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """``models:/name/3``, as MLflow takes it."""
        return f"models:/{self.name}/{self.version}"


def registered_name(scale: int) -> str:
    """``srgan-faces`` for x4, ``srgan-faces-x2`` and so on for other scales."""
    return "srgan-faces" if scale == 4 else f"srgan-faces-x{scale}"


def register(folder: Path, workspace: Workspace) -> Version:
    """Register the exported model in ``folder``, which has its model card.

    A run whose weights are registered already gets the version that it has: registering twice
    changes nothing. Raises :class:`ModelError` for a damaged folder, :class:`RegistryError`.
    """
    card = load_exported(folder).card
    assert card is not None
    name, client, weights = registered_name(card.scale), connect(workspace), weights_digest(folder)
    with reported(tracking_uri(workspace)):
        for version in _versions(client, name):
            if (version.run_id, version.tags.get(WEIGHTS_SHA256)) == (card.run_id, weights):
                return version
        experiment = experiment_id(client, workspace)
        digests = ",".join(dataset.digest for dataset in card.datasets)
        run = find_or_create_run(client, experiment, card.run_id, {DIGESTS: digests})
        model_id = _log_model(client, experiment, run.info.run_id, name, folder)
        return _create_version(
            client, name, model_id, run.info.run_id, _version_tags(card, weights)
        )


def champion(workspace: Workspace, scale: int = 4) -> Version | None:
    """The champion of a scale, ``None`` when there is none yet."""
    name, client = registered_name(scale), connect(workspace)
    with reported(tracking_uri(workspace)):
        return _by_alias(client, name, CHAMPION)


def list_versions(workspace: Workspace) -> list[Version]:
    """All versions of all registered models, by name and the newest first."""
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        names = sorted(model.name for model in client.search_registered_models())
        return [version for name in names for version in _versions(client, name)]


def find_version(ref: str, workspace: Workspace, *, scale: int = 4) -> Version:
    """The version that ``champion``, ``challenger``, ``models:/name/3`` or ``models:/name@alias``
    means; a :class:`ModelError` lists what there is and says how to train one.
    """
    name, number, alias = _parse(ref, scale)
    client = connect(workspace)
    with reported(tracking_uri(workspace)):
        found = _by_alias(client, name, alias) if alias else _by_number(client, name, number)
        if found is not None:
            return found
        names = sorted(model.name for model in client.search_registered_models())
        known = [text for other in names for text in _known(client, other)]
    there = f"there is {', '.join(known)}" if known else "no model is registered"
    raise ModelError(f"no model {ref!r} in {shown(tracking_uri(workspace))}: {there}; {TRAIN}")


def resolve_model(ref: str, workspace: Workspace, *, scale: int = 4) -> ExportedModel:
    """The model that ``ref`` means (see :func:`find_version`), or that a local folder holds.

    A registered one is fetched into the workspace's cache once, and every time its card's sha256
    is compared with the registry's and its files' with the card.
    """
    is_name = ref in (CHAMPION, CHALLENGER) or ref.startswith("models:")
    if not is_name:
        if not Path(ref).expanduser().is_dir():
            raise ModelError(
                f"no model {ref!r}: give champion, challenger, models:/<name>/<version>, "
                "models:/<name>@<alias> or the folder of an exported model"
            )
        return load_exported(Path(ref))
    return load_version(find_version(ref, workspace, scale=scale), workspace)


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


def _log_model(
    client: MlflowClient, experiment: str, mlflow_run: str, name: str, folder: Path
) -> str:
    """Store the folder as a logged model of the run; returns MLflow's id of it."""
    from mlflow.entities import LoggedModelOutput

    model = client.create_logged_model(
        experiment, name=name, source_run_id=mlflow_run, model_type="tensorflow"
    )
    try:
        with tempfile.TemporaryDirectory(prefix="srgan-model-") as temporary:
            copy = Path(temporary) / "model"
            shutil.copytree(folder, copy)
            _describe_for_mlflow(copy, model.model_id, mlflow_run)
            client.log_model_artifacts(model.model_id, str(copy))
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(mlflow_run, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def _describe_for_mlflow(folder: Path, model_id: str, mlflow_run: str) -> None:
    """Write ``MLmodel`` and the environment files for the SavedModel that is in ``folder``.

    ``mlflow.tensorflow.save_model`` would save the model anew, to other bytes than the card's, and
    spend half a minute on finding out that it needs TensorFlow.
    """
    import mlflow
    import numpy as np
    import tensorflow as tf
    import yaml
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    pixels = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    signature = ModelSignature(inputs=Schema([pixels]), outputs=Schema([pixels]))
    model = Model(run_id=mlflow_run, model_id=model_id, model_uuid=model_id, signature=signature)
    model.add_flavor("tensorflow", code=None, saved_model_dir=SAVED_MODEL, model_type="tf2-module")
    mlflow.pyfunc.add_to_model(
        model,
        loader_module="mlflow.tensorflow",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    python = ".".join(map(str, sys.version_info[:3]))
    needs = [f"mlflow=={mlflow.__version__}", f"tensorflow=={tf.__version__}"]
    conda: dict[str, Any] = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": needs}],
    }
    environment = {"python": python, "dependencies": ["-r requirements.txt"]}
    (folder / "requirements.txt").write_text("\n".join(needs) + "\n", "utf-8")
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False), "utf-8")
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment), "utf-8")
    model.save(str(folder / "MLmodel"))


def _create_version(
    client: MlflowClient, name: str, model_id: str, mlflow_run: str, tags: Mapping[str, str]
) -> Version:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name, description="Face super-resolution; the version's model card says what it is."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The place and not models:/<id>: a database store would look that up in the tracking URI of
    # the process, whatever this client was made for.
    place = client.get_logged_model(model_id).artifact_location
    made = client.create_model_version(
        name, place, run_id=mlflow_run, tags=dict(tags), model_id=model_id
    )
    # MLflow's pages find the versions of a logged model by this tag.
    versions = json.dumps([{"name": name, "version": int(made.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})
    found = _by_number(client, name, int(made.version))
    if found is None:
        raise RegistryError(f"{name}: version {made.version} vanished while it was registered")
    return found


def _version_tags(card: ModelCard, weights: str) -> dict[str, str]:
    tags = {
        RUN_ID: card.run_id,
        DIGESTS: ",".join(dataset.digest for dataset in card.datasets),
        MODEL_SHA256: card.digest,
        WEIGHTS_SHA256: weights,
        "srgan.code_version": card.code_version,
    }
    if card.metrics is not None:
        for system, prefix in ((MODEL, ""), (BASELINE, f"{BASELINE}_")):
            for name, value in card.metrics.systems.get(system, {}).items():
                tags[f"{prefix}{name}"] = f"{value:.6g}"
        tags["srgan.evaluated"] = f"{card.metrics.images} images of {card.metrics.split}"
    return tags


def _versions(client: MlflowClient, name: str) -> list[Version]:
    """All versions of a name, the newest first; none when there is no such name."""
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    # A search leaves the aliases out.
    aliases: dict[int, list[str]] = {}
    if found:
        for alias, number in client.get_registered_model(name).aliases.items():
            aliases.setdefault(int(number), []).append(alias)
    versions = [_version(item, tuple(sorted(aliases.get(int(item.version), ())))) for item in found]
    return sorted(versions, key=lambda version: -version.version)


def _version(item: ModelVersion, aliases: tuple[str, ...]) -> Version:
    tags = dict(item.tags)
    return Version(
        name=str(item.name),
        version=int(item.version),
        run_id=tags.get(RUN_ID, ""),
        model_sha256=tags.get(MODEL_SHA256, ""),
        aliases=aliases,
        tags=tags,
    )


def _by_alias(client: MlflowClient, name: str, alias: str) -> Version | None:
    return next((v for v in _versions(client, name) if alias in v.aliases), None)


def _by_number(client: MlflowClient, name: str, number: int) -> Version | None:
    return next((v for v in _versions(client, name) if v.version == number), None)


def _known(client: MlflowClient, name: str) -> list[str]:
    return [
        version.uri + (f" ({', '.join(version.aliases)})" if version.aliases else "")
        for version in _versions(client, name)[:5]
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
