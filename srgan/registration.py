"""Put a run's model into MLflow's registry, byte for byte as it was exported."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan.card import ModelCard
from srgan.errors import RegistryError
from srgan.export import SAVED_MODEL, load_exported, weights_digest
from srgan.mlflow_runs import DIGESTS
from srgan.mlflow_store import (
    RUN_ID,
    connect,
    experiment_id,
    find_or_create_run,
    reported,
    tracking_uri,
)
from srgan.scores import BASELINE, MODEL
from srgan.versions import (
    MODEL_SHA256,
    WEIGHTS_SHA256,
    Version,
    by_number,
    registered_name,
    versions_of,
)
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def register(folder: Path, workspace: Workspace) -> Version:
    """Register the exported model in ``folder``, which has its model card.

    A run whose weights are registered already gets the version that it has: registering twice
    changes nothing. Raises :class:`ModelError` for a damaged folder, :class:`RegistryError`.
    """
    card = load_exported(folder).card
    assert card is not None
    name, client, weights = registered_name(card.scale), connect(workspace), weights_digest(folder)
    with reported(tracking_uri(workspace)):
        for version in versions_of(client, name):
            if (version.run_id, version.tags.get(WEIGHTS_SHA256)) == (card.run_id, weights):
                return version
        experiment = experiment_id(client, workspace)
        digests = ",".join(dataset.digest for dataset in card.datasets)
        run = find_or_create_run(client, experiment, card.run_id, {DIGESTS: digests})
        model_id = _log_model(client, experiment, run.info.run_id, name, folder)
        return _create_version(
            client, name, model_id, run.info.run_id, _version_tags(card, weights)
        )


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
    found = by_number(client, name, int(made.version))
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
