from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan import losses
from srgan.errors import ModelError
from srgan.images import decode, resize, to_uint8
from srgan.networks.features import LPIPS_LAYERS, build_features, load_vgg
from srgan.training_config import PerceptualConfig, StageConfig
from tests.srgan.pairs import scene
from tests.support import shared_data


def signed(seed: int, side: int = 32) -> Any:
    return tf.constant(scene(seed, side)[None].astype(np.float32) / 127.5 - 1)


def test_pixel_losses_are_in_unit_range_units() -> None:
    black, white = tf.fill((2, 4, 4, 3), -1.0), tf.fill((2, 4, 4, 3), 1.0)
    grey = tf.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(losses.mse(black, white), [1, 1])
    np.testing.assert_allclose(losses.l1(black, white), [1, 1])
    np.testing.assert_allclose(losses.mse(grey, white), [0.25, 0.25])
    np.testing.assert_allclose(losses.l1(grey, white), [0.5, 0.5])


def test_charbonnier_is_l1_with_a_round_tip() -> None:
    hr = tf.zeros((1, 2, 2, 3))
    for difference, expected in ((0.0, 1e-3), (2e-3, 1e-3 * 2**0.5), (2.0, 1.0)):
        value = float(losses.charbonnier(hr + difference, hr)[0])
        assert value == pytest.approx(expected, rel=1e-5)
    sr = tf.Variable(hr)
    with tf.GradientTape() as tape:
        value = losses.charbonnier(sr, hr)
    np.testing.assert_array_equal(tape.gradient(value, sr), np.zeros((1, 2, 2, 3)))


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shared_data() / "weights"
    monkeypatch.setenv("SRGAN_WEIGHTS", str(folder))
    return folder


def content_loss(content: dict[str, float], **settings: Any) -> losses.ContentLoss:
    stage = StageConfig.model_validate({"content": content})
    return losses.build_content_loss(stage, PerceptualConfig.model_validate(settings))


REACHABLE = [
    ("lpips_vgg", "vgg16"),
    ("vgg22", "vgg16"),
    ("vgg54", "vgg16"),
    ("vgg_multi", "vgg16"),
    ("vgg22", "vgg19"),
]


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "network"), REACHABLE)
def test_perceptual_losses_on_real_weights(name: str, network: str) -> None:
    loss = content_loss({name: 1.0}, network=network)
    hr = signed(1)
    blurred = tf.nn.avg_pool2d(hr, 4, 1, "SAME")
    assert float(loss(hr, hr)[0]) == pytest.approx(0, abs=1e-5)
    little, much = (float(loss(a * blurred + (1 - a) * hr, hr)[0]) for a in (0.3, 1.0))
    assert 0 < little < much
    # A black corner has no features at all; its gradient must be finite all the same.
    dark = tf.Variable(tf.concat([blurred[:, :16], tf.fill((1, 16, 32, 3), -1.0)], axis=1))
    with tf.GradientTape() as tape:
        value = loss(dark, hr)
    gradient = tape.gradient(value, dark)
    assert bool(tf.reduce_all(tf.math.is_finite(gradient)))
    assert float(tf.reduce_max(tf.abs(gradient))) > 0


def test_without_weights_the_run_fails_or_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    stage = StageConfig(content={"l1": 1.0, "lpips_vgg": 0.5})
    with pytest.raises(ModelError, match=r"vgg16_conv_lpips\.npz"):
        losses.build_content_loss(stage, PerceptualConfig())
    lenient = PerceptualConfig(when_missing="pixel")
    content = losses.build_content_loss(stage, lenient)
    assert content.weights == {"l1": 1.0}
    assert "trained without the content loss lpips_vgg" in content.notes[0]
    alone = losses.build_content_loss(StageConfig(content={"lpips_vgg": 1.0}), lenient)
    assert alone.weights == {"l1": 1.0}
    assert "l1 alone" in alone.notes[1]


@pytest.mark.usefixtures("weights")
def test_a_depth_that_the_file_lacks_is_one_clear_error() -> None:
    """With Keras' download forbidden, and where it was tried in vain."""
    with pytest.raises(ModelError, match=r"has no conv3_2, which conv5_4 needs.*to conv3_1"):
        content_loss({"vgg54": 1.0}, weights="folder")
    with mock.patch("keras.applications.VGG19", side_effect=OSError("no route to host")):
        with pytest.raises(ModelError) as caught:
            content_loss({"vgg54": 1.0})
        assert "reaches to conv3_1 only, not to conv5_4" in str(caught.value)
        assert "weights cannot be downloaded (no route to host)" in str(caught.value)
        assert "\n" not in str(caught.value)
        # What the file has is not lost with what it lacks.
        partial = content_loss({"vgg22": 0.5, "vgg54": 1.0}, when_missing="pixel")
    assert partial.weights == {"vgg22": 0.5}
    assert "trained without the content loss vgg54" in partial.notes[0]


@pytest.mark.usefixtures("weights")
def test_losses_over_one_network_share_its_features() -> None:
    content = content_loss({"l1": 2.0, "vgg54": 0.5, "lpips_vgg": 3.0}, network="vgg16")
    assert len(content.perceptual) == 1
    sr, hr = signed(1), signed(2)
    values = content.values(sr, hr)
    assert list(values) == ["l1", "vgg54", "lpips_vgg"]
    for name, value in values.items():
        alone = content_loss({name: 1.0}, network="vgg16")(sr, hr)
        np.testing.assert_allclose(value, alone, rtol=1e-5)
    expected = 2 * values["l1"] + 0.5 * values["vgg54"] + 3 * values["lpips_vgg"]
    np.testing.assert_allclose(content(sr, hr), expected, rtol=1e-6)


@pytest.mark.usefixtures("weights")
def test_perceptual_losses_of_luma_are_those_of_grey_pictures() -> None:
    content = content_loss({"lpips_vgg": 1.0})
    sr, hr = signed(1)[..., :1], signed(2)[..., :1]
    np.testing.assert_allclose(
        content(sr, hr), content(tf.repeat(sr, 3, -1), tf.repeat(hr, 3, -1)), rtol=1e-6
    )


@pytest.mark.usefixtures("weights")
def test_lpips_vgg_is_what_its_definition_says() -> None:
    """Zhang et al. 2018, eq. 1, from the features; symmetric."""
    sr, hr = signed(4), signed(5)
    loaded = load_vgg("vgg16", "folder")
    network = build_features(loaded, LPIPS_LAYERS)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    one, other = (network(((x + 1) / 2 - mean) / std) for x in (sr, hr))
    expected = 0.0
    for a, b, head in zip(one, other, loaded.heads, strict=True):
        unit = [np.asarray(x[0]) / np.linalg.norm(x[0], axis=-1, keepdims=True) for x in (a, b)]
        expected += float(((unit[0] - unit[1]) ** 2 @ head).mean())
    content = content_loss({"lpips_vgg": 1.0})
    assert float(content(sr, hr)[0]) == pytest.approx(expected, rel=1e-3)
    assert float(content(hr, sr)[0]) == pytest.approx(expected, rel=1e-3)


def faces(count: int, side: int) -> Any:
    """Real faces [N, side, side, 3] in [-1, 1]."""
    paths = sorted((shared_data() / "faces" / "utk").glob("*.jpg"))[::50][:count]
    pictures = [
        resize(decode(path.read_bytes(), max_pixels=1_000_000), side, side) for path in paths
    ]
    return np.stack(pictures).astype(np.float32) / 127.5 - 1


def bicubic(hr: Any) -> Any:
    side = hr.shape[1]
    small = [resize(to_uint8((picture + 1) / 2), side // 4, side // 4) for picture in hr]
    return np.stack([resize(p, side, side) for p in small]).astype(np.float32) / 127.5 - 1


def gradient_of(name: str, network: str, policy: str, sr: Any, hr: Any) -> Any:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        content = content_loss({name: 1.0}, network=network)
        images = tf.Variable(sr)
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(content(images, hr))
        return tape.gradient(value, images).numpy().ravel()
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "network"), REACHABLE)
@pytest.mark.parametrize("nearness", [1.0, 0.2], ids=["bicubic", "near"])
def test_bfloat16_changes_the_gradient_by_less_than_a_fifth(
    name: str, network: str, nearness: float
) -> None:
    """On faces, for bicubic images and for ones five times nearer to HR.

    Seen: cosine at least 0.989 and an error of at most 15 % of the gradient's length, most of it
    from max pooling, which takes another pixel where two are equal in eight bits.
    """
    hr = faces(4, 96)
    sr = hr + nearness * (bicubic(hr) - hr)
    exact, rounded = (
        gradient_of(name, network, policy, sr, hr) for policy in ("float32", "mixed_bfloat16")
    )
    length = np.linalg.norm(exact)
    assert exact @ rounded / length / np.linalg.norm(rounded) > 0.98
    assert np.linalg.norm(rounded - exact) / length < 0.2
    assert np.linalg.norm(rounded) / length == pytest.approx(1, abs=0.08)
    assert (rounded != exact).any()
