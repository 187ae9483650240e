"""HR to LR."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.dataset_config import DatasetConfig, ToneConfig
from srgan.images import Pixels, to_uint8
from srgan.realistic import degrade_realistically


def degrade(hr: Pixels, config: DatasetConfig, key: str) -> Pixels:
    """The LR image of an HR one: uint8 [H, W, 3] to uint8 [H/scale, W/scale, 3].

    ``config.degradation`` decides how. What is drawn is drawn from ``key``, the record's: the same
    record is degraded in the same way in every build.

    Raises :class:`ValueError` for sides that are no multiple of ``scale``, and for ``paired``,
    whose LR images come from files.
    """
    scale = config.scale
    if hr.shape[0] % scale or hr.shape[1] % scale:
        raise ValueError(f"HR of {hr.shape[1]}x{hr.shape[0]} is no multiple of scale {scale}")
    if config.degradation == "bicubic":
        return bicubic(hr, scale)
    if config.degradation == "area":
        return area(hr, scale)
    if config.degradation == "tone":
        return toned(bicubic(hr, scale), config.tone, _generator("tone", key))
    if config.degradation == "realistic":
        return degrade_realistically(hr, scale, config.realistic, _generator("realistic", key))
    raise ValueError(f"degradation {config.degradation} makes no LR image")


def bicubic(hr: Pixels, scale: int) -> Pixels:
    """The antialiased bicubic of the super-resolution literature, MATLAB's imresize.

    The x4 LR images of Set5 and Set14 come out to the last bit.
    """
    # MATLAB repeats the border, where Pillow would cut the kernel off, and shrinks along the
    # columns first, rounding in between, where Pillow would begin with the rows.
    margin = 2 * scale
    extended = np.pad(hr, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    turned = Image.fromarray(extended).transpose(Image.Transpose.TRANSPOSE)
    size = (turned.width // scale, turned.height // scale)
    lr = turned.resize(size, Image.Resampling.BICUBIC).transpose(Image.Transpose.TRANSPOSE)
    return np.asarray(lr.crop((2, 2, lr.width - 2, lr.height - 2)))


def area(hr: Pixels, scale: int) -> Pixels:
    """The mean of each ``scale`` x ``scale`` square, halves rounded up: a sensor's large pixels."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    squares = hr.reshape(height, scale, width, scale, 3)
    sums = squares.sum(axis=(1, 3), dtype=np.uint32)
    means: Pixels = ((2 * sums + scale**2) // (2 * scale**2)).astype(np.uint8)
    return means


def toned(pixels: Pixels, config: ToneConfig, rng: np.random.Generator) -> Pixels:
    """The same picture, uint8 [H, W, 3], with exposure, white balance and contrast drawn anew.

    Exposure and white balance act on linear light (IEC 61966-2-1), as in the camera; contrast on
    sRGB values about 0.5, as in its processor. What leaves [0, 1] at the end is clipped.
    """
    exposure, warmth, contrast = (
        rng.uniform(*ends) for ends in (config.exposure, config.warmth, config.contrast)
    )
    stops = exposure + warmth * np.array([0.5, 0.0, -0.5])
    light = _to_linear(np.arange(256) / 255.0)[:, None] * 2.0**stops
    coded = 0.5 + contrast * (_to_coded(light) - 0.5)
    table = to_uint8(coded)
    return table[pixels, np.arange(3)]


def _generator(what: str, key: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{what}\0{key}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def _to_linear(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def _to_coded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
