"""The discriminator of SRGAN (Ledig et al. 2017, figure 4): images in [-1, 1] to logits."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from srgan.network_config import DiscriminatorConfig
from srgan.networks.blocks import LEAK
from srgan.networks.norm import batch_norm
from srgan.networks.spectral import SpectralConv2D, SpectralDense

# (multiple of the first width, stride) of the seven normalised convolutions.
_CONVOLUTIONS = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))


def build_discriminator(config: DiscriminatorConfig, size: int, channels: int = 3) -> keras.Model:
    """Real (positive) or generated (negative) for HR crops of ``size`` pixels; logits [N, 1].

    ``head: pool`` takes any size; ``dense`` only the given one.
    """
    side = size if config.head == "dense" else None
    image = keras.Input((side, side, channels), name="image")
    x = _conv(config, config.filters, name="conv0")(image)
    x = layers.LeakyReLU(negative_slope=LEAK, name="act0")(x)
    for index, (multiple, stride) in enumerate(_CONVOLUTIONS, start=1):
        x = _block(x, config, config.filters * multiple, stride, index)
    if config.head == "dense":
        x = layers.Flatten(name="flatten")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = _dense(config, 16 * config.filters, name="dense")(x)
    x = layers.LeakyReLU(negative_slope=LEAK, name="dense_act")(x)
    logits = _dense(config, 1, name="logits", dtype="float32")(x)
    return keras.Model(image, logits, name="discriminator")


def _block(x: Any, config: DiscriminatorConfig, filters: int, stride: int, index: int) -> Any:
    normalised = config.norm == "batch"
    x = _conv(config, filters, strides=stride, use_bias=not normalised, name=f"conv{index}")(x)
    if normalised:
        x = batch_norm(f"norm{index}")(x)
    return layers.LeakyReLU(negative_slope=LEAK, name=f"act{index}")(x)


def _conv(config: DiscriminatorConfig, filters: int, **options: Any) -> layers.Layer:
    kind = SpectralConv2D if config.spectral else layers.Conv2D
    return kind(filters, 3, padding="same", **options)


def _dense(config: DiscriminatorConfig, units: int, **options: Any) -> layers.Layer:
    return (SpectralDense if config.spectral else layers.Dense)(units, **options)
