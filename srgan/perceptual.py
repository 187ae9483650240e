"""Perceptual losses: distances between the VGG features of two images.

Images are signed, [N, H, W, C] in [-1, 1]; every loss gives a scalar for each example, [N].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from srgan.errors import ModelError
from srgan.networks.features import (
    LPIPS_LAYERS,
    Network,
    VggWeights,
    build_features,
    layer_names,
    load_vgg,
    required_layers,
    scaled_features,
)
from srgan.training_config import PerceptualConfig

# Features by the layer that they come from.
Features = Mapping[str, Any]
Distance = Callable[[Features, Features], Any]


class PerceptualLosses:
    """Losses over one VGG, which looks once at each image for all of them."""

    def __init__(self, weights: VggWeights, names: Sequence[str]) -> None:
        """Raises :class:`ModelError` where the weights do not reach deep enough for a loss."""
        taps = {name: taps_of(name, weights.network) for name in names}
        wanted = {tap for of_loss in taps.values() for tap in of_loss}
        self._taps = [name for name in layer_names(weights.network) if name in wanted]
        self._convention = weights.convention
        self._network = build_features(weights, self._taps)
        self._distances = {name: _distance(name, taps[name], weights) for name in names}

    def __call__(self, sr: Any, hr: Any) -> dict[str, Any]:
        """The value of every loss for each example; only ``sr`` gets a gradient.

        Convolutions run in the compute type of the Keras policy, differences in float32.
        """
        ours = self._features(sr)
        theirs = {name: ops.stop_gradient(x) for name, x in self._features(hr).items()}
        return {name: distance(ours, theirs) for name, distance in self._distances.items()}

    def _features(self, images: Any) -> Features:
        features = scaled_features(self._network, self._convention, images)
        return dict(zip(self._taps, features, strict=True))


def load_perceptual_losses(
    names: Sequence[str], config: PerceptualConfig
) -> tuple[list[PerceptualLosses], dict[str, ModelError]]:
    """Losses by the network that they share, and why those are missing that cannot be had."""
    usable: dict[str, tuple[VggWeights, list[str]]] = {}
    errors: dict[str, ModelError] = {}
    for name in names:
        # LPIPS' heads come in one file with the convolutions that they were trained on.
        network: Network = "vgg16" if name == "lpips_vgg" else config.network
        source = "folder" if name == "lpips_vgg" else config.weights
        taps = taps_of(name, network)
        try:
            weights = load_vgg(network, source, taps[-1])
            required_layers(weights, taps)
        except ModelError as error:
            errors[name] = error
        else:
            usable.setdefault(weights.origin, (weights, []))[1].append(name)
    return [PerceptualLosses(weights, group) for weights, group in usable.values()], errors


def taps_of(name: str, network: Network) -> tuple[str, ...]:
    """Layers whose features a loss compares, from the first to the deepest.

    ``vggIJ``: the J-th convolution before the I-th pooling (Ledig et al. 2017), so ``vgg54`` is
    conv5_4 of VGG19; VGG16 has no fourth one in a block, and its third takes that place.
    """
    if name == "lpips_vgg":
        return LPIPS_LAYERS
    last = "4" if network == "vgg19" else "3"
    shallow, middle, deep = "conv2_2", f"conv3_{last}", f"conv5_{last}"
    return {
        "vgg22": (shallow,),
        "vgg54": (deep,),
        "vgg_multi": (shallow, middle, deep),
    }[name]


def _distance(name: str, taps: Sequence[str], weights: VggWeights) -> Distance:
    return _lpips(weights) if name == "lpips_vgg" else _feature_mse(taps)


def _feature_mse(taps: Sequence[str]) -> Distance:
    """MSE between features, averaged over ``taps`` (Ledig et al. 2017, eq. 5)."""

    def distance(ours: Features, theirs: Features) -> Any:
        each = [ops.mean(ops.square(ours[tap] - theirs[tap]), axis=(1, 2, 3)) for tap in taps]
        return sum(each) / len(taps)

    return distance


def _lpips(weights: VggWeights) -> Distance:
    """LPIPS over VGG16 (Zhang et al. 2018, eq. 1), differentiable."""
    if len(weights.heads) != len(LPIPS_LAYERS):
        raise ModelError(f"{weights.origin}: has no LPIPS heads lin1..lin5, which lpips_vgg needs")

    def distance(ours: Features, theirs: Features) -> Any:
        total = 0.0
        for tap, head in zip(LPIPS_LAYERS, weights.heads, strict=True):
            difference = ops.square(_unit(ours[tap]) - _unit(theirs[tap]))
            total = total + ops.mean(ops.sum(difference * head, axis=-1), axis=(1, 2))
        return total

    return distance


def _unit(features: Any) -> Any:
    """Each pixel's feature vector at length one. The epsilon sits inside the root: outside it
    the gradient of a dark pixel, whose features are all zero, would be NaN."""
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-10)
