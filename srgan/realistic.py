"""HR to LR as photos really lose their quality: the second-order model of Real-ESRGAN.

Wang, Xie, Dong, Shan: Real-ESRGAN (2021), section 3: blur, resize, noise and JPEG, and all of it
once more, as a picture that was taken, shrunk, sent and saved again has been through. Other than
there, resizes are antialiased, as those of image programs are.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from srgan import blur
from srgan.blur import Planes
from srgan.dataset_config import RealisticConfig, RoundConfig
from srgan.images import Pixels

_KERNELS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]


def degrade_realistically(
    hr: Pixels, scale: int, config: RealisticConfig, rng: np.random.Generator
) -> Pixels:
    """LR uint8 [H/scale, W/scale, 3] of HR uint8 [H, W, 3]; all that is random comes from ``rng``.

    Colours do not shift on average.
    """
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    image = Image.fromarray(hr)
    image = _blurred(image, config, config.first, rng)
    image = _resized(image, hr.shape[1], hr.shape[0], config.first, rng)
    image = _jpeg(_noisy(image, config.first, rng), config.first, rng)
    image = _blurred(image, config, config.second, rng)
    image = _resized(image, width, height, config.second, rng)
    image = _noisy(image, config.second, rng)
    if rng.random() < 0.5:
        image = _jpeg(_finished(image, width, height, config, rng), config.second, rng)
    else:
        image = _finished(_jpeg(image, config.second, rng), width, height, config, rng)
    return np.asarray(image)


def _blurred(
    image: Image.Image, config: RealisticConfig, stage: RoundConfig, rng: np.random.Generator
) -> Image.Image:
    if rng.random() >= stage.blur:
        return image
    kernel = blur.draw_blur(rng, config, stage)
    return _image(blur.convolve(_planes(image), kernel))


def _resized(
    image: Image.Image, width: int, height: int, stage: RoundConfig, rng: np.random.Generator
) -> Image.Image:
    """Drawn around ``width`` and ``height``, which is the size that is kept otherwise."""
    draw = rng.random()
    low, high = stage.resize
    if draw < stage.enlarge:
        factor = rng.uniform(max(1.0, low), high)
    elif draw < stage.enlarge + stage.shrink:
        factor = rng.uniform(low, min(1.0, high))
    else:
        factor = 1.0
    return _resize(image, round(width * factor), round(height * factor), rng)


def _noisy(image: Image.Image, stage: RoundConfig, rng: np.random.Generator) -> Image.Image:
    planes = _planes(image)
    if rng.random() < stage.gaussian:
        sigma, grey = rng.uniform(*stage.noise), rng.random() < stage.grey
        shape = planes.shape[1:] if grey else planes.shape
        return _image(planes + np.float32(sigma) * rng.standard_normal(shape, np.float32))
    # Photons: the variance is the level itself.
    strength, grey = rng.uniform(*stage.poisson), rng.random() < stage.grey
    # No matrix product: its roundings are the processor's.
    light: Planes = (_LUMA * planes).sum(axis=0) if grey else planes
    noise = rng.poisson(light).astype(np.float32) - light
    return _image(planes + np.float32(strength) * noise)


def _jpeg(image: Image.Image, stage: RoundConfig, rng: np.random.Generator) -> Image.Image:
    low, high = stage.jpeg
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(low, high + 1)))
    return Image.open(buffer).convert("RGB")


def _finished(
    image: Image.Image,
    width: int,
    height: int,
    config: RealisticConfig,
    rng: np.random.Generator,
) -> Image.Image:
    image = _resize(image, width, height, rng)
    if rng.random() >= config.final_sinc:
        return image
    kernel = blur.sinc(blur.draw_side(rng, config), np.pi * rng.uniform(*config.final_cutoff))
    return _image(blur.convolve(_planes(image), kernel))


def _resize(image: Image.Image, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    kernel = _KERNELS[rng.integers(len(_KERNELS))]
    return image.resize((max(1, width), max(1, height)), kernel)


def _planes(image: Image.Image) -> Planes:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1), np.float32)


def _image(planes: Planes) -> Image.Image:
    levels = np.rint(np.clip(planes, 0, 255)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
