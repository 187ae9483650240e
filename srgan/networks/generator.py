"""Generators: SRResNet (Ledig et al. 2017), ESRGAN's RRDBNet (Wang et al. 2018) and variants.

``lr [N, H, W, C] in [0, 1]`` to ``sr [N, s*H, s*W, C] in [-1, 1]``, any H and W.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from srgan.network_config import GeneratorConfig
from srgan.networks.blocks import (
    activation,
    conv,
    conv_norm,
    first_weights,
    residual_block,
    rrdb,
)
from srgan.networks.layers import BicubicUpsampling, ImageConv2D, PixelShuffle


def build_generator(config: GeneratorConfig) -> keras.Model:
    """The network that ``config`` describes, with fresh weights.

    With ``base: none`` the output is a tanh, as in SRGAN's paper, but linear for ``rrdb``, as in
    ESRGAN's. With ``base: bicubic`` it is the bicubic image plus a residual that starts at exactly
    zero, so step 0 is bicubic. Linear outputs may leave [-1, 1] by a little and are clipped where
    pixels are made.
    """
    lr = keras.Input((None, None, config.channels), name="lr")
    first = conv(config, config.outer_kernel, "head")(lr)
    if config.architecture != "rrdb":
        first = activation(config, "head_act")(first)
    x = first
    block = rrdb if config.architecture == "rrdb" else residual_block
    for index in range(config.blocks):
        x = block(x, config, f"block{index + 1}")
    x = conv_norm(x, config, "trunk", "trunk_norm")
    x = layers.Add(name="long_skip")([x, first])
    image = _upsample_to_image(x, config)
    if config.base == "bicubic":
        base = BicubicUpsampling(config.scale, name="bicubic")(lr)
        signed = layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="to_signed")(base)
        sr = layers.Add(dtype="float32", name="sr")([signed, image])
    else:
        output = "linear" if config.architecture == "rrdb" else "tanh"
        sr = layers.Activation(output, dtype="float32", name="sr")(image)
    return keras.Model(lr, sr, name="generator")


def _upsample_to_image(x: Any, config: GeneratorConfig) -> Any:
    """Features to an image of ``scale`` times the size, before any output activation."""
    if config.upsample == "shuffle":
        return _shuffle_to_image(x, config)
    for index in range(int(math.log2(config.scale))):
        x = _double(x, config, f"up{index + 1}")
    if config.architecture == "rrdb":
        x = activation(config, "hr_act")(conv(config, 3, "hr_conv")(x))
    return _image_conv(config, config.channels, config.outer_kernel)(x)


def _shuffle_to_image(x: Any, config: GeneratorConfig) -> Any:
    """One sub-pixel convolution at LR size (Shi et al. 2016): a tenth of the cost of doubling."""
    x = _image_conv(config, config.channels * config.scale**2, 3)(x)
    return PixelShuffle(config.scale, dtype="float32", name="shuffle")(x)


def _double(x: Any, config: GeneratorConfig, name: str) -> Any:
    if config.upsample == "transpose":
        # A kernel of twice the stride covers every pixel equally often; 3 would draw a
        # checkerboard (Odena et al. 2016).
        x = layers.Conv2DTranspose(
            config.filters, 4, strides=2, padding="same", name=f"{name}_transpose"
        )(x)
    elif config.upsample == "resize":
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_nearest")(x)
        x = conv(config, 3, f"{name}_conv")(x)
    else:
        x = layers.Conv2D(config.filters * 4, 3, padding="same", name=f"{name}_conv")(x)
        x = PixelShuffle(2, name=f"{name}_shuffle")(x)
    return activation(config, f"{name}_act")(x)


def _image_conv(config: GeneratorConfig, channels: int, kernel: int) -> layers.Layer:
    over_bicubic = config.base == "bicubic"
    # A finished image is the one place where bfloat16's 8 bits would show; a residual, rounded
    # relative to its own small size, may stay in the compute type where that is much cheaper.
    cheap = over_bicubic and config.upsample == "shuffle"
    small = first_weights(config) if config.architecture == "rrdb" else "glorot_uniform"
    return ImageConv2D(
        channels,
        kernel,
        padding="same",
        kernel_initializer="zeros" if over_bicubic else small,
        dtype=None if cheap else "float32",
        name="to_image",
    )
