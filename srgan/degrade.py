"""HR to LR."""

from __future__ import annotations

import numpy as np

from srgan.dataset_config import DatasetConfig
from srgan.images import Pixels, resize


def degrade(hr: Pixels, config: DatasetConfig) -> Pixels:
    """The LR image of an HR one: uint8 [H, W, 3] to uint8 [H/scale, W/scale, 3].

    ``bicubic`` is the antialiased bicubic of the super-resolution literature, MATLAB's imresize:
    the x4 LR images of Set5 and Set14 come out to the last bit.
    """
    scale = config.scale
    # MATLAB repeats the border, where Pillow would cut the kernel off, and shrinks along the
    # columns first, rounding in between, where Pillow would begin with the rows.
    margin = 2 * scale
    extended = np.pad(hr, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    height, width = extended.shape[:2]
    turned = np.ascontiguousarray(extended.swapaxes(0, 1))
    lr = resize(turned, height // scale, width // scale).swapaxes(0, 1)
    return np.ascontiguousarray(lr[2:-2, 2:-2])
