"""One step of training: what both networks learn from one global batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from srgan.losses import DISCRIMINATOR_ADVERSARIAL, GENERATOR_ADVERSARIAL, ContentLoss
from srgan.state import TrainState
from srgan.training_config import StageConfig

Losses = Mapping[str, tf.Tensor]
StepFunction = Callable[[Any, Any, int, float], Losses]


def make_step(state: TrainState, stage: StageConfig, content: ContentLoss) -> StepFunction:
    """One update on a distributed global batch, compiled: ``step(lr, hr, done, decay)``.

    ``done`` is the number of updates that the stage has had, ``decay`` that of the moving average.
    Answers the losses of the stage: means over the global batch, so that they do not depend on
    the number of replicas.
    """
    replica_step = _pretrain_step if stage.adversarial == "none" else _gan_step
    strategy = state.strategy

    def step(lr: Any, hr: Any, decay: Any) -> Losses:
        sums = strategy.run(replica_step, args=(state, stage, content, lr, hr))
        losses = {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in sums.items()
        }
        for mean, weight in zip(state.average.weights, state.generator.weights, strict=True):
            mean.value.assign(decay * mean.value + (1.0 - decay) * weight.value)
        return losses

    compiled = tf.function(step)

    def numbered(lr: Any, hr: Any, done: int, decay: float) -> Losses:
        del done
        losses: Losses = compiled(lr, hr, tf.constant(decay, tf.float32))
        return losses

    return numbered


def _pretrain_step(
    state: TrainState, stage: StageConfig, content: ContentLoss, lr: Any, hr: Any
) -> Losses:
    with tf.GradientTape() as tape:
        sr = state.generator(lr, training=True)
        loss = tf.reduce_sum(content(sr, hr)) / stage.batch
        scaled = state.generator_optimizer.scale_loss(loss)
    _update(state.generator_optimizer, tape, scaled, state.generator.trainable_variables)
    return {"g/content": loss, "g/total": loss}


def _gan_step(
    state: TrainState, stage: StageConfig, content: ContentLoss, lr: Any, hr: Any
) -> Losses:
    """Both players move at once, from the same SR images and the same logits."""
    generator_loss = GENERATOR_ADVERSARIAL[stage.adversarial]
    discriminator_loss = DISCRIMINATOR_ADVERSARIAL[stage.adversarial]
    with tf.GradientTape() as d_tape, tf.GradientTape() as g_tape:
        sr = state.generator(lr, training=True)
        real = state.discriminator(hr, training=True)
        fake = state.discriminator(sr, training=True)
        on_content = tf.reduce_sum(content(sr, hr)) / stage.batch
        adversarial = tf.reduce_sum(generator_loss(fake, real, _global_mean)) / stage.batch
        total = on_content + stage.adversarial_weight * adversarial
        on_real, on_fake = (
            tf.reduce_sum(x) / stage.batch for x in discriminator_loss(real, fake, _global_mean)
        )
        g_scaled = state.generator_optimizer.scale_loss(total)
        d_scaled = state.discriminator_optimizer.scale_loss(on_real + on_fake)
    g, d = state.generator.trainable_variables, state.discriminator.trainable_variables
    g_gradients = _reduced(g_tape.gradient(g_scaled, g))
    d_gradients = d_tape.gradient(d_scaled, d)
    state.generator_optimizer.apply(g_gradients, g)
    state.discriminator_optimizer.apply(d_gradients, d)
    return {
        "g/content": on_content,
        "g/adversarial": adversarial,
        "g/total": total,
        "d/real": on_real,
        "d/fake": on_fake,
        "d/p_real": _share(real, stage.batch),
        "d/p_fake": _share(fake, stage.batch),
    }


def _update(optimizer: Any, tape: tf.GradientTape, loss: Any, variables: list[Any]) -> None:
    optimizer.apply(_reduced(tape.gradient(loss, variables)), variables)


def _reduced(gradients: list[Any]) -> list[Any]:
    """The global gradient's share of each replica.

    Optimisers clip before they add up the replicas' gradients; given equal shares they clip what
    one device would clip (their limit is divided by the number of replicas, too).
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return gradients
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return [gradient / replicas for gradient in summed]


def _global_mean(logits: Any) -> Any:
    mean = tf.reduce_mean(logits)
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)


def _share(logits: Any, batch: int) -> Any:
    """Mean probability "real"; near 0 on SR is the usual state of a healthy run."""
    return tf.reduce_sum(tf.sigmoid(logits)) / batch
