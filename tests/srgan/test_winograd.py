"""The fast convolution of frozen kernels gives what the direct one gives, both ways."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from srgan.networks.winograd import FrozenConv2D


def frozen(channels: int, filters: int, dtype: str = "float32") -> tuple[FrozenConv2D, Any]:
    """The layer and Keras' own with the same weights."""
    rng = np.random.default_rng(channels)
    kernel = rng.normal(0, (2 / (9 * channels)) ** 0.5, (3, 3, channels, filters))
    weights = [kernel.astype(np.float32), rng.normal(size=filters).astype(np.float32)]
    layer, plain = (
        kind(filters, 3, padding="same", activation="relu", dtype=dtype)
        for kind in (FrozenConv2D, layers.Conv2D)
    )
    for each in (layer, plain):
        each.build((None, None, None, channels))
    layer.freeze(*weights)
    plain.set_weights(weights)
    return layer, plain


def images(height: int, width: int, channels: int) -> tf.Tensor:
    rng = np.random.default_rng(0)
    return tf.constant(np.maximum(rng.normal(size=(3, height, width, channels)), 0), tf.float32)


def both_ways(layer: Any, x: tf.Tensor) -> tuple[Any, Any, list[str]]:
    """Output, gradient of its squared sum, and the operations that gave them."""

    @tf.function
    def call(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y * y)
        return y, tape.gradient(loss, x)

    kinds = [op.type for op in call.get_concrete_function(x).graph.get_operations()]
    return *call(x), kinds


@pytest.mark.parametrize(("channels", "filters"), [(128, 128), (128, 160), (160, 128)])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 24)])
def test_is_the_direct_convolution(channels: int, filters: int, height: int, width: int) -> None:
    layer, plain = frozen(channels, filters)
    x = images(height, width, channels)
    y, dx, kinds = both_ways(layer, x)
    want_y, want_dx, _ = both_ways(plain, x)
    assert "Conv2D" not in kinds
    assert "Conv2DBackpropInput" not in kinds
    for got, want in ((y, want_y), (dx, want_dx)):
        assert got.shape == want.shape
        assert float(tf.reduce_max(abs(got - want)) / tf.math.reduce_std(want)) < 3e-4


@pytest.mark.parametrize(
    ("channels", "height", "dtype"),
    [(64, 8, "float32"), (128, 6, "float32"), (128, 8, "mixed_bfloat16")],
)
def test_elsewhere_it_is_keras_convolution(channels: int, height: int, dtype: str) -> None:
    """Few channels, sizes that four does not divide, and bfloat16."""
    layer, plain = frozen(channels, 128, dtype)
    x = images(height, 8, channels)
    y, _, kinds = both_ways(layer, x)
    assert "Conv2D" in kinds
    want, _, _ = both_ways(plain, x)
    np.testing.assert_array_equal(tf.cast(y, tf.float32), tf.cast(want, tf.float32))


def test_sizes_may_be_unknown() -> None:
    layer, plain = frozen(128, 128)
    image = keras.Input((None, None, 128))
    model = keras.Model(image, layer(image))
    x = images(8, 12, 128)
    gap = tf.reduce_max(abs(model(x) - plain(x))) / tf.math.reduce_std(plain(x))
    assert float(gap) < 3e-4
    any_size = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 128))])
    np.testing.assert_array_equal(any_size(x), tf.function(plain)(x))
