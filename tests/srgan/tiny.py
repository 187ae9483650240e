"""A small generator and its exported folder, for tests of what surrounds a generator."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from srgan.card import ModelCard, make_card, write_card
from srgan.config import RunConfig, parse
from srgan.export import export_model
from srgan.mlflow_store import check_connection
from srgan.records import Dataset
from srgan.scores import Evaluation
from srgan.workspace import Workspace


@keras.saving.register_keras_serializable(package="srgan-tests")
class DepthToSpace(keras.layers.Layer):
    """[N, H, W, s*s*C] to [N, sH, sW, C] in keras.ops."""

    def __init__(self, scale: int, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, x: Any) -> Any:
        shape, scale = keras.ops.shape(x), self.scale
        channels = x.shape[-1] // scale**2
        x = keras.ops.reshape(x, (-1, shape[1], shape[2], scale, scale, channels))
        x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return keras.ops.reshape(x, (-1, shape[1] * scale, shape[2] * scale, channels))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        n, height, width, channels = shape
        scale = self.scale
        assert channels is not None
        return (
            n,
            None if height is None else height * scale,
            None if width is None else width * scale,
            channels // scale**2,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def tiny_generator(
    scale: int = 4, *, channels: int = 3, policy: str = "float32", seed: int = 7
) -> keras.Model:
    """Three convolutions with random weights: LR [0, 1] to SR around [-1, 1], often outside it.

    Its receptive field reaches two LR pixels to each side.
    """
    init = {"kernel_initializer": keras.initializers.RandomNormal(0, 0.12, seed=seed)}
    lr = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(12, 3, padding="same", activation="relu", dtype=policy, **init)(lr)
    x = keras.layers.Conv2D(channels * scale**2, 3, padding="same", dtype=policy, **init)(x)
    detail = DepthToSpace(scale, dtype=policy)(x)
    nearest = keras.layers.UpSampling2D(scale, interpolation="nearest", dtype="float32")(lr)
    signed = keras.layers.Rescaling(2.0, offset=-1.0, dtype="float32")(nearest)
    return keras.Model(lr, keras.layers.Add(dtype="float32")([signed, detail]), name="generator")


def reference(generator: keras.Model, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the contract says that the exported model makes of ``batch``, in NumPy."""
    signed = np.asarray(generator(batch / np.float32(255), training=False), np.float32)
    return np.rint(np.clip((signed + 1) / 2, 0, 1) * 255).astype(np.uint8)


def evaluation_of(
    model: Mapping[str, float],
    *,
    champion: Mapping[str, float] | None = None,
    bicubic: Mapping[str, float] | None = None,
    scale: int = 4,
    not_measured: Mapping[str, str] | None = None,
) -> Evaluation:
    """An evaluation with these means."""
    systems = {"bicubic": dict(bicubic or {"psnr_y": 28.0, "ssim_y": 0.8}), "model": dict(model)}
    if champion is not None:
        systems["champion"] = dict(champion)
    return Evaluation.model_validate(
        {
            "split": "test",
            "scale": scale,
            "images": 12,
            "systems": systems,
            "per_image": [],
            "not_measured": dict(not_measured or {}),
            "dataset_digests": ["0" * 64],
            "seconds": 1.0,
            "system_seconds": dict.fromkeys(systems, 0.5),
        }
    )


def publish_model(
    folder: Path,
    run_id: str,
    *,
    scale: int = 4,
    seed: int = 7,
    datasets: Sequence[Dataset] = (),
    evaluation: Evaluation | None = None,
) -> ModelCard:
    """A run's model folder as it is after evaluation: exported, with its card."""
    export_model(tiny_generator(scale, seed=seed), folder)
    config = config_for(scale)
    evaluation = evaluation or evaluation_of({"psnr_y": 30.0, "ssim_y": 0.85}, scale=scale)
    card = make_card(config, datasets, evaluation, run_id=run_id, steps={"pretrain": 3})
    return write_card(folder, card)


def config_for(scale: int) -> RunConfig:
    """Settings that differ from the defaults in the scale alone."""
    return parse(RunConfig, {"generator": {"scale": scale}}, "test")


@functools.cache
def empty_database() -> bytes:
    """An empty MLflow database to copy: making one takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        with mock.patch.dict(os.environ, MLFLOW_TRACKING_URI=workspace.default_tracking_uri):
            check_connection(workspace)
        return (workspace.root / "mlflow.db").read_bytes()


def new_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with an empty MLflow database, which this process uses from now on."""
    workspace = Workspace(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(empty_database())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workspace.default_tracking_uri)
    return workspace
