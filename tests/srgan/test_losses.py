from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from srgan import losses
from srgan.errors import ModelError
from srgan.networks.features import load_vgg
from srgan.training_config import PerceptualConfig, StageConfig
from tests.srgan.pairs import scene
from tests.support import shared_data

LN2 = math.log(2)


def signed(seed: int, side: int = 32) -> Any:
    return tf.constant(scene(seed, side)[None].astype(np.float32) / 127.5 - 1)


def logits(*values: float) -> Any:
    return tf.constant([[v] for v in values], tf.float32)


def test_pixel_losses_are_in_unit_range_units() -> None:
    black, white = tf.fill((2, 4, 4, 3), -1.0), tf.fill((2, 4, 4, 3), 1.0)
    grey = tf.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(losses.mse(black, white), [1, 1])
    np.testing.assert_allclose(losses.l1(black, white), [1, 1])
    np.testing.assert_allclose(losses.mse(grey, white), [0.25, 0.25])
    np.testing.assert_allclose(losses.l1(grey, white), [0.5, 0.5])


def test_undecided_logits_cost_ln_2() -> None:
    zero = logits(0, 0)
    np.testing.assert_allclose(losses.generator_minmax(zero, zero), [LN2, LN2], rtol=1e-6)
    np.testing.assert_allclose(losses.generator_relativistic(zero, zero), [LN2, LN2], rtol=1e-6)
    for loss in (losses.discriminator_minmax, losses.discriminator_relativistic):
        real, fake = loss(zero, zero)
        expected = LN2 if loss is losses.discriminator_minmax else LN2 / 2
        np.testing.assert_allclose([real, fake], np.full((2, 2), expected), rtol=1e-6)


def test_minmax_by_hand() -> None:
    real, fake = losses.discriminator_minmax(logits(2), logits(-3))
    assert float(real[0]) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    assert float(fake[0]) == pytest.approx(math.log(1 + math.exp(-3)), rel=1e-6)
    assert float(losses.generator_minmax(logits(-3), logits(2))[0]) == pytest.approx(
        math.log(1 + math.exp(3)), rel=1e-6
    )


def test_relativistic_by_hand() -> None:
    """Wang et al. 2018, equations 1 and 2: a logit against the mean of the other kind."""
    real, fake = logits(1, 3), logits(-1, 0)
    mean_real, mean_fake = 2.0, -0.5

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    on_real, on_fake = losses.discriminator_relativistic(real, fake)
    np.testing.assert_allclose(on_real, [0.5 * softplus(-(r - mean_fake)) for r in (1, 3)], 1e-6)
    np.testing.assert_allclose(on_fake, [0.5 * softplus(f - mean_real) for f in (-1, 0)], 1e-6)
    generator = [
        0.5 * (softplus(-(f - mean_real)) + softplus(r - mean_fake))
        for f, r in zip((-1, 0), (1, 3), strict=True)
    ]
    np.testing.assert_allclose(losses.generator_relativistic(fake, real), generator, 1e-6)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shared_data() / "weights"
    monkeypatch.setenv("SRGAN_WEIGHTS", str(folder))
    return folder


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.lpips_loss(load_vgg("vgg16", "folder")),
        lambda: losses.vgg_loss(load_vgg("vgg16", "folder"), ("conv2_2", "conv3_3", "conv5_3")),
        lambda: losses.vgg_loss(load_vgg("vgg19", "folder"), ("conv2_2",)),
    ],
    ids=["lpips_vgg", "vgg16", "vgg19-22"],
)
def test_perceptual_losses_on_real_weights(make: Callable[[], losses.PerExample]) -> None:
    loss = make()
    hr = signed(1)
    blurred = tf.nn.avg_pool2d(hr, 4, 1, "SAME")
    assert float(loss(hr, hr)[0]) == pytest.approx(0, abs=1e-5)
    little, much = (float(loss(a * blurred + (1 - a) * hr, hr)[0]) for a in (0.3, 1.0))
    assert 0 < little < much
    # A black corner has no features at all; its gradient must be finite all the same.
    dark = tf.Variable(tf.concat([blurred[:, :16], tf.fill((1, 16, 32, 3), -1.0)], axis=1))
    with tf.GradientTape() as tape:
        value = loss(dark, hr)
    gradient = tape.gradient(value, dark)
    assert bool(tf.reduce_all(tf.math.is_finite(gradient)))
    assert float(tf.reduce_max(tf.abs(gradient))) > 0


def test_without_weights_the_run_fails_or_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    stage = StageConfig(content={"l1": 1.0, "lpips_vgg": 0.5})
    with pytest.raises(ModelError, match=r"vgg16_conv_lpips\.npz"):
        losses.build_content_loss(stage, PerceptualConfig())
    lenient = PerceptualConfig(when_missing="pixel")
    content = losses.build_content_loss(stage, lenient)
    assert list(content.terms) == ["l1"]
    assert "trained without the content loss lpips_vgg" in content.notes[0]
    alone = losses.build_content_loss(StageConfig(content={"lpips_vgg": 1.0}), lenient)
    assert list(alone.terms) == ["l1"]
    assert "l1 alone" in alone.notes[1]


@pytest.mark.usefixtures("weights")
def test_a_partial_file_refuses_the_depth_that_it_lacks() -> None:
    stage = StageConfig(content={"vgg54": 1.0})
    with pytest.raises(ModelError, match="has no conv3_2, which conv5_4 needs"):
        losses.build_content_loss(stage, PerceptualConfig(weights="folder"))
