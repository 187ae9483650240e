"""Losses as pure functions of images or logits; every one returns a scalar for each example.

Images are signed, [N, H, W, C] in [-1, 1]. A value for each example, not a mean over the batch:
under a distribution strategy the trainer divides the sum by the *global* batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keras import ops

from srgan.errors import ModelError
from srgan.networks.features import (
    LPIPS_LAYERS,
    VggWeights,
    build_features,
    load_vgg,
    vgg_preprocess,
)
from srgan.training_config import PERCEPTUAL, PerceptualConfig, StageConfig

PerExample = Callable[[Any, Any], Any]
Mean = Callable[[Any], Any]


def mse(sr: Any, hr: Any) -> Any:
    """Mean squared error in [0, 1] units (Ledig et al. 2017, eq. 4)."""
    return ops.mean(ops.square((sr - hr) * 0.5), axis=(1, 2, 3))


def l1(sr: Any, hr: Any) -> Any:
    """Mean absolute error in [0, 1] units."""
    return ops.mean(ops.abs((sr - hr) * 0.5), axis=(1, 2, 3))


def generator_minmax(fake: Any, real: Any, mean: Mean = ops.mean) -> Any:
    """Non-saturating -log D(SR) from logits (Ledig et al. 2017, eq. 6)."""
    del real, mean
    return ops.mean(ops.softplus(-fake), axis=-1)


def discriminator_minmax(real: Any, fake: Any, mean: Mean = ops.mean) -> tuple[Any, Any]:
    """(-log D(HR), -log(1 - D(SR))) from logits (Goodfellow et al. 2014, eq. 1)."""
    del mean
    return ops.mean(ops.softplus(-real), axis=-1), ops.mean(ops.softplus(fake), axis=-1)


def generator_relativistic(fake: Any, real: Any, mean: Mean = ops.mean) -> Any:
    """Relativistic average loss of the generator (Wang et al. 2018, ESRGAN, eq. 2).

    ``mean`` averages logits over the global batch, so that replicas agree on "the average".
    """
    up = ops.softplus(-(fake - mean(real)))
    down = ops.softplus(real - mean(fake))
    return ops.mean(0.5 * (up + down), axis=-1)


def discriminator_relativistic(real: Any, fake: Any, mean: Mean = ops.mean) -> tuple[Any, Any]:
    """Relativistic average losses of the discriminator (Wang et al. 2018, eq. 1)."""
    on_real = 0.5 * ops.softplus(-(real - mean(fake)))
    on_fake = 0.5 * ops.softplus(fake - mean(real))
    return ops.mean(on_real, axis=-1), ops.mean(on_fake, axis=-1)


GENERATOR_ADVERSARIAL: Mapping[str, Callable[[Any, Any, Mean], Any]] = {
    "minmax": generator_minmax,
    "relativistic": generator_relativistic,
}
DISCRIMINATOR_ADVERSARIAL: Mapping[str, Callable[[Any, Any, Mean], tuple[Any, Any]]] = {
    "minmax": discriminator_minmax,
    "relativistic": discriminator_relativistic,
}


@dataclass(frozen=True)
class ContentLoss:
    """The weighted content losses of a stage and what had to be left out."""

    terms: Mapping[str, tuple[float, PerExample]]
    notes: tuple[str, ...]

    def __call__(self, sr: Any, hr: Any) -> Any:
        """Weighted sum for each example, [N]."""
        return sum(weight * term(sr, hr) for weight, term in self.terms.values())


def build_content_loss(stage: StageConfig, perceptual: PerceptualConfig) -> ContentLoss:
    """The content losses of ``stage``; loads VGG weights only where a loss needs them.

    Without weights it raises :class:`ModelError`, or, with ``when_missing: pixel``, leaves the
    perceptual terms out and says so in ``notes``; if nothing else is left, L1 takes their place.
    """
    pixel: dict[str, PerExample] = {"mse": mse, "l1": l1}
    terms: dict[str, tuple[float, PerExample]] = {}
    notes = []
    for name, weight in stage.content.items():
        if name not in PERCEPTUAL:
            terms[name] = (weight, pixel[name])
            continue
        try:
            terms[name] = (weight, _perceptual_loss(name, perceptual))
        except ModelError as error:
            if perceptual.when_missing == "fail":
                raise
            notes.append(f"trained without the content loss {name}: {error}")
    if not terms:
        terms["l1"] = (1.0, l1)
        notes.append("the content loss is l1 alone, because no perceptual weights are at hand")
    return ContentLoss(terms, tuple(notes))


def _perceptual_loss(name: str, config: PerceptualConfig) -> PerExample:
    if name == "lpips_vgg":
        weights = load_vgg("vgg16", "folder")
        return lpips_loss(weights)
    weights = load_vgg(config.network, config.weights)
    deepest = "conv5_4" if weights.network == "vgg19" else "conv5_3"
    middle = "conv3_4" if weights.network == "vgg19" else "conv3_3"
    taps = {
        "vgg22": ("conv2_2",),
        "vgg54": (deepest,),
        "vgg_multi": ("conv2_2", middle, deepest),
    }[name]
    return vgg_loss(weights, taps)


def vgg_loss(weights: VggWeights, taps: tuple[str, ...]) -> PerExample:
    """MSE between VGG features, averaged over ``taps`` (Ledig et al. 2017, eq. 5).

    Convolutions run in the compute type of the Keras policy, differences in float32.
    """
    network = build_features(weights, taps)

    def loss(sr: Any, hr: Any) -> Any:
        ours, theirs = _feature_pairs(network, weights, sr, hr)
        total = 0.0
        for a, b in zip(ours, theirs, strict=True):
            difference = (_float32(a) - _float32(b)) * weights.feature_scale
            total = total + ops.mean(ops.square(difference), axis=(1, 2, 3))
        return total / len(taps)

    return loss


def lpips_loss(weights: VggWeights) -> PerExample:
    """LPIPS over VGG16 (Zhang et al. 2018, eq. 1), differentiable with respect to ``sr``."""
    if len(weights.heads) != len(LPIPS_LAYERS):
        raise ModelError(f"{weights.origin}: has no LPIPS heads lin1..lin5, which lpips_vgg needs")
    network = build_features(weights, LPIPS_LAYERS)

    def loss(sr: Any, hr: Any) -> Any:
        ours, theirs = _feature_pairs(network, weights, sr, hr)
        total = 0.0
        for a, b, head in zip(ours, theirs, weights.heads, strict=True):
            difference = ops.square(_unit(_float32(a)) - _unit(_float32(b)))
            total = total + ops.mean(ops.sum(difference * head, axis=-1), axis=(1, 2))
        return total

    return loss


def _feature_pairs(
    network: Any, weights: VggWeights, sr: Any, hr: Any
) -> tuple[list[Any], list[Any]]:
    ours = network(vgg_preprocess(sr, weights.convention), training=False)
    theirs = network(vgg_preprocess(hr, weights.convention), training=False)
    # A model with one output answers with a tensor, not a list.
    return _as_list(ours), [ops.stop_gradient(x) for x in _as_list(theirs)]


def _as_list(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _float32(x: Any) -> Any:
    return ops.cast(x, "float32")


def _unit(features: Any) -> Any:
    """Each pixel's feature vector at length one. The epsilon sits inside the root: outside it
    the gradient of a dark pixel, whose features are all zero, would be NaN."""
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-10)
