"""VGG: its weights, its layers and the one function that says what goes in and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from srgan.errors import ModelError
from srgan.networks.features import (
    VggWeights,
    build_features,
    layer_names,
    load_vgg,
    scaled_features,
)
from tests.srgan.pairs import scene
from tests.support import shared_data


def seeded_vgg(network: str, depth: int) -> VggWeights:
    """Weights of the right shapes for the first ``depth`` convolutions."""
    rng = np.random.default_rng(5)
    kernels, inputs = {}, 3
    for name in layer_names(network)[:depth]:  # type: ignore[arg-type]
        outputs = 4 * int(name[4])
        kernel = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (3, 3, inputs, outputs))
        kernels[name] = (kernel.astype(np.float32), np.zeros(outputs, np.float32))
        inputs = outputs
    return VggWeights(network, "caffe", kernels, (), "seeded.npz")  # type: ignore[arg-type]


def test_a_depth_that_the_file_lacks_is_one_clear_error() -> None:
    with pytest.raises(ModelError) as caught:
        build_features(seeded_vgg("vgg19", 5), ("conv5_4",))
    assert "seeded.npz: has no conv3_2, which conv5_4 needs (it reaches to conv3_1)" in str(
        caught.value
    )


def test_features_shrink_by_two_with_each_block() -> None:
    model = build_features(seeded_vgg("vgg16", 13), ("conv1_2", "conv3_3", "conv5_3"))
    shapes = [tuple(f.shape) for f in model(np.zeros((1, 32, 32, 3), np.float32))]
    assert shapes == [(1, 32, 32, 4), (1, 8, 8, 12), (1, 2, 2, 20)]
    assert not model.trainable_variables


def one_pixel_features(convention: str, *rgb: float, channels: int = 3) -> list[float]:
    """Features of one pixel under a first layer that hands each input channel on, plus 200."""
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.eye(3)
    kernels = {"conv1_1": (kernel, np.full(3, 200, np.float32))}
    weights = VggWeights("vgg19", convention, kernels, (), "identity")  # type: ignore[arg-type]
    signed = tf.constant(np.float32(rgb[:channels]).reshape(1, 1, 1, channels))
    (features,) = scaled_features(
        build_features(weights, ("conv1_1",)),
        weights.convention,
        signed,
    )
    return [float(x) for x in np.asarray(features).ravel()]


def test_caffe_features_are_of_bgr_in_0_to_255_and_scaled_by_the_paper_s_factor() -> None:
    expected = [
        (x - mean + 200) / 12.75 for x, mean in ((0, 103.939), (127.5, 116.779), (255, 123.68))
    ]
    assert one_pixel_features("caffe", 1, 0, -1) == pytest.approx(expected, rel=1e-6)


def test_torch_features_are_of_standardised_rgb() -> None:
    means, stds = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = [(x - m) / s + 200 for x, m, s in zip((1, 0.5, 0), means, stds, strict=True)]
    assert one_pixel_features("torch", 1, 0, -1) == pytest.approx(expected, rel=1e-6)


def test_a_grey_image_is_three_equal_channels() -> None:
    grey = one_pixel_features("torch", 0.2, channels=1)
    assert grey == one_pixel_features("torch", 0.2, 0.2, 0.2)


def convolved(x: Any, kernel: Any, bias: Any) -> Any:
    """3x3 convolution with zeros around, and ReLU, in NumPy."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return np.maximum(np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True) + bias, 0)


@pytest.mark.parametrize(("network", "golden"), [("vgg16", 2.93968), ("vgg19", 20.6825)])
def test_real_features_are_those_of_a_plain_computation(
    network: Any, golden: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """conv2_2 from the definition, in NumPy; its mean is pinned as well."""
    monkeypatch.setenv("SRGAN_WEIGHTS", str(shared_data() / "weights"))
    weights = load_vgg(network, "folder")
    pixels = scene(1, 16).astype(np.float64)
    if network == "vgg19":
        x = pixels[..., ::-1] - [103.939, 116.779, 123.68]
    else:
        x = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = convolved(convolved(x, *weights.kernels["conv1_1"]), *weights.kernels["conv1_2"])
    x = x.reshape(8, 2, 8, 2, -1).max(axis=(1, 3))
    x = convolved(convolved(x, *weights.kernels["conv2_1"]), *weights.kernels["conv2_2"])
    expected = x / 12.75 if network == "vgg19" else x
    signed = tf.constant(pixels[None] / 127.5 - 1, tf.float32)
    model = build_features(weights, ("conv2_2",))
    (features,) = scaled_features(model, weights.convention, signed)
    np.testing.assert_allclose(features[0], expected, rtol=1e-3, atol=1e-3 * expected.max())
    assert float(tf.reduce_mean(features)) == pytest.approx(golden, rel=1e-3)


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_real_weights_load_from_their_folder(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(shared_data() / "weights"))
    weights = load_vgg(network, "folder")
    assert list(weights.kernels) == layer_names(network)[: 13 if network == "vgg16" else 5]
    assert len(weights.heads) == (5 if network == "vgg16" else 0)
    assert weights.convention == ("torch" if network == "vgg16" else "caffe")


def test_without_weights_the_error_says_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"vgg16_conv_lpips\.npz.*SRGAN_WEIGHTS"):
        load_vgg("vgg16", "folder")
