"""Muon on convolutions: what makes it Muon, and that it is Adam where it should be."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.optimizers import ConvolutionMuon, make_optimizer


@pytest.mark.parametrize("shape", [(72, 8), (8, 72), (32, 32)])
def test_an_update_moves_every_direction_alike(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    # Directions whose gradients differ a hundredfold.
    left, right = (np.linalg.qr(rng.normal(size=(side, side)))[0] for side in shape)
    values = np.diag(np.geomspace(1, 0.01, min(shape)))
    matrix = left[:, : min(shape)] @ values @ right[: min(shape)]
    update = np.asarray(
        ConvolutionMuon().zeropower_via_newtonschulz5(tf.constant(matrix, tf.float32), 5)
    )
    found = np.linalg.svd(update, compute_uv=False)
    assert found.min() > 0.5
    assert found.max() < 1.3
    # The same directions, each with its sign.
    assert np.trace(left[:, : min(shape)].T @ update @ right[: min(shape)].T) > 0.6 * min(shape)


def test_kernels_between_features_get_steps_of_the_size_of_adams() -> None:
    model = build_generator(GeneratorConfig(filters=16, blocks=2, upsample="shuffle"))
    muon = ConvolutionMuon(1e-3)
    muon.build(model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    rng = np.random.default_rng(1)
    gradients = [tf.constant(rng.normal(size=v.shape), tf.float32) for v in before]
    muon.apply(gradients, model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        step = float(np.sqrt(np.mean(np.square(variable.numpy() - old))))
        kernel = len(old.shape) == 4 and not {"head", "to_image"} & set(variable.path.split("/"))
        # Muon: 0.2 of the rate, as Adam's steps are while it learns; Adam's first step: the rate.
        assert step == pytest.approx(2e-4 if kernel else 1e-3, rel=0.25), variable.path


def test_float16_is_scaled_whatever_the_optimizer() -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        assert isinstance(make_optimizer("muon", 1.0), keras.optimizers.LossScaleOptimizer)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
