"""Everything that training changes, in one object that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from srgan.config import RunConfig
from srgan.networks.discriminator import build_discriminator
from srgan.networks.generator import build_generator
from srgan.optimizers import make_optimizer


@dataclass(frozen=True)
class TrainState:
    """Networks, optimisers and the moving average, all created under one strategy."""

    strategy: tf.distribute.Strategy
    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model
    generator_optimizer: Any
    discriminator_optimizer: Any


def create_state(config: RunConfig, strategy: tf.distribute.Strategy) -> TrainState:
    """Fresh networks and optimisers. Optimisers are built here: inside a step it would be too late
    for a strategy."""
    with strategy.scope():
        generator = build_generator(config.generator)
        average = build_generator(config.generator)
        average.set_weights(generator.get_weights())
        discriminator = build_discriminator(
            config.discriminator, config.gan.hr_crop, config.generator.channels
        )
        clip = config.trainer.clip_norm / strategy.num_replicas_in_sync
        generator_optimizer = make_optimizer(config.trainer.optimizer, clip or None)
        discriminator_optimizer = make_optimizer("adam", None)
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer.build(discriminator.trainable_variables)
    return TrainState(
        strategy, generator, discriminator, average, generator_optimizer, discriminator_optimizer
    )


def reset_optimizers(state: TrainState) -> None:
    """Moments and counters back to zero: a new stage minimises something else."""
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for variable in optimizer.variables:
            if variable.path.endswith("learning_rate"):
                continue
            start = 2.0**15 if "dynamic_scale" in variable.path else 0
            variable.assign(tf.cast(tf.fill(variable.shape, start), variable.dtype))


def average_decay(step: int, most: float) -> float:
    """Decay of the moving average at ``step``: short at first, or step 0 would weigh for long."""
    return min(most, (1.0 + step) / (10.0 + step))
