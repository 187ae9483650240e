"""Layers in fewer passes give what Keras' own give: values, gradients, moving statistics, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from srgan.checkpoints import load_generator, save_generator
from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.networks.layers import ImageConv2D, PReLU
from srgan.networks.norm import BatchNorm, batch_norm
from srgan.optimizers import Adam

POLICIES = ("float32", "mixed_bfloat16")
# Sums in another order; for bfloat16 one rounding of a result, 2**-8 of it.
CLOSE = {"float32": 2e-5, "mixed_bfloat16": 2e-2}


def answers(layer: layers.Layer, x: np.ndarray, upstream: np.ndarray) -> dict[str, np.ndarray]:
    """Output, gradients and weights after one training call."""

    @tf.function
    def call(x: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        to = [x, *(weight.value for weight in layer.trainable_weights)]
        return y, tape.gradient(y, to, output_gradients=upstream)

    x = tf.cast(x, layer.compute_dtype)
    y, gradients = call(x, tf.cast(upstream, layer.compute_dtype))
    found = {"output": y, "input": gradients[0]}
    for weight, gradient in zip(layer.trainable_weights, gradients[1:], strict=True):
        found[weight.name] = gradient
    for weight in layer.non_trainable_weights:
        found[f"after/{weight.name}"] = weight.value
    return {name: tf.cast(value, tf.float32).numpy() for name, value in found.items()}


def assert_same(ours: layers.Layer, theirs: layers.Layer, x: np.ndarray, policy: str) -> None:
    upstream = np.random.default_rng(1).normal(size=theirs(x).shape).astype(np.float32)
    ours(x)
    rng = np.random.default_rng(2)
    weights = [
        (value + rng.uniform(0, 0.5, value.shape)).astype(np.float32)
        for value in theirs.get_weights()
    ]
    for layer in (ours, theirs):
        layer.set_weights(weights)
    want, got = answers(theirs, x, upstream), answers(ours, x, upstream)
    assert got.keys() == want.keys()
    for name, value in want.items():
        gap = np.abs(got[name] - value).max() / np.abs(value).max()
        assert gap < CLOSE[policy], name


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 1.0, (4, 12, 10, 16)).astype(np.float32)


@pytest.mark.parametrize("policy", POLICIES)
def test_prelu_is_keras_prelu(features: np.ndarray, policy: str) -> None:
    assert_same(
        PReLU(dtype=policy), layers.PReLU(shared_axes=[1, 2], dtype=policy), features, policy
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_batch_norm_is_keras_batch_normalization(features: np.ndarray, policy: str) -> None:
    x = features.astype(tf.bfloat16.as_numpy_dtype).astype(np.float32) * 3
    theirs = layers.BatchNormalization(momentum=0.9, dtype=policy)
    assert_same(BatchNorm(momentum=0.9, dtype=policy), theirs, x, policy)


def test_batch_norm_takes_one_operation_each_way(features: np.ndarray) -> None:
    layer = batch_norm("norm")
    layer(features)

    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(layer(x, training=True) ** 3)
        return tape.gradient(y, layer.gamma.value)

    graph = gradient.get_concrete_function(tf.constant(features)).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("FusedBatchNormV3") == kinds.count("FusedBatchNormGradV3") == 1


def test_batch_norm_uses_moving_statistics_outside_training(features: np.ndarray) -> None:
    ours, theirs = BatchNorm(), layers.BatchNormalization()
    for layer in (ours, theirs):
        layer(features)
        layer.set_weights([np.full(16, value, np.float32) for value in (1.5, 0.2, 0.7, 2.0)])
    np.testing.assert_allclose(ours(features), theirs(features), rtol=1e-6, atol=1e-6)
    ours.trainable = theirs.trainable = False
    frozen = ours(features, training=True)
    np.testing.assert_allclose(frozen, theirs(features, training=True), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_image_convolution_is_keras_convolution(features: np.ndarray, channels: int) -> None:
    for kernel in (3, 9):
        ours = ImageConv2D(channels, kernel, padding="same")
        assert_same(ours, layers.Conv2D(channels, kernel, padding="same"), features, "float32")


def test_generator_of_keras_own_layers_gives_the_same_image(tmp_path: Path) -> None:
    """Weights of files from before these layers fit, and the image is theirs."""
    model = build_generator(GeneratorConfig(architecture="srresnet", filters=8, blocks=2))
    theirs = keras.models.clone_model(model, clone_function=_as_keras_has_it)
    kinds = {type(layer) for layer in theirs.layers}
    assert {layers.PReLU, layers.BatchNormalization, layers.Conv2D} <= kinds
    assert kinds.isdisjoint({PReLU, BatchNorm, ImageConv2D})
    theirs.set_weights(model.get_weights())
    save_generator(theirs, tmp_path / "old.keras")
    save_generator(model, tmp_path / "new.keras")
    old, new = load_generator(tmp_path / "old.keras"), load_generator(tmp_path / "new.keras")
    assert {PReLU, BatchNorm, ImageConv2D} <= {type(layer) for layer in new.layers}
    lr = np.random.default_rng(3).random((2, 12, 9, 3), dtype=np.float32)
    for training in (False, True):
        np.testing.assert_allclose(
            new(lr, training=training), old(lr, training=training), rtol=1e-5, atol=1e-5
        )


def test_adam_is_keras_adam() -> None:
    rng = np.random.default_rng(4)
    start = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    gradients = [rng.normal(size=start.shape).astype(np.float32) * 10.0**-i for i in range(5)]
    ours, theirs = (
        _after(kind(1e-2, beta_1=0.9, beta_2=0.999, global_clipnorm=1.0), start, gradients)
        for kind in (Adam, keras.optimizers.Adam)
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=3e-7, err_msg=name)


def _after(
    optimizer: keras.Optimizer, start: np.ndarray, gradients: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """The weight and all that the optimiser keeps, after one update for each gradient."""
    weight = keras.Variable(start, name="weight")
    optimizer.build([weight])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [weight]))
    for number, gradient in enumerate(gradients, start=1):
        optimizer.learning_rate = 1e-2 / number
        apply(tf.constant(gradient))
    kept = {v.path.split("/", 1)[-1]: np.array(v.value) for v in optimizer.variables}
    return {"weight": np.array(weight.value), **kept}


def _as_keras_has_it(layer: layers.Layer) -> layers.Layer:
    keras_own = {
        PReLU: layers.PReLU,
        BatchNorm: layers.BatchNormalization,
        ImageConv2D: layers.Conv2D,
    }
    return keras_own.get(type(layer), type(layer)).from_config(layer.get_config())
