"""What is measured of an HR image: sharpness, contrast, a hash of its look. Pure functions.

All of it is integer arithmetic on Pillow's 8-bit luma (BT.601), so that figures and hashes are
equal on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.images import Pixels

HASH_BITS = 256
_BLOCK = 8
# Energy of white noise of one grey level in the upper octave and in the one below, times 32^2.
_NOISE = (420, 135)
# Of the calmest blocks, what noise of four grey levels could be is taken for noise.
_LARGEST_NOISE = 4**2
_HASH_SIDE = 32

_LEVELS = np.arange(256, dtype=np.int64)

_Integers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Measures:
    """What :func:`sharpness`, :func:`contrast` and :func:`perceptual_hash` say of an image."""

    sharpness: float
    contrast: float
    hash: bytes


def measure(hr: Pixels) -> Measures:
    """All measures of uint8 [H, W, 3] of at least 16 x 16, its luma made once."""
    luma = _luma(hr)
    return Measures(_sharpness(luma), _contrast(luma), _hash(luma))


def sharpness(hr: Pixels) -> float:
    """Detail in the highest octave over detail in the octave below, where there is detail.

    An image that was enlarged to its size, defocused or compressed to its blocks has little above
    half the Nyquist frequency, whatever its contrast; natural images, whose spectra fall as 1/f
    (Field 1987), have nearly as much in one octave as in the next. At 128 pixels, medians: photos
    shrunk to their size 0.6, crops of photos as they are 0.4 to 0.65; enlarged by 1.5 0.3, by 2
    0.23 (Lanczos) to 0.28 (bicubic), by 4 0.16; blurred by a Gaussian of 1 pixel 0.22, of 2 0.12;
    JPEG at quality 5 0.25, at 10 0.3. Enlarged by repeating pixels is not found.

    Both octaves are band-passes along rows and along columns. Three things keep what is not
    detail out of it: only the half of the 8 x 8 blocks with the most in the lower octave count;
    what the calmest fifth of them has, up to noise of four grey levels, is taken off as noise; and
    of the eight columns (rows) of the blocks the median counts, so that the edges of JPEG's
    blocks, wherever its grid lies, are none.

    Takes uint8 [H, W, 3] of at least 16 x 16; 0.0 where there is no detail at all.
    """
    return _sharpness(_luma(hr))


def contrast(hr: Pixels) -> float:
    """Standard deviation of luma in grey levels, of uint8 [H, W, 3].

    Faces have 17 to 90, blank paper and walls up to 3.
    """
    return _contrast(_luma(hr))


def perceptual_hash(hr: Pixels) -> bytes:
    """32 bytes that differ in few bits where two images look alike, of uint8 [H, W, 3].

    The signs of the 256 lowest frequencies, without the mean, of the cosine transform of a
    32 x 32 luma image (the pHash of Zauner 2010, with more bits and zero for its median). A
    photo recompressed or resized differs in 0 to 20 bits, with other brightness, gamma or a
    watermark in up to 30, cut by 1 % in up to 33; of other photos of aligned faces, one pair in a
    million differs in less than 60 and none in less than 45. Mirrored it is another image: see
    :func:`mirrored`.
    """
    return _hash(_luma(hr))


def _luma(hr: Pixels) -> Image.Image:
    return Image.fromarray(hr).convert("L")


def _sharpness(image: Image.Image) -> float:
    luma = np.asarray(image, np.int32)
    upper = lower = 0.0
    for lines in (luma, np.ascontiguousarray(luma.T)):
        high, middle = (_block_energies(band) for band in _octaves(lines))
        order = np.argsort(middle.sum(axis=1), kind="stable")
        detailed = order[len(order) // 2 :]
        calm = order[: max(1, len(order) // 5)]
        upper += _energy(high, detailed, calm, _NOISE[0])
        lower += _energy(middle, detailed, calm, _NOISE[1])
    # A quarter of a grey level squared is rounding, not detail.
    return math.sqrt(upper / (lower + 32**2 / 4))


def _contrast(luma: Image.Image) -> float:
    counts = np.array(luma.histogram(), np.int64)
    count, total, squares = (int(counts @ _LEVELS**power) for power in range(3))
    return math.sqrt(count * squares - total * total) / count


def _hash(luma: Image.Image) -> bytes:
    small = luma.resize((_HASH_SIDE,) * 2, Image.Resampling.BOX)
    cosines, rows, columns = _transform()
    # Integers below 2^53: float64 holds them exactly, in any order of summation.
    spectrum = cosines @ np.asarray(small, np.float64) @ cosines.T
    return np.packbits(spectrum[rows, columns] > 0).tobytes()


def mirrored(hashed: bytes) -> bytes:
    """The hash of the image with left and right exchanged: odd horizontal frequencies turn."""
    _, _, columns = _transform()
    odd = np.packbits(columns % 2 == 1)
    return (np.frombuffer(hashed, np.uint8) ^ odd).tobytes()


def _octaves(lines: _Integers) -> tuple[_Integers, _Integers]:
    """Highest octave along the rows and the one below, each 32 times as large."""
    width = lines.shape[1]
    # As far as the taps of both filters reach; by hand, since np.pad takes as long as a filter.
    ends = (np.repeat(lines[:, :1], 9, axis=1), np.repeat(lines[:, -1:], 9, axis=1))
    # 34 x 255 at most: half the memory to go through.
    low = _half_band(np.concatenate((ends[0], lines, ends[1]), axis=1, dtype=np.int16), 1)
    low = low.astype(np.int32)
    lower = _half_band(low, 2)
    low = low[:, 6 : 6 + width]
    return (lines << 5) - low, low - ((lower + 16) >> 5)


def _half_band(lines: _Integers, step: int) -> _Integers:
    """(-1 0 9 16 9 0 -1) along the rows, taps ``step`` apart: the lower half of the band, x32.

    Three steps on either side are lost.
    """
    width = lines.shape[1] - 6 * step

    def at(tap: int) -> _Integers:
        start = (3 + tap) * step
        return lines[:, start : start + width]

    low: _Integers = at(0) << 4
    low += 9 * (at(-1) + at(1))
    low -= at(-3)
    low -= at(3)
    return low


def _block_energies(band: _Integers) -> NDArray[np.int64]:
    """Squares summed over the rows of each 8 x 8 block, int64 [blocks, 8]."""
    height, width = (side // _BLOCK * _BLOCK for side in band.shape)
    top, left = ((side % _BLOCK) // 2 for side in band.shape)
    squares = np.square(band[top : top + height, left : left + width])
    columns = squares.reshape(height // _BLOCK, _BLOCK, width).sum(axis=1, dtype=np.int64)
    blocks: NDArray[np.int64] = columns.reshape(-1, _BLOCK)
    return blocks


def _energy(
    blocks: NDArray[np.int64], detailed: NDArray[np.intp], calm: NDArray[np.intp], noise: int
) -> float:
    """Mean square over ``detailed`` blocks less that of ``calm`` ones, times 32^2."""

    def mean(which: NDArray[np.intp]) -> float:
        columns = sorted(blocks[which].sum(axis=0).tolist())
        return float((columns[3] + columns[4]) / (2 * _BLOCK * len(which)))

    return max(0.0, mean(detailed) - min(mean(calm), _LARGEST_NOISE * noise))


@functools.cache
def _transform() -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Cosines x 1024, and vertical and horizontal frequency of every bit, lowest first."""
    side = range(_HASH_SIDE)
    frequencies = sorted(
        ((u, v) for u in side for v in side if u or v), key=lambda f: (f[0] ** 2 + f[1] ** 2, f)
    )[:HASH_BITS]
    rows, columns = np.array(frequencies).T
    wave = np.arange(rows.max() + 1)[:, None] * (2 * np.arange(_HASH_SIDE) + 1)
    return np.rint(1024 * np.cos(np.pi * wave / (2 * _HASH_SIDE))), rows, columns
