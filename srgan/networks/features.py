"""VGG feature extractors for perceptual losses, with weights from Keras or from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from srgan.errors import ModelError
from srgan.networks.winograd import FrozenConv2D
from srgan.weights import find_weights, missing, read_weights

Network = Literal["vgg16", "vgg19"]
Convention = Literal["caffe", "torch"]
Kernels = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

# Convolutions in each of the five blocks; a 2x2 max pooling follows each block.
CONVOLUTIONS: Mapping[Network, tuple[int, ...]] = {
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
# LPIPS compares the last activation of each block of VGG16 (Zhang et al. 2018).
LPIPS_LAYERS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")


@dataclass(frozen=True)
class VggWeights:
    """Convolutions of a VGG, by name, with the input that they were trained for.

    ``convention`` is explained by :func:`scaled_features`. ``heads`` are LPIPS' channel weights of
    the five blocks, where the file has them.
    """

    network: Network
    convention: Convention
    kernels: Kernels
    heads: tuple[NDArray[np.float32], ...]
    origin: str


def layer_names(network: Network) -> list[str]:
    """``conv1_1`` … ``conv5_4`` in order."""
    return [
        f"conv{block}_{index}"
        for block, count in enumerate(CONVOLUTIONS[network], start=1)
        for index in range(1, count + 1)
    ]


def scaled_features(network: keras.Model, convention: Convention, signed: Any) -> list[Any]:
    """Features as the losses compare them: one float32 [N, h, w, C] for each tap of ``network``.

    Input: ``signed`` [N, H, W, 3] RGB in [-1, 1], or [N, H, W, 1], repeated for the three colours.
    It becomes what the weights were trained for:

    * ``caffe`` (Keras, Oxford): BGR in 0..255 minus (103.939, 116.779, 123.68);
    * ``torch`` (torchvision, LPIPS): RGB in 0..1 minus (0.485, 0.456, 0.406), over
      (0.229, 0.224, 0.225).

    Scale: features (after ReLU) of ``caffe`` weights are multiplied by 1/12.75, which brings their
    MSE to the size of a pixel MSE (Ledig et al. 2017, section 3.2). Those of ``torch`` weights stay
    as they are: standardised inputs are about a sixtieth as large, and their features with them.
    """
    if signed.shape[-1] == 1:
        signed = ops.repeat(signed, 3, axis=-1)
    if convention == "caffe":
        ready = ops.flip((signed + 1.0) * 127.5, axis=-1)
        ready = ready - ops.convert_to_tensor([103.939, 116.779, 123.68], dtype=ready.dtype)
        scale = 1.0 / 12.75
    else:
        mean = ops.convert_to_tensor([0.485, 0.456, 0.406], dtype=signed.dtype)
        std = ops.convert_to_tensor([0.229, 0.224, 0.225], dtype=signed.dtype)
        ready = ((signed + 1.0) * 0.5 - mean) / std
        scale = 1.0
    outputs = network(ready, training=False)
    # A model with one output answers with a tensor, not a list.
    taps = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [ops.cast(features, "float32") * scale for features in taps]


def required_layers(weights: VggWeights, taps: Sequence[str]) -> list[str]:
    """The layers up to the deepest of ``taps``; :class:`ModelError` when one has no weights."""
    names = layer_names(weights.network)
    needed = names[: max(names.index(tap) for tap in taps) + 1]
    lacking = [name for name in needed if name not in weights.kernels]
    if lacking:
        reach = [name for name in names if name in weights.kernels][-1]
        raise ModelError(
            f"{weights.origin}: has no {lacking[0]}, which {needed[-1]} needs (it reaches to "
            f"{reach}); use a content loss of less depth, e.g. vgg22, or full weights"
        )
    return needed


def build_features(weights: VggWeights, taps: Sequence[str]) -> keras.Model:
    """Preprocessed images to the activations (after ReLU) of ``taps``; frozen.

    Computes in the type of the Keras policy, which is asked when this is called, but for the first
    convolution: rounded to bfloat16, an image loses just the small differences between SR and HR.
    In float32 it costs nothing that can be measured, and the error of a loss' gradient on faces
    falls from 26-32 % to 10-15 % of its length (cosine 0.95-0.97 to 0.989-0.995).

    Raises :class:`ModelError` when the weights do not reach to one of the layers.
    """
    names = required_layers(weights, taps)
    image = x = keras.Input((None, None, 3), name="vgg_input")
    outputs: dict[str, Any] = {}
    for position, name in enumerate(names):
        if position and name.endswith("_1"):
            x = layers.MaxPooling2D(2, name=f"pool{name[4]}")(x)
        filters = weights.kernels[name][0].shape[-1]
        x = FrozenConv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            dtype=None if position else "float32",
            name=name,
        )(x)
        outputs[name] = x
    model = keras.Model(image, [outputs[tap] for tap in taps], name=weights.network)
    for name in names:
        model.get_layer(name).freeze(*weights.kernels[name])
    model.trainable = False
    return model


def load_vgg(
    network: Network, source: Literal["auto", "folder", "keras"], depth: str = "conv1_1"
) -> VggWeights:
    """Weights of ``network``: from a known file that reaches to ``depth``, else Keras' download.

    Raises :class:`ModelError` in one line when there are none. With ``folder`` the file is the
    answer whatever its depth; :func:`required_layers` says what it lacks.
    """
    file = {"vgg16": "vgg16_conv_lpips.npz", "vgg19": "vgg19_conv1_1_to_conv3_1_hwio.npz"}[network]
    path = find_weights(file) if source != "keras" else None
    if path is None and source == "folder":
        raise ModelError(missing(file))
    if path is None:
        return _from_keras(network)
    weights = _from_file(network, path)
    if source == "folder" or depth in weights.kernels:
        return weights
    try:
        return _from_keras(network)
    except ModelError as error:
        reach = list(weights.kernels)[-1]
        raise ModelError(
            f"{path.name} reaches to {reach} only, not to {depth}, and {error}"
        ) from None


def _from_keras(network: Network) -> VggWeights:
    application = keras.applications.VGG16 if network == "vgg16" else keras.applications.VGG19
    try:
        model = application(weights="imagenet", include_top=False)
    except Exception as error:  # whatever the download raises: URLError, timeout, bad hash
        reason = " ".join(str(error).split())[:120]
        raise ModelError(
            f"{network}: weights cannot be downloaded ({reason}); set SRGAN_WEIGHTS to a folder "
            "that has them, or train with pixel losses (content: {l1: 1.0})"
        ) from None
    kernels = {}
    for name in layer_names(network):
        kernel, bias = model.get_layer(f"block{name[4]}_conv{name[6]}").get_weights()
        kernels[name] = (kernel, bias)
    return VggWeights(network, "caffe", kernels, (), f"Keras' {network}")


def _from_file(network: Network, path: Path) -> VggWeights:
    file = read_weights(path)
    kernel, bias = ("/kernel", "/bias") if network == "vgg16" else ("_W", "_b")
    kernels = {
        name: (file[name + kernel], file[name + bias])
        for name in layer_names(network)
        if name + kernel in file
    }
    heads = tuple(file[f"lin{i}"].reshape(-1) for i in range(1, 6) if f"lin{i}" in file)
    convention: Convention = "torch" if network == "vgg16" else "caffe"
    return VggWeights(network, convention, kernels, heads, path.name)
