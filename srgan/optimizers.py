"""Optimisers by name: Adam, and Muon for convolutions."""

from __future__ import annotations

import re
from typing import Any, Literal

import keras
from keras import ops

Name = Literal["adam", "muon"]


def make_optimizer(name: Name, clip: float | None) -> Any:
    """The optimiser ``name`` with gradients clipped to the global norm ``clip``.

    With loss scaling where the Keras policy is ``mixed_float16``.
    """
    # beta_1 0.9 as in Ledig et al. 2017, section 3.2.
    optimizer: Any = (
        Adam(1e-4, beta_1=0.9, beta_2=0.999, global_clipnorm=clip)
        if name == "adam"
        else ConvolutionMuon(1e-4, global_clipnorm=clip)
    )
    if keras.mixed_precision.dtype_policy().name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


@keras.saving.register_keras_serializable(package="srgan")
class Adam(keras.optimizers.Adam):
    """Keras' Adam, whose dozen passes over each weight are one operation in TensorFlow.

    A discriminator with the paper's dense head has twenty million weights.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad or keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return
        from srgan.fused import adam

        index = self._get_variable_index(variable)
        adam(
            variable,
            self._momentums[index].value,
            self._velocities[index].value,
            gradient,
            step=self.iterations + 1,
            learning_rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )


@keras.saving.register_keras_serializable(package="srgan")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024) for the kernels between features; Adam for all other weights.

    A kernel [h, w, in, out] is the matrix [h*w*in, out]; its momentum is replaced by the nearest
    orthogonal matrix, so that every direction in it moves alike, and scaled to the size of Adam's
    steps (Liu et al. 2025, eq. 4), which is why rates are those of Adam. The convolutions that
    touch the image are left to Adam, as the method's authors do with first and last layers.
    """

    def __init__(self, learning_rate: float = 1e-3, **kwargs: Any) -> None:
        options = {
            "weight_decay": None,
            "adam_weight_decay": None,
            "exclude_layers": ["head", "to_image"],
        }
        super().__init__(learning_rate=learning_rate, **{**options, **kwargs})

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) != 4:
            return True
        return any(re.search(word, variable.path) for word in self.exclude_layers)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        aim = ops.add(gradient, self.momentum * m) if self.nesterov else m
        *taps, width = variable.shape
        matrix = ops.reshape(aim, (-1, width))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, (*taps, width)))
