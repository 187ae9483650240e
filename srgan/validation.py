"""A short measurement on the validation split while training, and the fixed examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan.config import RunConfig
from srgan.data import Pair, PairSource, batches_of_equal_shape
from srgan.errors import DatasetError, ModelError
from srgan.examples import choose_examples
from srgan.images import Pixels, to_uint8, to_unit
from srgan.lpips import load_lpips_alex
from srgan.metrics import psnr_y
from srgan.networks.luma import upscale_rgb
from srgan.records import Dataset
from srgan.runs import Stage
from srgan.workspace import Workspace

_EXAMPLES = 3
_BATCH = 16


@dataclass(frozen=True)
class Judge:
    """The figure that says which checkpoint of a stage is the best, and its direction."""

    metric: str
    higher_is_better: bool

    def better(self, value: float, best: float) -> bool:
        return value > best if self.higher_is_better else value < best


class Validator:
    """Measures a generator on the first images of the val split.

    Where that split is empty, the first training images serve as examples and nothing is
    measured; ``notes`` says so.
    """

    def __init__(
        self, config: RunConfig, datasets: Sequence[Dataset], workspace: Workspace
    ) -> None:
        cache: Path = workspace.cache / "shards"
        self.notes: list[str] = []
        self._border = config.generator.scale
        self._lpips = _lpips_where_at_hand()
        try:
            source = PairSource(datasets, "val", cache=cache)
            self._pairs = source.first(config.trainer.validate_images)
        except DatasetError:
            source = PairSource(datasets, "train", cache=cache)
            self._pairs = []
            self.notes.append("not validated while training: the val split is empty")
        self.examples: list[Pair] = choose_examples(source, _EXAMPLES)

    def measure(self, generator: Any) -> dict[str, float]:
        """Means over the images: ``psnr_y``, and ``lpips_alex`` where its weights are at hand."""
        figures: dict[str, list[float]] = {}
        for group in batches_of_equal_shape(self._pairs, _BATCH):
            srs = upscale_pairs(generator, group)
            hrs = np.stack([pair.hr for pair in group])
            for hr, sr in zip(hrs, srs, strict=True):
                figures.setdefault("psnr_y", []).append(psnr_y(hr, sr, self._border))
            if self._lpips is not None:
                figures.setdefault("lpips_alex", []).extend(map(float, self._lpips(hrs, srs)))
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def judge(self, stage: Stage) -> Judge | None:
        """PSNR for pre-training. A GAN trades PSNR for detail, so there it is LPIPS or nothing:
        by PSNR its best checkpoint would always be the first."""
        if not self._pairs:
            return None
        if stage == "pretrain":
            return Judge("psnr_y", higher_is_better=True)
        return Judge("lpips_alex", higher_is_better=False) if self._lpips is not None else None


def upscale_pairs(generator: Any, pairs: Sequence[Pair]) -> Pixels:
    """SR of pairs whose LR images have one shape: uint8 [N, H, W, 3]."""
    lr = np.stack([to_unit(pair.lr) for pair in pairs])
    scale = pairs[0].hr.shape[0] // pairs[0].lr.shape[0]
    signed = np.asarray(upscale_rgb(generator, lr, scale), dtype=np.float32)
    return to_uint8((signed + 1.0) * 0.5)


def _lpips_where_at_hand() -> Callable[[Pixels, Pixels], Any] | None:
    try:
        return load_lpips_alex()
    except ModelError:
        return None
