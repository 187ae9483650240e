"""Blur kernels of Real-ESRGAN (Wang et al. 2021, section 3.1), and the convolution with them."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from srgan.dataset_config import Range, RealisticConfig, RoundConfig

Kernel = NDArray[np.float64]  # [side, side], side odd, sum 1
Planes = NDArray[np.float32]  # [3, H, W]


def draw_blur(rng: np.random.Generator, config: RealisticConfig, stage: RoundConfig) -> Kernel:
    """The kernel of one round: a sinc, or a Gaussian of one of six shapes."""
    side = draw_side(rng, config)
    if rng.random() < stage.sinc:
        # Real-ESRGAN's: a large kernel may cut off more.
        return sinc(side, rng.uniform(np.pi / (3 if side < 13 else 5), np.pi))
    names, shares = zip(*config.kernels, strict=True)
    shape = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
    sigma = rng.uniform(*stage.sigma), rng.uniform(*stage.sigma)
    angle = rng.uniform(-np.pi, np.pi)
    if "anisotropic" not in shape:
        sigma, angle = (sigma[0], sigma[0]), 0.0
    if "generalized" in shape:
        return gaussian(side, sigma, angle, _draw_beta(rng, config.generalized_beta))
    if "plateau" in shape:
        return plateau(side, sigma, angle, _draw_beta(rng, config.plateau_beta))
    return gaussian(side, sigma, angle)


def draw_side(rng: np.random.Generator, config: RealisticConfig) -> int:
    """An odd side within ``kernel_size``."""
    low, high = config.kernel_size
    sides = [side for side in range(low, high + 1) if side % 2] or [low + 1]
    return sides[rng.integers(len(sides))]


def gaussian(side: int, sigma: Range, angle: float, beta: float = 1.0) -> Kernel:
    """exp(-d^beta / 2) with the squared Mahalanobis distance d; beta 1 is the Gaussian."""
    return _normalised(np.exp(-0.5 * _distance(side, sigma, angle) ** beta))


def plateau(side: int, sigma: Range, angle: float, beta: float) -> Kernel:
    """1 / (1 + d^beta): flat in the middle, heavy at its foot."""
    return _normalised(1.0 / (1.0 + _distance(side, sigma, angle) ** beta))


def sinc(side: int, cutoff: float) -> Kernel:
    """Ideal circular low-pass, cut off at ``side``: cutoff J1(cutoff r) / (2 pi r).

    ``cutoff`` in radians a pixel, up to pi. Edges ring with it, as in over-sharpened photos.
    """
    half = np.arange(side // 2 + 1)
    radius = np.hypot(half[:, None], half[None])
    radius[0, 0] = 1.0
    quarter = cutoff * _bessel_j1(cutoff * radius) / (2 * np.pi * radius)
    quarter[0, 0] = cutoff**2 / (4 * np.pi)
    rows = np.concatenate((quarter[:0:-1], quarter))
    return _normalised(np.concatenate((rows[:, :0:-1], rows), axis=1))


def convolve(planes: Planes, kernel: Kernel) -> Planes:
    """Every plane with the kernel; the border is mirrored."""
    margin = len(kernel) // 2
    # Processors multiply complex numbers with roundings of their own. In double precision, which
    # takes no longer, these never reach the grey levels.
    padded = np.pad(
        planes.astype(np.float64), ((0, 0), (margin, margin), (margin, margin)), mode="symmetric"
    )
    height, width = (_fast_length(side) for side in padded.shape[1:])
    spectrum = np.fft.rfft2(padded, s=(height, width))
    spectrum *= np.fft.rfft2(kernel, s=(height, width))
    blurred = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    top = 2 * margin
    return blurred[:, top : top + planes.shape[1], top : top + planes.shape[2]]


def _draw_beta(rng: np.random.Generator, ends: Range) -> float:
    """Below 1 as often as above, where the range has both."""
    low, high = ends
    if not low < 1 < high:
        return rng.uniform(low, high)
    return rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)


def _distance(side: int, sigma: Range, angle: float) -> NDArray[np.float64]:
    axis = np.arange(side) - side // 2
    x, y = axis[None], axis[:, None]
    along = (np.cos(angle) * x + np.sin(angle) * y) / sigma[0]
    across = (np.cos(angle) * y - np.sin(angle) * x) / sigma[1]
    squared: NDArray[np.float64] = along**2 + across**2
    return squared


def _normalised(kernel: NDArray[np.float64]) -> Kernel:
    normalised: Kernel = kernel / kernel.sum()
    return normalised


def _bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bessel's integral by the midpoint rule, exact to rounding for x up to 200.

    A kernel of 41 pixels reaches 91.
    """
    angles = (np.arange(128) + 0.5) * (np.pi / 128)
    values: NDArray[np.float64] = np.cos(angles - x[..., None] * np.sin(angles)).mean(axis=-1)
    return values


@functools.cache
def _fast_length(length: int) -> int:
    """The next product of 2, 3 and 5, which the Fourier transform is fast with."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
