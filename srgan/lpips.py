"""LPIPS with AlexNet: perceptual distance of two pictures (Zhang et al. 2018, version 0.1).

Imports Keras when it is first used. Computes in float32 whatever the global precision policy is:
plain operations, no layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.images import Pixels
from srgan.weights import read_weights, require_weights

WEIGHTS_FILE = "lpips_alex.npz"
# Below this side nothing is left after AlexNet's strides.
SMALLEST = 31

Lpips = Callable[[Pixels, Pixels], NDArray[np.float32]]
Weights = Mapping[str, NDArray[np.float32]]

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_STRIDES = (4, 1, 1, 1, 1)
_PADDING = (2, 2, 1, 1, 1)


def load_lpips_alex(weights: Weights | None = None) -> Lpips:
    """The metric as a function of two uint8 batches ``[N, H, W, 3]`` to distances ``[N]``, >= 0.

    Symmetric, 0 for identical pictures; sides of at least 31 pixels. Without ``weights`` they are
    read from the known file; :class:`ModelError` when it is not at hand.
    """
    import tensorflow as tf
    from keras import ops

    arrays = read_weights(require_weights(WEIGHTS_FILE)) if weights is None else weights
    constants = {name: ops.convert_to_tensor(array, "float32") for name, array in arrays.items()}
    batch = tf.TensorSpec([None, None, None, 3], tf.uint8)
    graph = tf.function(
        lambda one, other: distance(one, other, constants), input_signature=[batch, batch]
    )

    def lpips_alex(one: Pixels, other: Pixels) -> NDArray[np.float32]:
        if one.shape != other.shape or one.ndim != 4 or min(one.shape[1:3]) < SMALLEST:
            raise ValueError(
                f"expected two batches [N, H, W, 3] of one shape with sides of at least "
                f"{SMALLEST}, got {list(one.shape)} and {list(other.shape)}"
            )
        return np.asarray(graph(one, other))

    return lpips_alex


def distance(one: Any, other: Any, weights: Mapping[str, Any]) -> Any:
    """LPIPS of two uint8 tensors ``[N, H, W, 3]``: float32 ``[N]``."""
    from keras import ops

    total: Any = 0.0
    for index, (a, b) in enumerate(
        zip(_features(one, weights), _features(other, weights), strict=True), start=1
    ):
        squared = ops.square(_unit_length(a) - _unit_length(b))
        total += ops.mean(ops.sum(squared * weights[f"lin{index}"], axis=-1), axis=(1, 2))
    return total


def _features(pixels: Any, weights: Mapping[str, Any]) -> list[Any]:
    """AlexNet's five activations."""
    from keras import ops

    signed = ops.cast(pixels, "float32") / 127.5 - 1.0
    shift, scale = (ops.convert_to_tensor(c, "float32") for c in (_SHIFT, _SCALE))
    x = (signed - shift) / scale
    features = []
    for index, (stride, pad) in enumerate(zip(_STRIDES, _PADDING, strict=True), start=1):
        if index in (2, 3):
            x = ops.max_pool(x, 3, strides=2, padding="valid")
        x = ops.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        x = ops.conv(x, weights[f"conv{index}/kernel"], strides=stride, padding="valid")
        x = ops.relu(x + weights[f"conv{index}/bias"])
        features.append(x)
    return features


def _unit_length(x: Any) -> Any:
    from keras import ops

    # The reference implementation adds the constant to the length, outside the root.
    return x / (ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)) + 1e-10)
