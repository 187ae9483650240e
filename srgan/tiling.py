"""Upscale an image of any size in tiles, without seams and in bounded memory.

Neighbouring tiles overlap. Near a cut a network lacks context, so the outer part of an overlap is
left out and the inner part fades linearly from one tile to the next: the weights of all tiles sum
to one everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import ModelError

Floats = NDArray[np.float32]
# float32 [N, H, W, 3] in [0, 1] to float32 [N, sH, sW, 3] in [0, 1].
UnitUpscaler = Callable[[Floats], Floats]
Span = tuple[int, int]

TILE = 192
OVERLAP = 32
_SMALLEST_TILE = 16
# Share of an overlap that fades; the rest, half of it on each side, is context that is left out.
_FADE = 0.25


class TiledUpscaler:
    """Upscales images tile by tile; a tile that does not fit into memory is halved, for good."""

    def __init__(
        self, upscale: UnitUpscaler, scale: int, *, tile: int = TILE, overlap: int = OVERLAP
    ) -> None:
        """``tile`` is the largest side and ``overlap`` the least overlap, both in LR pixels."""
        if tile < 2 * max(overlap, 1):
            raise ValueError(f"tile {tile} is less than twice the overlap {overlap}")
        self._upscale = upscale
        self._scale = scale
        self._tile = tile
        self._overlap = overlap

    @property
    def tile(self) -> int:
        """The largest side of a tile in LR pixels that is tried from now on."""
        return self._tile

    def strips(
        self, image: Floats, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Floats]:
        """Finished rows of the upscaled image, from the top, as float32 ``[h, sW, 3]``.

        ``image`` is float32 ``[H, W, 3]`` in [0, 1]. Beside the tiles no more than one row of
        them is held. ``progress`` is called with tiles done and in total. Raises
        :class:`ModelError` when not even the smallest tile fits into memory.
        """
        scale, (height, width) = self._scale, image.shape[:2]
        rows = spans(height, self._tile, self._overlap)
        columns = spans(width, self._tile, self._overlap)
        across = fades(columns, scale)
        down = fades(rows, scale)
        total, done = len(rows) * len(columns), 0
        side = (rows[0][1] - rows[0][0]) * scale
        open_rows = np.zeros((side, width * scale, 3), np.float32)
        for index, (top, bottom) in enumerate(rows):
            for column, (left, right) in enumerate(columns):
                tile = self._run(image[top:bottom, left:right])
                weight = down[index][:, None, None] * across[column][None, :, None]
                open_rows[:, left * scale : right * scale] += tile * weight
                done += 1
                if progress is not None:
                    progress(done, total)
            last = index + 1 == len(rows)
            finished = side if last else (rows[index + 1][0] - top) * scale
            yield open_rows[:finished].copy()
            open_rows = np.concatenate([open_rows[finished:], np.zeros_like(open_rows[:finished])])

    def __call__(self, image: Floats) -> Floats:
        """The whole upscaled image, float32 ``[sH, sW, 3]``."""
        return np.concatenate(list(self.strips(image)))

    def _run(self, tile: Floats) -> Floats:
        if max(tile.shape[:2]) > self._tile:
            # Memory ran out before: this tile was cut for a size that is not tried any more.
            return self(tile)
        try:
            return np.asarray(self._upscale(tile[None])[0])
        except Exception as error:
            if not _out_of_memory(error):
                raise
        side = min(self._tile, max(tile.shape[:2])) // 2
        if side < _SMALLEST_TILE:
            raise ModelError(
                f"not enough memory for a tile of {tile.shape[1]}x{tile.shape[0]} pixels; "
                "close other programs or use a smaller model"
            )
        self._tile = side
        self._overlap = min(self._overlap, side // 2)
        return self(tile)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """``[start, stop)`` of the tiles along an axis: as few as possible, equally long, evenly set.

    None is longer than ``tile``; neighbours overlap by at least ``overlap`` (a pixel less where
    the division leaves a rest).
    """
    if length <= tile:
        return [(0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    side = min(tile, -(-(length + (count - 1) * overlap) // count))
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    return [(start, start + side) for start in starts]


def fades(places: Sequence[Span], scale: int) -> list[Floats]:
    """The weight of every tile along an axis, for its ``scale`` times as many output pixels."""
    ramps = []
    for (_, stop), (start, _) in itertools.pairwise(places):
        overlap = stop - start
        centres = (np.arange(places[-1][1] * scale) + 0.5) / scale
        width = max(overlap * _FADE, 1.0 / scale)
        ramps.append(np.clip((centres - (start + stop) / 2) / width + 0.5, 0.0, 1.0))
    weights = []
    for index, (start, stop) in enumerate(places):
        weight: NDArray[Any] = np.ones((stop - start) * scale)
        part = slice(start * scale, stop * scale)
        if index > 0:
            weight = weight * ramps[index - 1][part]
        if index < len(ramps):
            weight = weight * (1.0 - ramps[index][part])
        weights.append(weight.astype(np.float32))
    return weights


def _out_of_memory(error: Exception) -> bool:
    # By name: TensorFlow is not imported for it.
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
