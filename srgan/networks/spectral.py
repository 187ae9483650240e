"""Layers whose kernel is divided by its largest singular value (Miyato et al. 2018).

Keras' own wrapper overwrites the trained kernel with the divided one at each call: its gradient
then misses the path through the singular value, and two calls in a step see different weights.
Here the kernel stays as it is, and only the estimate of its singular vector changes.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class _Spectral(layers.Layer):
    """Adds ``spectral_u``, the left singular vector, and one power iteration a training call."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        # Replicas compute the same vector from the same kernel: their mean is that vector.
        self.spectral_u = self.add_weight(
            shape=(1, self.kernel.shape[-1]),
            initializer=keras.initializers.RandomNormal(),
            trainable=False,
            autocast=False,
            dtype="float32",
            aggregation="mean",
            name="spectral_u",
        )

    def normalised_kernel(self, training: bool) -> Any:
        """The kernel over the estimate of its largest singular value, in the compute type."""
        kernel = self.kernel
        matrix = ops.reshape(ops.cast(kernel, "float32"), (-1, kernel.shape[-1]))
        fixed = ops.stop_gradient(matrix)
        u = ops.convert_to_tensor(self.spectral_u)
        v = _unit(ops.matmul(u, ops.transpose(fixed)))
        if training:
            u = _unit(ops.matmul(v, fixed))
            self.spectral_u.assign(u)
        sigma = ops.sum(ops.matmul(v, matrix) * u) / (ops.norm(u) + 1e-12)
        return ops.cast(ops.reshape(matrix / sigma, kernel.shape), kernel.dtype)


@keras.saving.register_keras_serializable(package="srgan")
class SpectralConv2D(_Spectral, layers.Conv2D):
    """Conv2D with spectral normalisation; all arguments are Conv2D's."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.convolution_op(inputs, self.normalised_kernel(training))
        if self.use_bias:
            x = x + ops.reshape(self.bias, (1, 1, 1, -1))
        return self.activation(x)


@keras.saving.register_keras_serializable(package="srgan")
class SpectralDense(_Spectral, layers.Dense):
    """Dense with spectral normalisation; all arguments are Dense's."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = ops.matmul(inputs, self.normalised_kernel(training))
        if self.use_bias:
            x = x + self.bias
        return self.activation(x)


def _unit(vector: Any) -> Any:
    return vector / (ops.norm(vector) + 1e-12)
