"""Generators: SRResNet (Ledig et al. 2017, figure 4) and its variants, by :class:`GeneratorConfig`.

``lr [N, H, W, C] in [0, 1]`` to ``sr [N, s*H, s*W, C] in [-1, 1]``, any H and W.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from srgan.network_config import GeneratorConfig
from srgan.networks.layers import BicubicUpsampling, PixelShuffle
from srgan.networks.norm import batch_norm


def build_generator(config: GeneratorConfig) -> keras.Model:
    """The network that ``config`` describes, with fresh weights.

    With ``base: none`` the output is a tanh, as in the paper. With ``base: bicubic`` it is the
    bicubic image plus a residual that starts at exactly zero, so step 0 is bicubic; it may leave
    [-1, 1] by a little and is clipped where pixels are made.
    """
    lr = keras.Input((None, None, config.channels), name="lr")
    first = _activation(config, "head_act")(_conv(config, config.outer_kernel, "head")(lr))
    x = first
    for index in range(config.blocks):
        x = _residual_block(x, config, f"block{index + 1}")
    x = _norm(config, "trunk_norm")(_conv(config, 3, "trunk", bias=config.norm == "none")(x))
    x = layers.Add(name="long_skip")([x, first])
    residual = _upsample_to_image(x, config)
    if config.base == "none":
        sr = layers.Activation("tanh", dtype="float32", name="sr")(residual)
    else:
        base = BicubicUpsampling(config.scale, name="bicubic")(lr)
        signed = layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="to_signed")(base)
        sr = layers.Add(dtype="float32", name="sr")([signed, residual])
    return keras.Model(lr, sr, name="generator")


def _residual_block(x: Any, config: GeneratorConfig, name: str) -> Any:
    bias = config.norm == "none"
    y = _norm(config, f"{name}_norm1")(_conv(config, 3, f"{name}_conv1", bias=bias)(x))
    y = _activation(config, f"{name}_act")(y)
    y = _norm(config, f"{name}_norm2")(_conv(config, 3, f"{name}_conv2", bias=bias)(y))
    if config.residual_scale != 1.0:
        y = layers.Rescaling(config.residual_scale, name=f"{name}_scale")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def _upsample_to_image(x: Any, config: GeneratorConfig) -> Any:
    """Features to an image of ``scale`` times the size, before any output activation."""
    if config.upsample == "shuffle":
        return _shuffle_to_image(x, config)
    for index in range(int(math.log2(config.scale))):
        x = _double(x, config, f"up{index + 1}")
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
        x = _conv(config, 3, f"{name}_conv")(x)
    else:
        x = layers.Conv2D(config.filters * 4, 3, padding="same", name=f"{name}_conv")(x)
        x = PixelShuffle(2, name=f"{name}_shuffle")(x)
    return _activation(config, f"{name}_act")(x)


def _conv(config: GeneratorConfig, kernel: int, name: str, *, bias: bool = True) -> layers.Layer:
    return layers.Conv2D(
        config.filters,
        kernel,
        padding="same",
        use_bias=bias,
        kernel_initializer="he_normal" if config.activation == "relu" else "glorot_uniform",
        name=name,
    )


def _image_conv(config: GeneratorConfig, channels: int, kernel: int) -> layers.Layer:
    start = "zeros" if config.base == "bicubic" else "glorot_uniform"
    return layers.Conv2D(
        channels,
        kernel,
        padding="same",
        kernel_initializer=start,
        # A finished image is the one place where bfloat16's 8 bits would show.
        dtype="float32" if config.upsample != "shuffle" else None,
        name="to_image",
    )


def _norm(config: GeneratorConfig, name: str) -> layers.Layer:
    return batch_norm(name) if config.norm == "batch" else layers.Identity(name=name)


def _activation(config: GeneratorConfig, name: str) -> layers.Layer:
    if config.activation == "prelu":
        # One slope a channel, for any image size.
        return layers.PReLU(shared_axes=[1, 2], name=name)
    return layers.ReLU(name=name)
