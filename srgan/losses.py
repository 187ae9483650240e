"""Content losses of a stage: how far SR is from HR, as a scalar for each example.

Images are signed, [N, H, W, C] in [-1, 1]. A value for each example, not a mean over the batch:
under a distribution strategy the training step divides the sum by the *global* batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from srgan.perceptual import PerceptualLosses, load_perceptual_losses
from srgan.training_config import PERCEPTUAL, PerceptualConfig, StageConfig

PerExample = Callable[[Any, Any], Any]


def mse(sr: Any, hr: Any) -> Any:
    """Mean squared error in [0, 1] units (Ledig et al. 2017, eq. 4)."""
    return ops.mean(ops.square((sr - hr) * 0.5), axis=(1, 2, 3))


def l1(sr: Any, hr: Any) -> Any:
    """Mean absolute error in [0, 1] units."""
    return ops.mean(ops.abs((sr - hr) * 0.5), axis=(1, 2, 3))


def charbonnier(sr: Any, hr: Any) -> Any:
    """Mean of sqrt(d^2 + 0.001^2) in [0, 1] units (Lai et al. 2017, LapSRN, section 3.2).

    L1 with a tip that is round within a quarter of a grey level, where its gradient fades out.
    """
    return ops.mean(ops.sqrt(ops.square((sr - hr) * 0.5) + 1e-3**2), axis=(1, 2, 3))


PIXEL: Mapping[str, PerExample] = {"mse": mse, "l1": l1, "charbonnier": charbonnier}


@dataclass(frozen=True)
class ContentLoss:
    """The content losses of a stage by name, their weights, and what had to be left out."""

    weights: Mapping[str, float]
    perceptual: Sequence[PerceptualLosses]
    notes: tuple[str, ...]

    def __call__(self, sr: Any, hr: Any) -> Any:
        """Weighted sum for each example, [N]."""
        values = self.values(sr, hr)
        return sum(weight * values[name] for name, weight in self.weights.items())

    def values(self, sr: Any, hr: Any) -> dict[str, Any]:
        """Each loss for each example, [N], not weighted."""
        values = {name: PIXEL[name](sr, hr) for name in self.weights if name in PIXEL}
        for losses in self.perceptual:
            values |= losses(sr, hr)
        return values


def build_content_loss(stage: StageConfig, perceptual: PerceptualConfig) -> ContentLoss:
    """The content losses of ``stage``; loads VGG weights only where a loss needs them.

    Without weights it raises :class:`ModelError`, or, with ``when_missing: pixel``, leaves the
    perceptual terms out and says so in ``notes``; if nothing else is left, L1 takes their place.
    """
    wanted = [name for name in stage.content if name in PERCEPTUAL]
    losses, errors = load_perceptual_losses(wanted, perceptual)
    if errors and perceptual.when_missing == "fail":
        raise next(iter(errors.values()))
    notes = [f"trained without the content loss {name}: {e}" for name, e in errors.items()]
    weights: dict[str, float] = {n: w for n, w in stage.content.items() if n not in errors}
    if not weights:
        weights["l1"] = 1.0
        notes.append("the content loss is l1 alone, because no perceptual weights are at hand")
    return ContentLoss(weights, losses, tuple(notes))
