"""How long a stage lasts and how fast it learns at each step."""

from __future__ import annotations

import math

from srgan.training_config import StageConfig

# Tracing and memory allocation make the first steps slow; they say nothing about the rest.
UNMEASURED_STEPS = 5
MEASURED_STEPS = 50
# A cosine that ends at zero wastes its last steps.
_FLOOR = 0.01
_QUARTERS = (0.25, 0.5, 0.75)


def learning_rate(stage: StageConfig, step: int, steps: int) -> float:
    """Rate of ``step`` (from 0) of ``steps``: linear warm-up, then as ``stage.decay`` says.

    Drops are at shares of all steps, so that a plan of a paper keeps its form at any length.
    """
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    if stage.decay == "constant":
        return stage.learning_rate
    if stage.decay == "cosine":
        done = (step - stage.warmup_steps) / max(1, steps - stage.warmup_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        return stage.learning_rate * (_FLOOR + (1.0 - _FLOOR) * cosine)
    drops, factor = (_QUARTERS, 0.5) if stage.decay == "halve" else (stage.drops, stage.drop_factor)
    return stage.learning_rate * factor ** sum(step >= drop * steps for drop in drops)


def steps_for_budget(seconds_left: float, seconds_per_step: float, done: int, most: int) -> int:
    """Steps that a stage has in all when ``seconds_left`` remain after ``done`` steps."""
    return max(done, min(most, done + int(seconds_left / max(seconds_per_step, 1e-6))))
