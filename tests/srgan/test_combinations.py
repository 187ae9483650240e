"""Every switch of the networks with every other: shape, file, and a training step.

Every run sees every pair of values of any two switches; SRGAN_COMBINATIONS=all the whole product,
which takes ten minutes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan.checkpoints import load_generator, save_generator
from srgan.config import RunConfig
from srgan.losses import build_content_loss
from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.state import create_state
from srgan.step import make_step

GENERATOR: Mapping[str, tuple[Any, ...]] = {
    "architecture": ("faces", "srresnet", "edsr", "rrdb"),
    "upsample": ("transpose", "subpixel", "resize", "shuffle"),
    "scale": (2, 4, 8),
    "norm": ("batch", "none"),
    "base": ("none", "bicubic"),
    "channels": (1, 3),
}
ACTIVATIONS = ("relu", "prelu", "lrelu")
DISCRIMINATOR: Mapping[str, tuple[Any, ...]] = {
    "norm": ("batch", "none"),
    "spectral": (False, True),
    "head": ("dense", "pool"),
}
ADVERSARIAL = ("none", "minmax", "relativistic")
Switches = tuple[Any, ...]
CHOICES = [*GENERATOR.values(), ACTIVATIONS, *DISCRIMINATOR.values(), ADVERSARIAL]
HALF = len(GENERATOR) + 1


def pairs_in(row: Switches) -> set[tuple[int, Any, int, Any]]:
    return {(i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(row)), 2)}


def covering_rows() -> list[Switches]:
    """Rows that hold each pair of values of any two switches at least once, found greedily."""
    missing = {
        (i, a, j, b)
        for i, j in itertools.combinations(range(len(CHOICES)), 2)
        for a in CHOICES[i]
        for b in CHOICES[j]
    }
    rows: list[Switches] = []
    rng = np.random.default_rng(0)
    while missing:
        drawn = [tuple(c[rng.integers(len(c))] for c in CHOICES) for _ in range(300)]
        best = max(drawn, key=lambda row: len(pairs_in(row) & missing))
        if not pairs_in(best) & missing:
            i, a, j, b = min(missing, key=str)
            best = (*best[:i], a, *best[i + 1 : j], b, *best[j + 1 :])
        missing -= pairs_in(best)
        rows.append(best)
    return rows


COVERING = covering_rows()
PRODUCT = [
    # The rest of the switches goes round beside the product.
    (*row, *(choices[(index * 7 + place) % len(choices)] for place, choices in enumerate(rest)))
    for rest in [CHOICES[len(GENERATOR) :]]
    for index, row in enumerate(itertools.product(*GENERATOR.values()))
]


def config_of(row: Switches) -> RunConfig:
    *_, adversarial = row
    generator = {**dict(zip(GENERATOR, row, strict=False)), "activation": row[HALF - 1]}
    stage = {"batch": 2, "hr_crop": 16, "learning_rate": 1e-3, "content": {"charbonnier": 1.0}}
    return RunConfig.model_validate(
        {
            "generator": {**generator, "filters": 4, "growth": 4, "blocks": 1},
            "discriminator": {"filters": 4, **dict(zip(DISCRIMINATOR, row[HALF:], strict=False))},
            "pretrain": stage,
            # Its whole weight: what comes through D must show in G.
            "gan": {**stage, "adversarial": adversarial, "adversarial_weight": 1.0, "r1": 1.0},
        }
    )


def name_of(row: Switches) -> str:
    return "-".join(map(str, row))


@pytest.fixture
def eagerly() -> Iterator[None]:
    """A graph for each of many networks would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def check(row: Switches, folder: Path) -> None:
    config = config_of(row)
    keras.utils.set_random_seed(1)
    state = create_state(config, tf.distribute.get_strategy())
    scale, channels = config.generator.scale, config.generator.channels
    rng = np.random.default_rng(0)
    rgb = tf.constant(rng.random((2, 16 // scale, 16 // scale, 3), np.float32))
    hr = tf.constant(rng.random((2, 16, 16, 3), np.float32) * 2 - 1)

    before = [w.numpy() for w in state.generator.trainable_variables]
    judged = [w.numpy() for w in state.discriminator.trainable_variables]
    losses = make_step(state, config.gan, build_content_loss(config.gan, config.perceptual))(
        rgb, hr, 0, 0.0
    )
    assert all(np.isfinite(float(value)) for value in losses.values())
    after = [w.numpy() for w in state.generator.trainable_variables]
    assert all(np.isfinite(w).all() for w in after)
    # The residual's last convolution starts at zero: at first the gradient ends there.
    if config.generator.base == "none":
        assert all((a != b).any() for a, b in zip(after, before, strict=True))
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    moved = [w.numpy() for w in state.discriminator.trainable_variables]
    assert any((a != b).any() for a, b in zip(moved, judged, strict=True)) == (
        config.gan.adversarial != "none"
    )

    lr = rng.random((2, 5, 7, channels), np.float32)
    sr = np.asarray(state.generator(lr, training=False))
    assert sr.shape == (2, 5 * scale, 7 * scale, channels)
    assert sr.dtype == np.float32
    if config.generator.base == "none" and config.generator.architecture != "rrdb":
        assert np.abs(sr).max() <= 1
    save_generator(state.generator, folder / "generator.keras")
    again = load_generator(folder / "generator.keras")
    np.testing.assert_array_equal(np.asarray(again(lr, training=False)), sr)
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in again.layers)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("row", COVERING, ids=name_of)
def test_every_pair_of_switches(row: Switches, tmp_path: Path) -> None:
    check(row, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("SRGAN_COMBINATIONS") != "all", reason="SRGAN_COMBINATIONS=all runs them"
)
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("architecture", GENERATOR["architecture"])
@pytest.mark.parametrize("upsample", GENERATOR["upsample"])
def test_every_combination_of_switches(architecture: str, upsample: str, tmp_path: Path) -> None:
    rows = [row for row in PRODUCT if row[:2] == (architecture, upsample)]
    assert len(rows) == 3 * 2 * 2 * 2
    for row in rows:
        check(row, tmp_path)
        keras.backend.clear_session()


def test_the_keys_of_an_architecture_may_each_be_overridden() -> None:
    config = GeneratorConfig.model_validate({"architecture": "rrdb", "upsample": "transpose"})
    assert (config.blocks, config.upsample, config.activation) == (23, "transpose", "lrelu")
    small = config.model_copy(update={"blocks": 1, "filters": 4, "growth": 4})
    kinds = {type(layer).__name__ for layer in build_generator(small).layers}
    assert "Conv2DTranspose" in kinds
    assert "UpSampling2D" not in kinds
