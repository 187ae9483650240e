"""Adversarial losses as pure functions of logits; a scalar for each example.

A value for each example, not a mean over the batch: under a distribution strategy the training
step divides the sum by the *global* batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from keras import ops

Kind = Literal["minmax", "relativistic"]
Mean = Callable[[Any], Any]


def judgements(kind: Kind, real: Any, fake: Any, mean: Mean = ops.mean) -> tuple[Any, Any]:
    """Logits [N, 1] to what is judged, [N]: is this image real, or, relativistic, more so?

    ``relativistic`` compares each image with the average of the other kind (Wang et al. 2018,
    ESRGAN, section 3.2); ``mean`` averages over the global batch, so that replicas agree on it.
    """
    real, fake = ops.squeeze(real, -1), ops.squeeze(fake, -1)
    if kind == "minmax":
        return real, fake
    return real - mean(fake), fake - mean(real)


def generator_loss(kind: Kind, real: Any, fake: Any) -> Any:
    """What G minimises, from :func:`judgements`.

    ``minmax``: the non-saturating -log D(SR) (Ledig et al. 2017, eq. 6). ``relativistic``: both
    kinds should be judged the other way round (Wang et al. 2018, eq. 2), averaged.
    """
    if kind == "minmax":
        return cross_entropy(fake, 1.0)
    return 0.5 * (cross_entropy(fake, 1.0) + cross_entropy(real, 0.0))


def discriminator_loss(kind: Kind, real: Any, fake: Any, smoothing: float = 0.0) -> tuple[Any, Any]:
    """What D minimises on real and on generated images, from :func:`judgements`.

    Goodfellow et al. 2014, eq. 1, and Wang et al. 2018, eq. 1, averaged. ``smoothing`` is
    one-sided (Salimans et al. 2016, section 3.4): real images should reach the probability
    ``1 - smoothing``, generated ones still 0, and G's own targets do not change.
    """
    share = 1.0 if kind == "minmax" else 0.5
    return share * cross_entropy(real, 1.0 - smoothing), share * cross_entropy(fake, 0.0)


def cross_entropy(logits: Any, target: float) -> Any:
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(logits), without overflow."""
    return ops.softplus(-logits) + (1.0 - target) * logits
