"""Grey generators and colour images: the network sees luma, colour is enlarged beside it."""

from __future__ import annotations

from typing import Any

from keras import ops

from srgan.networks.layers import bicubic

# BT.601 at full range, as in JPEG.
_WEIGHTS = (0.299, 0.587, 0.114)


def to_luma(rgb: Any) -> Any:
    """RGB [N, H, W, 3] to luma [N, H, W, 1] in the same range: grey stays what it is."""
    return ops.sum(rgb * ops.convert_to_tensor(_WEIGHTS, dtype=rgb.dtype), axis=-1, keepdims=True)


def for_channels(rgb: Any, channels: int) -> Any:
    """RGB images as a network of ``channels`` sees them: as they are, or their luma."""
    return to_luma(rgb) if channels == 1 else rgb


def upscale_rgb(generator: Any, lr: Any, scale: int) -> Any:
    """Any generator on colour images: ``lr`` RGB float32 in [0, 1] to SR RGB float32 in [-1, 1].

    A generator of one channel makes the luma; Cb and Cr are the bicubic image's. Each of R, G and
    B is luma plus a mixture of those two, so the new luma comes in as one difference added to all
    three. Values may leave the range by a little; clip where pixels are made.
    """
    if generator.input_shape[-1] != 1:
        return ops.cast(generator(lr, training=False), "float32")
    lr = ops.convert_to_tensor(lr, dtype="float32")
    enlarged = 2.0 * bicubic(lr, scale) - 1.0
    luma = ops.cast(generator(to_luma(lr), training=False), "float32")
    return enlarged + (luma - to_luma(enlarged))
