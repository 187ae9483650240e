"""What a loss says about the run: that it must go back, or that its discriminator is of no use.

Pure figures in, verdicts out; the loop acts on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from pydantic import BaseModel, ConfigDict

from srgan.training_config import GuardConfig, StageConfig

_WINDOW = 100
# Both terms of a discriminator that is right about every image (it is 99.5 % sure of each).
_CERTAIN = 0.01
# So little below the loss of a coin is not better than a coin.
_NO_BETTER = 0.01
# Below it a content loss is rounding, and a multiple of it no explosion.
_ROUNDING = 1e-6


class GuardMemory(BaseModel):
    """What the guard remembers of a stage; in the checkpoint, so that a continued run judges alike.

    ``generator`` and ``discriminator`` are the last losses that were fine, ``certain`` and
    ``guessing`` the steps in a row of a discriminator that always or never knows, ``told`` what
    has been reported.
    """

    model_config = ConfigDict(extra="forbid")

    generator: list[float] = []
    discriminator: list[float] = []
    certain: int = 0
    guessing: int = 0
    told: list[str] = []


class Guard:
    """Judges the losses of one stage, step by step."""

    def __init__(self, stage: StageConfig, settings: GuardConfig, memory: GuardMemory) -> None:
        self.memory = memory
        self._settings = settings
        smooth = stage.label_smoothing
        self._certain = _entropy(smooth) + _CERTAIN
        self._chance = 2.0 * _entropy((1.0 - smooth) / 2.0)

    def failure(self, losses: Mapping[str, float]) -> str | None:
        """Why the run cannot go on from here (``g/total is nan``); ``None`` where all is well.

        A loss explodes when it is over ``guard.explosion`` times the median of the last hundred.
        The discriminator's is measured against that of a coin at least: a good one is near zero
        and may well rise to a hundred times that.
        """
        for name, value in losses.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        memory, d = self.memory, _of_discriminator(losses)
        exploded = self._exploded("g/total", losses["g/total"], memory.generator, _ROUNDING)
        if d is not None:
            exploded = exploded or self._exploded(
                "d/real + d/fake", d, memory.discriminator, self._chance
            )
        if exploded:
            return exploded
        _append(memory.generator, losses["g/total"])
        if d is not None:
            _append(memory.discriminator, d)
        return None

    def _exploded(self, name: str, value: float, recent: list[float], least: float) -> str | None:
        most = self._settings.explosion
        usual = max(median(recent), least) if recent else math.inf
        if not most or value <= most * usual:
            return None
        return f"{name} is {value:.4g}, {value / usual:.0f} times what it was"

    def collapse(self, losses: Mapping[str, float]) -> str | None:
        """What is wrong with the discriminator, said once for each kind.

        Judged by its losses: a low probability of SR alone is the usual state of a healthy run.
        """
        d = _of_discriminator(losses)
        if d is None:
            return None
        memory, steps = self.memory, self._settings.collapse_steps
        memory.certain = memory.certain + 1 if d < self._certain else 0
        memory.guessing = memory.guessing + 1 if d > self._chance - _NO_BETTER else 0
        if memory.certain >= steps and "certain" not in memory.told:
            memory.told.append("certain")
            return (
                f"the discriminator has told every image for {steps} steps (d/real + d/fake under "
                f"{self._certain:.2g}): the generator learns little from it; give it "
                "gan.label_smoothing or gan.r1, or the generator more pre-training"
            )
        if memory.guessing >= steps and "guessing" not in memory.told:
            memory.told.append("guessing")
            return (
                f"the discriminator has guessed for {steps} steps (d/real + d/fake at "
                f"{self._chance:.3g} or more, a coin's): the generator learns nothing from it; "
                "change gan.learning_rate or discriminator.filters"
            )
        return None


def _of_discriminator(losses: Mapping[str, float]) -> float | None:
    return losses["d/real"] + losses["d/fake"] if "d/real" in losses else None


def _append(recent: list[float], value: float) -> None:
    recent.append(value)
    del recent[:-_WINDOW]


def _entropy(p: float) -> float:
    """Of a coin with probability ``p``, in nats: the least cross-entropy for such labels."""
    return -sum(q * math.log(q) for q in (p, 1.0 - p) if q > 0)
