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
from srgan.weights import find_weights, missing, read_weights

Network = Literal["vgg16", "vgg19"]
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

    ``caffe``: BGR in 0..255 minus the mean; ``torch``: RGB in 0..1, standardised. ``heads`` are
    LPIPS' channel weights of the five blocks, where the file has them.
    """

    network: Network
    convention: Literal["caffe", "torch"]
    kernels: Kernels
    heads: tuple[NDArray[np.float32], ...]
    origin: str

    @property
    def feature_scale(self) -> float:
        """Factor that brings feature MSE to the size of pixel MSE.

        1/12.75 for the features of 0..255 inputs (Ledig et al. 2017, section 3.2); standardised
        inputs give features about a sixtieth as large, which are near that size already.
        """
        return 1.0 / 12.75 if self.convention == "caffe" else 1.0


def layer_names(network: Network) -> list[str]:
    """``conv1_1`` … ``conv5_4`` in order."""
    return [
        f"conv{block}_{index}"
        for block, count in enumerate(CONVOLUTIONS[network], start=1)
        for index in range(1, count + 1)
    ]


def vgg_preprocess(signed: Any, convention: Literal["caffe", "torch"]) -> Any:
    """RGB [N, H, W, 3] in [-1, 1] to the input that the weights were trained for."""
    if convention == "caffe":
        bgr = ops.flip((signed + 1.0) * 127.5, axis=-1)
        return bgr - ops.convert_to_tensor([103.939, 116.779, 123.68], dtype=bgr.dtype)
    mean = ops.convert_to_tensor([0.485, 0.456, 0.406], dtype=signed.dtype)
    std = ops.convert_to_tensor([0.229, 0.224, 0.225], dtype=signed.dtype)
    return ((signed + 1.0) * 0.5 - mean) / std


def build_features(weights: VggWeights, taps: Sequence[str]) -> keras.Model:
    """Preprocessed images to the activations (after ReLU) of ``taps``; frozen.

    Raises :class:`ModelError` when the file does not reach to one of the layers.
    """
    names = layer_names(weights.network)
    last = max(names.index(tap) for tap in taps)
    missing = [name for name in names[: last + 1] if name not in weights.kernels]
    if missing:
        reach = [name for name in names if name in weights.kernels][-1]
        raise ModelError(
            f"{weights.origin}: has no {missing[0]}, which {taps[-1]} needs (it reaches to "
            f"{reach}); use a content loss of less depth, e.g. vgg22, or full weights"
        )
    image = x = keras.Input((None, None, 3), name="vgg_input")
    outputs: dict[str, Any] = {}
    for position, name in enumerate(names[: last + 1]):
        if position and name.endswith("_1"):
            x = layers.MaxPooling2D(2, name=f"pool{name[4]}")(x)
        filters = weights.kernels[name][0].shape[-1]
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        outputs[name] = x
    model = keras.Model(image, [outputs[tap] for tap in taps], name=weights.network)
    for name in names[: last + 1]:
        model.get_layer(name).set_weights(list(weights.kernels[name]))
    model.trainable = False
    return model


def load_vgg(network: Network, source: Literal["auto", "folder", "keras"]) -> VggWeights:
    """Weights of ``network``: from a known file, else from Keras' download.

    Raises :class:`ModelError` in one line when there are none.
    """
    file = {"vgg16": "vgg16_conv_lpips.npz", "vgg19": "vgg19_conv1_1_to_conv3_1_hwio.npz"}[network]
    path = find_weights(file) if source != "keras" else None
    if source == "auto" and network == "vgg19":
        # The known file is partial: Keras' weights come first where they can be had.
        try:
            return _from_keras(network)
        except ModelError:
            if path is None:
                raise
    if path is not None:
        return _from_file(network, path)
    if source == "folder":
        raise ModelError(missing(file))
    return _from_keras(network)


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
    convention: Literal["caffe", "torch"] = "torch" if network == "vgg16" else "caffe"
    return VggWeights(network, convention, kernels, heads, path.name)
