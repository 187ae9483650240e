"""How close a picture is to its original: pure NumPy functions with the protocol in the name.

All take uint8 RGB ``[H, W, 3]`` as a viewer gets it (clipped and rounded), first the original,
then the picture under test, and leave out a border of ``border`` pixels on every side; the
literature's border is the scale (Ledig et al. 2017, section 3.1). ``*_y`` look at the luma of
ITU-R BT.601 in studio range, 16 to 235, as MATLAB's ``rgb2ycbcr`` computes it, in float64 and not
rounded. Pictures of another shape or type raise a :class:`ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.images import Pixels

Floats = NDArray[np.float64]

# Identical pictures have no finite PSNR; the ceiling keeps the mean over a data set meaningful.
PSNR_CEILING = 100.0
SSIM_WINDOW = 11
# Distance of dlib's face descriptors below which two photos show one person.
SAME_PERSON = 0.6
_SSIM_SIGMA = 1.5
_DATA_RANGE = 255.0


@dataclass(frozen=True)
class Metric:
    """What a reader must know of a metric: its direction, its unit, how many digits say enough."""

    name: str
    title: str
    higher_is_better: bool
    unit: str
    digits: int
    protocol: str

    def gain(self, value: float, baseline: float) -> float:
        """How much better ``value`` is than ``baseline``; negative when it is worse."""
        return value - baseline if self.higher_is_better else baseline - value

    def show(self, value: float) -> str:
        """The value as text, with its unit."""
        return f"{value:.{self.digits}f}{' ' + self.unit if self.unit else ''}"


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "psnr_y",
            "Closeness in brightness",
            True,
            "dB",
            2,
            "Peak signal-to-noise ratio of BT.601 studio-range luma, uint8 pictures, a border of "
            "the scale cropped; the usual figure of the super-resolution literature.",
        ),
        Metric(
            "ssim_y",
            "Closeness in structure",
            True,
            "",
            4,
            "Structural similarity (Wang et al. 2004) of the same luma: Gaussian window of 11 "
            "pixels, sigma 1.5, K1 0.01, K2 0.03, the same border cropped; 1 is identical.",
        ),
        Metric(
            "psnr_rgb",
            "Closeness in colour",
            True,
            "dB",
            2,
            "Peak signal-to-noise ratio over all three channels, the same border cropped.",
        ),
        Metric(
            "lpips_alex",
            "Perceptual distance",
            False,
            "",
            4,
            "LPIPS v0.1 with AlexNet (Zhang et al. 2018) on the whole picture: 0 is identical; "
            "it follows what people call similar better than the pixel figures do.",
        ),
        Metric(
            "identity_distance",
            "Distance in identity",
            False,
            "",
            3,
            "Euclidean distance of dlib's 128 numbers of a face between picture and original, in "
            "the frame of the original's landmarks, mean over the originals that show a face: 0 "
            "is identical, under 0.6 the same person.",
        ),
        Metric(
            "identity_kept",
            "Faces still the same person",
            True,
            "",
            3,
            "Share of those faces with an identity_distance under 0.6.",
        ),
    )
}


def psnr_y(reference: Pixels, picture: Pixels, border: int) -> float:
    """Peak signal-to-noise ratio of the luma in dB, data range 255; at most 100 (identical)."""
    reference, picture = _inside(reference, picture, border, least=1)
    return _psnr(luma(reference), luma(picture))


def psnr_rgb(reference: Pixels, picture: Pixels, border: int) -> float:
    """Peak signal-to-noise ratio over all channels in dB, data range 255; at most 100."""
    reference, picture = _inside(reference, picture, border, least=1)
    return _psnr(reference.astype(np.float64), picture.astype(np.float64))


def ssim_y(reference: Pixels, picture: Pixels, border: int) -> float:
    """Mean structural similarity of the luma, at most 1 (Wang et al. 2004).

    Gaussian window of 11 x 11 pixels with sigma 1.5, only where it fits whole; K1 = 0.01,
    K2 = 0.03, L = 255, population (co)variances. Inside the border at least 11 x 11 pixels.
    """
    reference, picture = _inside(reference, picture, border, least=SSIM_WINDOW)
    x, y = luma(reference), luma(picture)
    mean_x, mean_y, xx, yy, xy = _gaussian(np.stack([x, y, x * x, y * y, x * y]))
    c1, c2 = (0.01 * _DATA_RANGE) ** 2, (0.03 * _DATA_RANGE) ** 2
    means = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    numerator = (2 * means + c1) * (2 * (xy - means) + c2)
    denominator = (squares + c1) * (xx + yy - squares + c2)
    return float(np.mean(numerator / denominator))


def luma(pixels: Pixels) -> Floats:
    """BT.601 luma in studio range, 16 to 235: uint8 RGB ``[..., 3]`` to float64 ``[...]``."""
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    return np.asarray(pixels.astype(np.float64) @ weights + 16.0)


def _psnr(reference: Floats, picture: Floats) -> float:
    error = float(np.mean(np.square(reference - picture)))
    if error == 0.0:
        return PSNR_CEILING
    return min(PSNR_CEILING, 10.0 * math.log10(_DATA_RANGE**2 / error))


def _gaussian(maps: Floats) -> Floats:
    """``[K, H, W]`` blurred where the whole window fits: ``[K, H - 10, W - 10]``."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    kernel = np.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    kernel /= kernel.sum()
    # The window is separable: 22 passes instead of 121.
    height, width = maps.shape[1] - SSIM_WINDOW + 1, maps.shape[2] - SSIM_WINDOW + 1
    rows: Floats = sum((k * maps[:, i : i + height] for i, k in enumerate(kernel)), _zero())
    return sum((k * rows[:, :, i : i + width] for i, k in enumerate(kernel)), _zero())


def _zero() -> Floats:
    return np.zeros((1, 1, 1))


def _inside(
    reference: Pixels, picture: Pixels, border: int, *, least: int
) -> tuple[Pixels, Pixels]:
    for name, pixels in (("reference", reference), ("picture", picture)):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"{name}: expected uint8 [H, W, 3], got {_describe(pixels)}")
    if reference.shape != picture.shape:
        raise ValueError(
            f"the original has {_size(reference)} pixels, the picture {_size(picture)}: "
            "only pictures of one size can be compared"
        )
    height, width = reference.shape[:2]
    if border < 0 or min(height, width) - 2 * border < least:
        raise ValueError(
            f"{_size(reference)} pixels with a border of {border}: "
            f"at least {least}x{least} must be left inside"
        )
    inner = slice(border, height - border), slice(border, width - border)
    return reference[inner], picture[inner]


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _describe(pixels: NDArray[Any]) -> str:
    return f"{pixels.dtype} {list(pixels.shape)}"
