"""What generators are made of: convolutions, activations and residual blocks, by config."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from srgan.network_config import GeneratorConfig
from srgan.networks.layers import PReLU
from srgan.networks.norm import batch_norm

# Slope of LeakyReLU for negative values, in ESRGAN and in every discriminator here.
LEAK = 0.2
_CONVOLUTIONS_OF_A_DENSE_BLOCK = 5
_DENSE_BLOCKS = 3


def residual_block(x: Any, config: GeneratorConfig, name: str) -> Any:
    """Two convolutions beside a skip (Ledig et al. 2017, figure 4)."""
    y = activation(config, f"{name}_act")(conv_norm(x, config, f"{name}_conv1", f"{name}_norm1"))
    y = conv_norm(y, config, f"{name}_conv2", f"{name}_norm2")
    return _add_scaled(x, y, config.residual_scale, name)


def rrdb(x: Any, config: GeneratorConfig, name: str) -> Any:
    """Residual in residual dense block (Wang et al. 2018, figure 4)."""
    y = x
    for index in range(1, _DENSE_BLOCKS + 1):
        y = _dense_block(y, config, f"{name}_dense{index}")
    return _add_scaled(x, y, config.residual_scale, name)


def _dense_block(x: Any, config: GeneratorConfig, name: str) -> Any:
    """Each convolution sees the block's input and what all before it made of it."""
    features = [seen := x]
    for index in range(1, _CONVOLUTIONS_OF_A_DENSE_BLOCK):
        y = conv_norm(
            seen,
            config,
            f"{name}_conv{index}",
            f"{name}_norm{index}",
            width=config.growth,
            start=_small_start(),
        )
        features.append(activation(config, f"{name}_act{index}")(y))
        seen = layers.Concatenate(name=f"{name}_concat{index}")(features)
    last = _CONVOLUTIONS_OF_A_DENSE_BLOCK
    y = conv_norm(seen, config, f"{name}_conv{last}", f"{name}_norm{last}", start=_small_start())
    return _add_scaled(x, y, config.residual_scale, name)


def _add_scaled(x: Any, y: Any, scale: float, name: str) -> Any:
    if scale != 1.0:
        y = layers.Rescaling(scale, name=f"{name}_scale")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def conv_norm(
    x: Any,
    config: GeneratorConfig,
    name: str,
    norm_name: str,
    *,
    width: int | None = None,
    start: keras.initializers.Initializer | None = None,
) -> Any:
    """A 3x3 convolution and, where the config wants it, normalisation (then without a bias)."""
    normalised = config.norm == "batch"
    x = conv(config, 3, name, width=width, bias=not normalised, start=start)(x)
    return batch_norm(norm_name)(x) if normalised else x


def conv(
    config: GeneratorConfig,
    kernel: int,
    name: str,
    *,
    width: int | None = None,
    bias: bool = True,
    start: keras.initializers.Initializer | None = None,
) -> layers.Layer:
    """A convolution of the generator's width."""
    return layers.Conv2D(
        width or config.filters,
        kernel,
        padding="same",
        use_bias=bias,
        kernel_initializer=start or first_weights(config),
        name=name,
    )


def activation(config: GeneratorConfig, name: str) -> layers.Layer:
    """The config's activation."""
    if config.activation == "prelu":
        return PReLU(name=name)
    if config.activation == "lrelu":
        return layers.LeakyReLU(negative_slope=LEAK, name=name)
    return layers.ReLU(name=name)


def first_weights(config: GeneratorConfig) -> str | keras.initializers.Initializer:
    """How convolutions outside dense blocks start: for their activation (He et al. 2015).

    Around RRDBs they start smaller, as in ESRGAN's code: each RRDB begins as about 1.2 times its
    input (0.2 of its three dense blocks' sum, itself near the input), 66 times after 23 blocks.
    """
    if config.architecture == "rrdb":
        return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    return "he_normal" if config.activation in ("relu", "lrelu") else "glorot_uniform"


def _small_start() -> keras.initializers.Initializer:
    """He's normal start times 0.1: a deep residual network is then near the identity at first
    (Wang et al. 2018, section 3.1, "smaller initialization")."""
    return keras.initializers.VarianceScaling(
        scale=2.0 * 0.1**2, mode="fan_in", distribution="untruncated_normal"
    )
