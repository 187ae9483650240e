"""The training step: whose gradient goes where, what is penalised, and what is reported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan import adversarial
from srgan.config import RunConfig
from srgan.losses import ContentLoss, build_content_loss
from srgan.networks.luma import to_luma
from srgan.state import TrainState, create_state
from srgan.step import adversarial_weight, gan_gradients, make_step, penalty_is_due
from srgan.training_config import PerceptualConfig, StageConfig
from tests.support import ROOT, shared_data

BATCH = 4


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Where one step is all, making its graph would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def config_of(
    *,
    generator: Mapping[str, Any] | None = None,
    discriminator: Mapping[str, Any] | None = None,
    **gan: Any,
) -> RunConfig:
    stage = {"batch": BATCH, "hr_crop": 16, "content": {"l1": 1.0}}
    small = {"filters": 4, "blocks": 1, "scale": 2, "base": "none"}
    return RunConfig.model_validate(
        {
            "generator": {**small, "norm": "batch", **(generator or {})},
            "discriminator": {"filters": 4, "head": "pool", **(discriminator or {})},
            "pretrain": stage,
            "gan": {**stage, "adversarial": "minmax", "adversarial_weight": 0.1, **gan},
        }
    )


def state_of(config: RunConfig) -> TrainState:
    keras.utils.set_random_seed(3)
    return create_state(config, tf.distribute.get_strategy())


def content_of(config: RunConfig) -> ContentLoss:
    return build_content_loss(config.gan, PerceptualConfig())


def batch(scale: int = 2) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    lr = rng.random((BATCH, 16 // scale, 16 // scale, 3), np.float32)
    return tf.constant(lr), tf.constant(rng.random((BATCH, 16, 16, 3), np.float32) * 2 - 1)


def both(
    config: RunConfig, state: TrainState, *, penalise: bool = False, weight: float = 0.1
) -> Any:
    content, (lr, hr) = content_of(config), batch()
    return gan_gradients(state, config.gan, content, lr, hr, weight, penalise=penalise)


def assert_same(ours: list[Any], expected: list[Any]) -> None:
    largest = max(float(tf.reduce_max(tf.abs(g))) for g in expected)
    assert largest > 0
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("kind", ["minmax", "relativistic"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_each_player_s_gradient_is_that_of_a_step_of_its_own(kind: Any, norm: str) -> None:
    """The usual two updates, each with its own forward passes and the other player held fixed."""
    config = config_of(discriminator={"norm": norm}, adversarial=kind, label_smoothing=0.1)
    state, (lr, hr) = state_of(config), batch()
    ours = both(config, state)
    generator, discriminator = state.generator, state.discriminator

    sr = tf.stop_gradient(generator(lr, training=True))
    with tf.GradientTape() as tape:
        real, fake = (discriminator(x, training=True) for x in (hr, sr))
        judged = adversarial.judgements(kind, real, fake)
        loss = sum(map(tf.reduce_mean, adversarial.discriminator_loss(kind, *judged, 0.1)))
    assert_same(ours.discriminator, tape.gradient(loss, discriminator.trainable_variables))

    real = tf.stop_gradient(discriminator(hr, training=True))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([v.value for v in generator.trainable_variables])
        sr = generator(lr, training=True)
        judged = adversarial.judgements(kind, real, discriminator(sr, training=True))
        fooled = tf.reduce_mean(adversarial.generator_loss(kind, *judged))
        loss = tf.reduce_mean(tf.abs(sr - hr)) / 2 + 0.1 * fooled
    assert_same(ours.generator, tape.gradient(loss, generator.trainable_variables))


def test_what_is_d_s_alone_leaves_g_alone() -> None:
    plain = config_of()
    other = config_of(label_smoothing=0.3, r1=10.0)
    state = state_of(plain)
    one, two = both(plain, state), both(other, state, penalise=True)
    assert_same(two.generator, one.generator)
    assert any(
        (a - b).numpy().any() for a, b in zip(one.discriminator, two.discriminator, strict=True)
    )


def test_without_weight_g_sees_the_content_alone() -> None:
    config = config_of()
    state, (lr, hr) = state_of(config), batch()
    ours = both(config, state, weight=0.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(state.generator(lr, training=True) - hr)) / 2
    assert_same(ours.generator, tape.gradient(loss, state.generator.trainable_variables))


def test_r1_is_half_the_squared_slope_of_each_real_image() -> None:
    """Mescheder et al. 2018, eq. 9. Without batch normalisation images do not see each other."""
    config = config_of(discriminator={"norm": "none"}, r1=8.0, r1_every=4)
    state, (_, hr) = state_of(config), batch()
    with_penalty, without = both(config, state, penalise=True), both(config, state)
    variables = state.discriminator.trainable_variables

    def penalty() -> Any:
        total = 0.0
        for image in tf.split(hr, BATCH):
            with tf.GradientTape() as tape:
                tape.watch(image)
                logit = state.discriminator(image, training=True)
            total += 0.5 * 8.0 * tf.reduce_sum(tf.square(tape.gradient(logit, image)))
        return total / BATCH

    assert float(with_penalty.logged["d/r1"]) == pytest.approx(float(penalty()), rel=1e-4)
    with tf.GradientTape() as tape:
        lazy = 4 * penalty()
    # The last bias has no part in a slope.
    slopes = [
        tf.zeros(v.shape) if slope is None else slope
        for v, slope in zip(variables, tape.gradient(lazy, variables), strict=True)
    ]
    difference = [
        a - b for a, b in zip(with_penalty.discriminator, without.discriminator, strict=True)
    ]
    assert_same(difference, slopes)

    # The second derivative against finite differences, along its own direction.
    length = float(tf.linalg.global_norm(slopes))
    values = []
    for sign in (1, -1):
        for variable, slope in zip(variables, slopes, strict=True):
            variable.assign_add(sign * 1e-3 * slope / length)
        values.append(4 * float(penalty()))
        for variable, slope in zip(variables, slopes, strict=True):
            variable.assign_sub(sign * 1e-3 * slope / length)
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("spectral", [False, True], ids=["plain", "spectral"])
def test_r1_works_with_batch_normalisation_and_repeats_no_forward_pass(spectral: bool) -> None:
    config = config_of(discriminator={"norm": "batch", "spectral": spectral}, r1=1.0)
    state = state_of(config)
    gradients = both(config, state, penalise=True)
    assert float(gradients.logged["d/r1"]) > 0
    assert all(np.isfinite(g).all() for g in gradients.discriminator)
    # Two passes, of real and of generated images: 1 - 0.9^2 of their variances is in the mean.
    moving = state.discriminator.get_layer("norm1").moving_variance.numpy()
    state = state_of(config)
    both(config, state, penalise=False)
    again = state.discriminator.get_layer("norm1").moving_variance.numpy()
    np.testing.assert_allclose(moving, again, rtol=1e-5)


def test_the_penalty_is_lazy_and_stays_in_sight() -> None:
    config = config_of(r1=1.0, r1_every=3)
    step = make_step(state_of(config), config.gan, content_of(config))
    lr, hr = batch()
    seen = [step(lr, hr, done, 0.0) for done in range(1, 8)]
    assert ["d/r1" in losses for losses in seen] == [False, False, True, True, True, True, True]
    values = [float(losses["d/r1"]) for losses in seen[2:]]
    assert values[0] == values[1] == values[2]
    assert values[3] != values[0]
    assert [done for done in range(9) if penalty_is_due(config.gan, done)] == [0, 3, 6]
    assert not penalty_is_due(config_of(r1=0.0).gan, 0)


def test_the_adversarial_weight_rises_in_a_line_without_another_graph() -> None:
    config = config_of(adversarial_ramp=4, adversarial_weight=0.5)
    content, traces = content_of(config), []

    class Counting(ContentLoss):
        def values(self, sr: Any, hr: Any) -> dict[str, Any]:
            traces.append(1)
            return content.values(sr, hr)

    counting = Counting(content.weights, content.perceptual, content.notes)
    step = make_step(state_of(config), config.gan, counting)
    lr, hr = batch()
    for done, weight in enumerate([0, 0.125, 0.25, 0.375, 0.5, 0.5]):
        losses = step(lr, hr, done, 0.0)
        assert adversarial_weight(config.gan, done) == pytest.approx(weight)
        expected = losses["g/content"] + weight * losses["g/adversarial"]
        assert float(losses["g/total"]) == pytest.approx(float(expected), rel=1e-6)
    assert len(traces) == 1
    assert adversarial_weight(StageConfig(adversarial_weight=0.2), 0) == 0.2


@pytest.mark.usefixtures("eagerly")
def test_what_a_step_reports() -> None:
    config = config_of(content={"l1": 2.0, "mse": 3.0}, adversarial="relativistic")
    state, (lr, hr) = state_of(config), batch()
    content = content_of(config)
    gradients = gan_gradients(state, config.gan, content, lr, hr, 0.1, penalise=False)
    state = state_of(config)
    real, fake = (
        state.discriminator(x, training=True) for x in (hr, state.generator(lr, training=True))
    )
    state = state_of(config)
    losses = {n: float(v) for n, v in make_step(state, config.gan, content)(lr, hr, 0, 0.0).items()}
    assert set(losses) == {
        *("g/content", "g/l1", "g/mse", "g/adversarial", "g/total", "g/grad_norm"),
        *("d/real", "d/fake", "d/p_real", "d/p_fake"),
    }
    assert losses["g/content"] == pytest.approx(2 * losses["g/l1"] + 3 * losses["g/mse"])
    length = float(tf.linalg.global_norm(gradients.generator))
    assert losses["g/grad_norm"] == pytest.approx(length, rel=1e-4)
    p_real = tf.reduce_mean(tf.sigmoid(real - tf.reduce_mean(fake)))
    p_fake = tf.reduce_mean(tf.sigmoid(fake - tf.reduce_mean(real)))
    assert losses["d/p_real"] == pytest.approx(float(p_real), rel=1e-4)
    assert losses["d/p_fake"] == pytest.approx(float(p_fake), rel=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_the_average_follows_the_generator() -> None:
    config = config_of()
    state, (lr, hr) = state_of(config), batch()
    start = [w.numpy() for w in state.generator.weights]
    make_step(state, config.pretrain, content_of(config))(lr, hr, 0, 0.75)
    for mean, now, before in zip(
        state.average.weights, state.generator.weights, start, strict=True
    ):
        expected = 0.75 * before + 0.25 * now.numpy()
        np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("eagerly")
def test_grey_networks_learn_from_luma() -> None:
    """A step on colour pictures is a step on their luma, for G, D and the perceptual loss."""
    config = config_of(generator={"channels": 1})
    state, (lr, hr) = state_of(config), batch()
    assert state.discriminator.input_shape[-1] == 1
    step = make_step(state, config.gan, content_of(config))
    colour = {name: float(v) for name, v in step(lr, hr, 0, 0.0).items()}
    state = state_of(config)
    grey = [tf.repeat(to_luma(x), 3, axis=-1) for x in (lr, hr)]
    losses = make_step(state, config.gan, content_of(config))(*grey, 0, 0.0)
    assert {n: float(v) for n, v in losses.items()} == pytest.approx(colour, rel=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_grey_networks_learn_from_perceptual_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(shared_data() / "weights"))
    config = config_of(generator={"channels": 1}, content={"lpips_vgg": 1.0})
    step = make_step(state_of(config), config.gan, content_of(config))
    losses = step(*batch(), 0, 0.0)
    assert 0 < float(losses["g/content"]) < 5
    assert 0 < float(losses["g/grad_norm"]) < np.inf


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_lower_precision_reports_the_same_figures(policy: str) -> None:
    """float16's loss scale is in none of them; R1's tiny slopes do not vanish in it."""
    settings: dict[str, Any] = {"discriminator": {"norm": "none"}, "r1": 1.0}
    figures = []
    before = keras.mixed_precision.dtype_policy()
    for name in ("float32", policy):
        keras.mixed_precision.set_dtype_policy(name)
        try:
            config = config_of(**settings)
            step = make_step(state_of(config), config.gan, content_of(config))
            figures.append({n: float(v) for n, v in step(*batch(), 0, 0.0).items()})
        finally:
            keras.mixed_precision.set_dtype_policy(before)
    assert figures[1] == pytest.approx(figures[0], rel=0.05)
    assert figures[0]["d/r1"] > 0


@pytest.mark.slow
def test_two_devices_make_the_step_of_one() -> None:
    """With everything on: batch and spectral normalisation, R1, a relativistic loss, clipping."""
    program = [sys.executable, "-m", "tests.srgan.steps_on_devices"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    for before, after in zip(one["losses"], two["losses"], strict=True):
        assert after == pytest.approx(before, rel=2e-3, abs=1e-6)
    assert [losses["d/r1"] > 0 for losses in one["losses"]] == [True] * len(one["losses"])
    np.testing.assert_allclose(two["weights"], one["weights"], atol=2e-3)
    np.testing.assert_allclose(two["spectral"], one["spectral"], atol=1e-3)
