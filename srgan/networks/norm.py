"""Batch normalisation as every network here uses it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def batch_norm(name: str) -> layers.Layer:
    """BatchNormalization whose statistics are those of the global batch.

    Without ``synchronized`` replicas drift apart silently; only TensorFlow knows the argument.
    """
    options = {"synchronized": True} if keras.backend.backend() == "tensorflow" else {}
    return BatchNorm(momentum=0.9, name=name, **options)


@keras.saving.register_keras_serializable(package="srgan")
class BatchNorm(layers.BatchNormalization):
    """Keras' layer, with its weights and its results, in fewer passes over memory.

    Keras writes training's normalisation as some fifteen operations. TensorFlow has it as one
    forward and one backward, which fits where one device holds the whole batch; on several
    devices, and on other backends, it stays as Keras has it.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        plain = (
            mask is not None or self.renorm or len(inputs.shape) != 4 or self.axis not in (-1, 3)
        )
        if plain or not (training and self.trainable) or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        from srgan.fused import normalise, replicas

        if replicas() > 1:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = normalise(inputs, self.gamma, self.beta, self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs
