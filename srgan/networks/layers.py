"""Layers that Keras has only as functions, or in more passes over memory than they need."""

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
class PReLU(layers.PReLU):
    """Keras' PReLU (He et al. 2015) with one slope a channel, in half the passes over memory.

    ``x + (alpha - 1) min(x, 0)``, with a gradient that reuses the minimum.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"shared_axes": [1, 2], **kwargs})

    def call(self, inputs: Any) -> Any:
        return _prelu(inputs, ops.cast(self.alpha, self.compute_dtype))


@ops.custom_gradient
def _prelu(x: Any, alpha: Any) -> tuple[Any, Any]:
    below = ops.minimum(x, 0)

    def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any]:
        g = arguments[0] if upstream is None else upstream
        pixels = ops.reshape(g * below, (-1, x.shape[-1]))
        # The sum over pixels as a product of matrices: Eigen's sum is five times as slow.
        row = ops.ones_like(pixels[:, :1])
        slope = ops.reshape(ops.matmul(ops.transpose(row), pixels), alpha.shape)
        return g + (1 - alpha) * (g * ops.sign(below)), slope

    return x + (alpha - 1) * below, gradient


@keras.saving.register_keras_serializable(package="srgan")
class ImageConv2D(layers.Conv2D):
    """Keras' Conv2D, faster for a large kernel and the few channels of an image.

    Three output channels leave most of a vector register empty. So each row of the kernel gives
    channels of its own, [N, H, W, k*C], which a second convolution by ones adds up at their
    offsets. The sums are those of Conv2D in another order.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        height, width, depth, channels = kernel.shape
        plain = self.strides != (1, 1) or self.padding != "same" or self.groups > 1
        if plain or self.dilation_rate != (1, 1) or width < 5 or channels > 4:
            return super().convolution_op(inputs, kernel)
        rows = ops.reshape(ops.transpose(kernel, (1, 2, 0, 3)), (1, width, depth, -1))
        parts = ops.conv(inputs, rows, padding="same")
        place = np.eye(height * channels, dtype=np.float32).reshape(height, 1, channels, -1)
        return ops.conv(parts, ops.cast(np.swapaxes(place, 2, 3), parts.dtype), padding="same")


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
