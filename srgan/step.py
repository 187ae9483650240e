"""One step of training: what both networks learn from one global batch.

Loss terms are sums over a replica's images divided by the *global* batch, so that the sum over
replicas, which is how gradients are added up, is the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from srgan import adversarial
from srgan.losses import ContentLoss
from srgan.networks.luma import for_channels
from srgan.state import TrainState
from srgan.training_config import StageConfig

Losses = Mapping[str, tf.Tensor]
StepFunction = Callable[[Any, Any, int, float], Losses]
Gradients = list[Any]


def make_step(
    state: TrainState, stage: StageConfig, content: ContentLoss, *, xla: bool = False
) -> StepFunction:
    """One update on a distributed global batch, compiled: ``step(lr, hr, done, decay)``.

    ``lr`` is RGB in [0, 1], ``hr`` RGB in [-1, 1]; ``done`` is the number of updates that the stage
    has had, ``decay`` that of the moving average. Answers means over the global batch, whatever
    the number of replicas: losses of the stage; each content loss, unweighted, where there are
    several; ``g/grad_norm``, the length of G's gradient before it is clipped; ``d/p_real`` and
    ``d/p_fake``, how probable it is to D that an image is real; and ``d/r1``, the gradient penalty
    of the last step that had one.
    """
    strategy = state.strategy

    # ``penalise`` is Python's: there is one graph with the penalty and one without.
    def step(lr: Any, hr: Any, decay: Any, weight: Any, penalise: bool) -> Losses:
        if stage.adversarial == "none":
            sums = strategy.run(_pretrain_step, args=(state, stage, content, lr, hr))
        else:
            arguments = (state, stage, content, lr, hr, weight, penalise)
            sums = strategy.run(_gan_step, args=arguments)
        losses = {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in sums.items()
        }
        for mean, current in zip(state.average.weights, state.generator.weights, strict=True):
            mean.value.assign(decay * mean.value + (1.0 - decay) * current.value)
        return losses

    compiled = tf.function(step, jit_compile=xla or None)
    penalty: dict[str, tf.Tensor] = {}

    def numbered(lr: Any, hr: Any, done: int, decay: float) -> Losses:
        weight = tf.constant(adversarial_weight(stage, done), tf.float32)
        losses = compiled(
            lr, hr, tf.constant(decay, tf.float32), weight, penalty_is_due(stage, done)
        )
        if "d/r1" in losses:
            penalty["d/r1"] = losses["d/r1"]
        return {**losses, **penalty}

    return numbered


def adversarial_weight(stage: StageConfig, done: int) -> float:
    """The weight after ``done`` updates: from 0 in a line to all of it."""
    ramp = stage.adversarial_ramp
    return stage.adversarial_weight * (done / ramp if done < ramp else 1.0)


def penalty_is_due(stage: StageConfig, done: int) -> bool:
    """Whether D's gradient is penalised in the update after ``done`` others."""
    return stage.adversarial != "none" and stage.r1 > 0 and done % stage.r1_every == 0


def _pretrain_step(
    state: TrainState, stage: StageConfig, content: ContentLoss, lr: Any, hr: Any
) -> Losses:
    lr, hr = _as_the_networks_see_them(state, lr, hr)
    with tf.GradientTape() as tape:
        sr = state.generator(lr, training=True)
        on_content, logged = _content(content, stage, sr, hr)
        scaled = state.generator_optimizer.scale_loss(on_content)
    gradients = tape.gradient(scaled, state.generator.trainable_variables)
    norm = _update_generator(state, gradients)
    return {**logged, "g/total": on_content, "g/grad_norm": norm}


def _gan_step(
    state: TrainState,
    stage: StageConfig,
    content: ContentLoss,
    lr: Any,
    hr: Any,
    weight: Any,
    penalise: bool,
) -> Losses:
    """Both players move at once, from the same SR images and the same logits."""
    gradients = gan_gradients(state, stage, content, lr, hr, weight, penalise=penalise)
    norm = _update_generator(state, gradients.generator)
    state.discriminator_optimizer.apply(
        gradients.discriminator, state.discriminator.trainable_variables
    )
    return {**gradients.logged, "g/grad_norm": norm}


@dataclass(frozen=True)
class GanGradients:
    """This replica's share of both players' gradients (times the optimiser's loss scale)."""

    generator: Gradients
    discriminator: Gradients
    logged: Losses


def gan_gradients(
    state: TrainState,
    stage: StageConfig,
    content: ContentLoss,
    lr: Any,
    hr: Any,
    weight: Any,
    *,
    penalise: bool,
) -> GanGradients:
    """What the GAN stage makes of this replica's part of a batch; changes no trained weight.

    SR images, logits and features are computed once and serve both losses. Each player's gradient
    is taken with respect to its own variables alone, so none of it reaches the other.
    """
    generator, discriminator = state.generator, state.discriminator
    lr, hr = _as_the_networks_see_them(state, lr, hr)
    kind, batch = stage.adversarial, stage.batch
    assert kind != "none"
    with tf.GradientTape() as d_tape, tf.GradientTape() as g_tape:
        sr = generator(lr, training=True)
        slope = None
        if penalise:
            real, slope = _logits_and_slope(discriminator, hr)
        else:
            real = discriminator(hr, training=True)
        fake = discriminator(sr, training=True)
        is_real, is_fake = adversarial.judgements(kind, real, fake, _global_mean)
        on_content, logged = _content(content, stage, sr, hr)
        fooled = tf.reduce_sum(adversarial.generator_loss(kind, is_real, is_fake)) / batch
        total = on_content + weight * fooled
        on_real, on_fake = (
            tf.reduce_sum(value) / batch
            for value in adversarial.discriminator_loss(
                kind, is_real, is_fake, stage.label_smoothing
            )
        )
        of_discriminator = on_real + on_fake
        if slope is not None:
            r1 = 0.5 * stage.r1 * tf.reduce_sum(tf.square(slope)) / batch
            of_discriminator += stage.r1_every * r1
            logged["d/r1"] = r1
        g_scaled = state.generator_optimizer.scale_loss(total)
        d_scaled = state.discriminator_optimizer.scale_loss(of_discriminator)
    logged |= {
        "g/adversarial": fooled,
        "g/total": total,
        "d/real": on_real,
        "d/fake": on_fake,
        "d/p_real": tf.reduce_sum(tf.sigmoid(is_real)) / batch,
        "d/p_fake": tf.reduce_sum(tf.sigmoid(is_fake)) / batch,
    }
    return GanGradients(
        g_tape.gradient(g_scaled, generator.trainable_variables),
        d_tape.gradient(d_scaled, discriminator.trainable_variables),
        logged,
    )


def _logits_and_slope(discriminator: Any, hr: Any) -> tuple[Any, Any]:
    """Logits of real images, and their gradient with respect to these images.

    For R1 (Mescheder et al. 2018, eq. 9), taken every so many steps with as many times its weight
    (Karras et al. 2020, StyleGAN2, appendix B). It is the function that D trains with, so with
    batch normalisation it holds each image's influence on the logits of the others, too.
    """
    # float16 has no digits for the tiny influence of one pixel; a power of two costs none.
    magnified = 2.0**10
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(hr)
        real = discriminator(hr, training=True)
        target = magnified * tf.reduce_sum(real)
    return real, tf.cast(tape.gradient(target, hr), tf.float32) / magnified


def _content(
    content: ContentLoss, stage: StageConfig, sr: Any, hr: Any
) -> tuple[Any, dict[str, Any]]:
    values = {n: tf.reduce_sum(v) / stage.batch for n, v in content.values(sr, hr).items()}
    total = tf.add_n([weight * values[name] for name, weight in content.weights.items()])
    parts = {f"g/{name}": value for name, value in values.items()} if len(values) > 1 else {}
    return total, {"g/content": total, **parts}


def _as_the_networks_see_them(state: TrainState, lr: Any, hr: Any) -> tuple[Any, Any]:
    channels = state.generator.input_shape[-1]
    return for_channels(lr, channels), for_channels(hr, channels)


def _update_generator(state: TrainState, gradients: Gradients) -> Any:
    """Apply the replicas' gradients; answers this replica's share of the global gradient's length.

    Optimisers clip before they add up the replicas' gradients; given equal shares they clip what
    one device would clip (their limit is divided by the number of replicas, too).
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        gradients = [gradient / replicas for gradient in summed]
    norm = tf.linalg.global_norm(gradients) / state.generator_optimizer.scale_loss(1.0)
    state.generator_optimizer.apply(gradients, state.generator.trainable_variables)
    # Infinite where float16 overflowed: the optimiser then skips the step and lowers its scale.
    return tf.where(tf.math.is_finite(norm), norm, 0.0) if _scales_loss(state) else norm


def _scales_loss(state: TrainState) -> bool:
    return hasattr(state.generator_optimizer, "dynamic_scale")


def _global_mean(logits: Any) -> Any:
    mean = tf.reduce_mean(logits)
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
