"""Which faces the animation and the samples show: sharp ones, and not three of a kind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.images import Pixels
from srgan.quality import measure

if TYPE_CHECKING:
    from srgan.data import Pair, PairSource

Floats = NDArray[np.float64]

# Decoding and measuring so many takes a second; so many of them are sharp enough to be shown.
_CANDIDATES, _SHARPEST = 160, 24
_THUMBNAIL = 16
_SMALLEST = 16
# Faces have a contrast of at least 17 grey levels; a picture in fog shows nothing.
_LEAST_CONTRAST = 25.0


def choose_examples(source: PairSource, count: int) -> list[Pair]:
    """``count`` of the first records: sharp, seen plainly, and unlike each other.

    Of the sharpest ones the third is looked at that is most like the mean of all records in its
    light and dark places (no profile, no hand before a face); of it those are taken of which no
    two are alike in colour. The same records give the same examples.
    """
    pairs = source.first(_CANDIDATES)
    looks = np.stack([_look(pair.hr) for pair in pairs])
    plain = _likeness(looks)
    sharp = _sharpest([pair.hr for pair in pairs])
    # Two crops of one photo would be one face twice.
    sharp = list({pairs[index].source: index for index in reversed(sharp)}.values())[::-1]
    wanted = max(count, len(sharp) // 3)
    kept = sorted(sharp, key=lambda index: -plain[index])[:wanted]
    if len(kept) < count:
        kept += [index for index in range(len(pairs)) if index not in kept]
        return [pairs[index] for index in kept[:count]]
    best = max(
        itertools.combinations(sorted(kept), count),
        key=lambda chosen: min(
            (_apart(looks[one], looks[other]) for one, other in itertools.combinations(chosen, 2)),
            default=0.0,
        ),
    )
    return [pairs[index] for index in best]


def _likeness(looks: Floats) -> Floats:
    """Correlation of each picture's light and dark with that of the mean picture."""
    luma = looks.mean(axis=3).reshape(len(looks), -1)
    luma -= luma.mean(axis=1, keepdims=True)
    luma /= np.linalg.norm(luma, axis=1, keepdims=True) + 1e-9
    return np.asarray(luma @ luma.mean(axis=0))


def _apart(one: Floats, other: Floats) -> float:
    return float(np.linalg.norm(one - other))


def _sharpest(pictures: Sequence[Pixels]) -> list[int]:
    """Indices of the sharpest pictures with contrast, the sharpest first."""
    ranked: list[tuple[float, int]] = []
    for index, hr in enumerate(pictures):
        if min(hr.shape[:2]) < _SMALLEST:
            continue
        found = measure(hr)
        ranked.append((found.sharpness * (found.contrast >= _LEAST_CONTRAST), index))
    ranked.sort(key=lambda entry: (-entry[0], entry[1]))
    share = max(3, len(pictures) // 4)
    return [index for _, index in ranked[: min(share, _SHARPEST)]]


def _look(hr: Pixels) -> Floats:
    """The middle, where the face is, as a small picture."""
    height, width = hr.shape[:2]
    box = (width // 8, height // 8, width - width // 8, height - height // 8)
    small = Image.fromarray(hr).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX, box)
    return np.asarray(small, np.float64)
