"""HR to LR."""

from __future__ import annotations

from srgan.config import DatasetConfig
from srgan.images import Pixels, resize


def degrade(hr: Pixels, config: DatasetConfig) -> Pixels:
    """The LR image of an HR one: uint8 [H, W, 3] to uint8 [H/scale, W/scale, 3].

    ``bicubic`` is the antialiased bicubic of the super-resolution literature (MATLAB's imresize).
    """
    height, width = hr.shape[:2]
    return resize(hr, width // config.scale, height // config.scale)
