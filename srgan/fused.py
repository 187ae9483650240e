"""Operations that TensorFlow has in one piece and Keras does not reach."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def replicas() -> int:
    """Devices that share a global batch, in and outside a step."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def normalise(x: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """``x [N, H, W, C]`` normalised with its own statistics, and those: mean and variance, [C].

    Statistics are in float32 whatever the type of ``x``; the variance is the biased one, as in
    Keras.
    """
    empty = tf.zeros([0], tf.float32)
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.convert_to_tensor(scale),
        offset=tf.convert_to_tensor(offset),
        mean=empty,
        variance=empty,
        epsilon=epsilon,
        is_training=True,
    )
    values = tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32)
    return y, mean, unbiased * (tf.maximum(values - 1.0, 1.0) / values)


def adam(
    variable: Any,
    momentum: Any,
    velocity: Any,
    gradient: Any,
    *,
    step: Any,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """One update by Kingma & Ba 2015 with the epsilon outside of both corrections, as in Keras.

    ``step`` counts from one. Under a strategy it is called for each device's copy.
    """
    kind = variable.dtype
    count = tf.cast(step, kind)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.handle,
        v=velocity.handle,
        beta1_power=tf.cast(beta_1, kind) ** count,
        beta2_power=tf.cast(beta_2, kind) ** count,
        lr=tf.cast(learning_rate, kind),
        beta1=tf.cast(beta_1, kind),
        beta2=tf.cast(beta_2, kind),
        epsilon=tf.cast(epsilon, kind),
        grad=tf.cast(gradient, kind),
    )
