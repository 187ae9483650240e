"""Adversarial losses against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from srgan.adversarial import Kind, cross_entropy, discriminator_loss, generator_loss, judgements

LN2 = math.log(2)


def logits(*values: float) -> Any:
    return tf.constant([[v] for v in values], tf.float32)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(("kind", "share"), [("minmax", 1.0), ("relativistic", 0.5)])
def test_undecided_logits_cost_ln_2(kind: Kind, share: float) -> None:
    judged = judgements(kind, logits(0, 0), logits(0, 0))
    np.testing.assert_allclose(generator_loss(kind, *judged), [LN2, LN2], rtol=1e-6)
    real, fake = discriminator_loss(kind, *judged)
    np.testing.assert_allclose([real, fake], np.full((2, 2), share * LN2), rtol=1e-6)


def test_minmax_by_hand() -> None:
    judged = judgements("minmax", logits(2), logits(-3))
    real, fake = discriminator_loss("minmax", *judged)
    assert float(real[0]) == pytest.approx(softplus(-2), rel=1e-6)
    assert float(fake[0]) == pytest.approx(softplus(-3), rel=1e-5)
    assert float(generator_loss("minmax", *judged)[0]) == pytest.approx(softplus(3), rel=1e-6)


def test_relativistic_by_hand() -> None:
    """Wang et al. 2018, equations 1 and 2: a logit against the mean of the other kind."""
    judged = judgements("relativistic", logits(1, 3), logits(-1, 0))
    mean_real, mean_fake = 2.0, -0.5
    on_real, on_fake = discriminator_loss("relativistic", *judged)
    np.testing.assert_allclose(on_real, [0.5 * softplus(-(r - mean_fake)) for r in (1, 3)], 1e-6)
    np.testing.assert_allclose(on_fake, [0.5 * softplus(f - mean_real) for f in (-1, 0)], 1e-6)
    generator = [
        0.5 * (softplus(-(f - mean_real)) + softplus(r - mean_fake))
        for f, r in zip((-1, 0), (1, 3), strict=True)
    ]
    np.testing.assert_allclose(generator_loss("relativistic", *judged), generator, 1e-6)


@pytest.mark.parametrize("kind", ["minmax", "relativistic"])
def test_label_smoothing_is_one_sided(kind: Kind) -> None:
    """D's loss on real images is least at the probability 1 - smoothing, not at certainty."""
    fake = logits(-1.0)
    best = math.log(0.9 / 0.1) + (-1.0 if kind == "relativistic" else 0.0)

    def on_real(logit: float, smoothing: float) -> float:
        judged = judgements(kind, logits(logit), fake)
        return float(discriminator_loss(kind, *judged, smoothing)[0][0])

    assert on_real(best, 0.1) < min(on_real(best - 0.2, 0.1), on_real(best + 0.2, 0.1))
    assert on_real(best + 5, 0.0) < on_real(best, 0.0)
    judged = judgements(kind, logits(2.0), fake)
    _, plain = discriminator_loss(kind, *judged, 0.0)
    _, smoothed = discriminator_loss(kind, *judged, 0.1)
    np.testing.assert_array_equal(plain, smoothed)


def test_cross_entropy_by_its_definition_and_without_overflow() -> None:
    for logit, target in ((0.7, 0.9), (-2.0, 0.0), (3.0, 1.0)):
        p = 1 / (1 + math.exp(-logit))
        expected = -target * math.log(p) - (1 - target) * math.log(1 - p)
        assert float(cross_entropy(logits(logit), target)[0, 0]) == pytest.approx(expected, 1e-5)
    extreme = cross_entropy(logits(-1e4, 1e4), 0.9)
    np.testing.assert_allclose(np.ravel(extreme), [9e3, 1e3], rtol=1e-5)
