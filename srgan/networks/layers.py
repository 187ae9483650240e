"""The two layers that Keras has only as functions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray


@keras.saving.register_keras_serializable(package="srgan")
class PixelShuffle(layers.Layer):
    """[N, H, W, r*r*C] to [N, r*H, r*W, C]: channels become pixels (Shi et al. 2016, eq. 4)."""

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return ops.depth_to_space(inputs, self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        r = self.factor
        return (
            batch,
            height and height * r,
            width and width * r,
            channels and channels // (r * r),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="srgan")
class BicubicUpsampling(layers.Layer):
    """:func:`bicubic` as a layer: [N, H, W, C] to [N, s*H, s*W, C].

    Always in float32: rounding to bfloat16 here would cost more than the network gains.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return bicubic(inputs, self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return (batch, height and height * self.factor, width and width * self.factor, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def bicubic(images: Any, factor: int) -> Any:
    """Float images [N, H, W, C] enlarged by Keys' cubic (a=-0.5), as Pillow's BICUBIC does it."""
    # keras.ops.image.resize compares the size in Python, so a graph for any H and W cannot be
    # traced through it. A convolution gives the same pixels: one channel a phase, and at the
    # border the weights that fell inside are scaled to sum to one.
    kernel = _bicubic_phases(factor, images.shape[-1])
    inside = ops.conv(ops.ones_like(images[:1]), kernel, padding="same")
    return ops.depth_to_space(ops.conv(images, kernel, padding="same") / inside, factor)


def _bicubic_phases(factor: int, channels: int) -> NDArray[np.float32]:
    """Keys' cubic as a convolution kernel [5, 5, C, s*s*C], a channel for each output phase."""
    phase = (np.arange(factor) + 0.5) / factor - 0.5
    distance = np.abs(phase[None, :] - np.arange(-2, 3)[:, None])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    axis = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    kernel = np.einsum("ap,bq,cd->abcpqd", axis, axis, np.eye(channels))
    return np.asarray(kernel.reshape(5, 5, channels, -1), np.float32)
