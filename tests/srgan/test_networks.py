from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srgan.images import resize, to_uint8
from srgan.network_config import DiscriminatorConfig, GeneratorConfig
from srgan.networks.discriminator import build_discriminator
from srgan.networks.generator import build_generator
from srgan.networks.luma import to_luma, upscale_rgb
from srgan.networks.spectral import SpectralDense
from tests.srgan.pairs import scene


def small(**changes: Any) -> GeneratorConfig:
    return GeneratorConfig.model_validate({"filters": 8, "blocks": 2, **changes})


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> int:
    return inputs * outputs * kernel * kernel + outputs * bias


def batch_norm(filters: int) -> int:
    return 4 * filters


def test_srresnet_has_the_paper_s_number_of_parameters() -> None:
    """Ledig et al. 2017, figure 4, counted by hand from its k, n and s."""
    block = 2 * conv(64, 64, 3, bias=False) + 2 * batch_norm(64) + 64
    expected = (
        (conv(3, 64, 9) + 64)
        + 16 * block
        + (conv(64, 64, 3, bias=False) + batch_norm(64))
        + 2 * (conv(64, 256, 3) + 64)
        + conv(64, 3, 9)
    )
    model = build_generator(GeneratorConfig(architecture="srresnet"))
    assert model.count_params() == expected == 1_552_771


def test_the_faces_generator_has_five_blocks_and_transposed_convolutions() -> None:
    block = 2 * conv(64, 64, 3, bias=False) + 2 * batch_norm(64)
    expected = (
        conv(3, 64, 9)
        + 5 * block
        + (conv(64, 64, 3, bias=False) + batch_norm(64))
        + 2 * conv(64, 64, 4)
        + conv(64, 3, 9)
    )
    model = build_generator(GeneratorConfig(architecture="faces"))
    assert model.count_params() == expected == 570_691
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2DTranspose") == 2
    assert "PReLU" not in kinds


def test_the_discriminator_has_the_paper_s_number_of_parameters() -> None:
    widths = [(64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    expected = (
        conv(3, 64, 3)
        + sum(conv(i, o, 3, bias=False) + batch_norm(o) for i, o in widths)
        + (6 * 6 * 512 * 1024 + 1024)
        + (1024 + 1)
    )
    model = build_discriminator(DiscriminatorConfig(), 96)
    assert model.count_params() == expected == 23_567_361
    assert model(np.zeros((2, 96, 96, 3), np.float32)).shape == (2, 1)


def test_rrdb_has_the_reference_s_number_of_parameters() -> None:
    """Wang et al. 2018 with 23 blocks, width 64, growth 32: 16,697,987 in the authors' code."""
    dense = sum(conv(64 + 32 * i, 32, 3) for i in range(4)) + conv(64 + 32 * 4, 64, 3)
    around = conv(3, 64, 3) + conv(64, 64, 3) + 2 * conv(64, 64, 3) + conv(64, 64, 3)
    expected = 23 * 3 * dense + around + conv(64, 3, 3)
    model = build_generator(GeneratorConfig(architecture="rrdb"))
    assert model.count_params() == expected == 16_697_987
    # Twenty-three blocks of 1.2 times their input each must not start as noise far out of range.
    lr = scene(2, 16)[None].astype(np.float32) / 255
    sr = np.asarray(model(lr, training=False))
    assert sr.shape == (1, 64, 64, 3)
    assert 0.01 < sr.std() < 1


def test_dense_blocks_start_ten_times_smaller() -> None:
    config = small(architecture="rrdb", filters=32, growth=16, blocks=1)
    model = build_generator(config)
    kernel = model.get_layer("block1_dense2_conv3").get_weights()[0]
    assert kernel.shape == (3, 3, 64, 16)
    assert kernel.std() == pytest.approx(0.1 * (2 / (9 * 64)) ** 0.5, rel=0.05)


def test_the_output_is_the_architecture_s_own() -> None:
    for name, base, last in (
        ("faces", "none", "tanh"),
        ("srresnet", "none", "tanh"),
        ("rrdb", "none", "linear"),
    ):
        layer = build_generator(small(architecture=name, base=base)).get_layer("sr")
        assert layer.activation.__name__ == last


@pytest.mark.parametrize("head", ["dense", "pool"])
@pytest.mark.parametrize("spectral", [False, True], ids=["plain", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_discriminator_takes_its_crop(
    head: str, spectral: bool, norm: str, channels: int
) -> None:
    config = DiscriminatorConfig.model_validate(
        {"filters": 4, "head": head, "spectral": spectral, "norm": norm}
    )
    for size in (16, 47):
        model = build_discriminator(config, size, channels)
        images = np.random.default_rng(1).random((2, size, size, channels), np.float32)
        logits = np.asarray(model(images, training=False))
        assert logits.shape == (2, 1)
        again = keras.Model.from_config(model.get_config())
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(np.asarray(again(images, training=False)), logits)
    if head == "pool":
        assert model(np.zeros((1, 33, 20, channels), np.float32)).shape == (1, 1)


def test_spectral_normalisation_brings_every_kernel_to_one() -> None:
    """Miyato et al. 2018: after some iterations the largest singular value is 1 (by NumPy's SVD),
    however large the kernel itself is, which training alone changes."""
    model = build_discriminator(DiscriminatorConfig(filters=4, spectral=True, norm="none"), 16)
    for layer in model.layers:
        if layer.trainable_weights:
            layer.kernel.assign(layer.kernel * 7.0)
    kernels = [w.numpy() for w in model.trainable_weights]
    images = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
    forward = tf.function(lambda: model(images, training=True))
    for _ in range(100):
        forward()
    spectral = [layer for layer in model.layers if hasattr(layer, "spectral_u")]
    assert len(spectral) == 10
    for layer in spectral:
        kernel = layer.kernel.numpy().reshape(-1, layer.kernel.shape[-1])
        largest = np.linalg.svd(kernel, compute_uv=False)[0]
        effective = np.asarray(layer.normalised_kernel(training=False)).reshape(kernel.shape)
        np.testing.assert_allclose(effective, kernel / largest, rtol=0.02, atol=1e-4)
    for before, now in zip(kernels, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(now.numpy(), before)


def test_the_gradient_passes_through_the_singular_value() -> None:
    """A longer kernel is the same layer: the gradient along the kernel is zero."""
    layer = SpectralDense(5)
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32))
    for _ in range(50):
        layer(x, training=True)
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.sin(layer(x, training=False)))
    gradient = tape.gradient(y, layer.kernel.value).numpy()
    kernel = layer.kernel.numpy()
    cosine = (gradient * kernel).sum() / np.linalg.norm(gradient) / np.linalg.norm(kernel)
    assert abs(cosine) < 1e-3
    assert np.linalg.norm(gradient) > 1e-3


def test_over_the_bicubic_image_step_zero_is_bicubic() -> None:
    lr = resize(scene(3, 96), 24, 24)
    model = build_generator(small(base="bicubic", norm="none"))
    signed = np.asarray(model(lr[None].astype(np.float32) / 255, training=False))[0]
    ours, pillow = to_uint8((signed + 1) / 2), resize(lr, 96, 96)
    # Pillow rounds between its two passes, so a level here and there differs.
    assert np.abs(ours.astype(int) - pillow).max() <= 3
    assert np.mean(np.abs(ours.astype(int) - pillow) > 1) < 0.01


def test_luma_is_bt_601_at_full_range() -> None:
    colours = np.float32([[[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.3, 0.3, 0.3], [-1, -1, -1]]]])
    luma = np.asarray(to_luma(tf.constant(colours))).ravel()
    np.testing.assert_allclose(luma, [0.299, 0.587, 0.114, 0.3, -1], rtol=1e-6)


def test_a_grey_generator_brings_the_luma_and_the_bicubic_image_the_colour() -> None:
    """Against Pillow's own YCbCr, whose Y is replaced by the network's."""
    generator = build_generator(small(channels=1, base="none", norm="none"))
    lr = resize(scene(3, 48), 12, 12)
    unit = lr[None].astype(np.float32) / 255
    signed = np.asarray(upscale_rgb(generator, unit, 4))
    assert signed.shape == (1, 48, 48, 3)
    network = np.asarray(generator(np.asarray(to_luma(tf.constant(unit))), training=False))
    np.testing.assert_allclose(np.asarray(to_luma(tf.constant(signed))), network, atol=1e-5)

    large = Image.fromarray(resize(lr, 48, 48)).convert("YCbCr")
    y = Image.fromarray(to_uint8((network[0, ..., 0] + 1) / 2))
    expected = Image.merge("YCbCr", [y, *large.split()[1:]]).convert("RGB")
    difference = np.abs(to_uint8((signed[0] + 1) / 2).astype(int) - np.asarray(expected))
    # Pillow rounds Y, Cb and Cr to whole levels, and the bicubic image between its two passes.
    assert difference.max() <= 6
    assert difference.mean() < 1


@pytest.fixture
def bfloat16() -> Iterator[None]:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("upsample", ["subpixel", "shuffle"])
@pytest.mark.parametrize("spectral", [False, True], ids=["plain", "spectral"])
def test_mixed_precision_leaves_images_and_logits_in_float32(upsample: str, spectral: bool) -> None:
    generator = build_generator(small(upsample=upsample, base="bicubic"))
    discriminator = build_discriminator(
        DiscriminatorConfig(filters=4, head="pool", spectral=spectral), 32
    )
    sr = generator(np.zeros((1, 8, 8, 3), np.float32))
    assert keras.backend.standardize_dtype(sr.dtype) == "float32"
    assert keras.backend.standardize_dtype(discriminator(sr).dtype) == "float32"
    assert generator.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert discriminator.get_layer("conv3").compute_dtype == "bfloat16"
    assert {w.dtype for w in discriminator.weights} == {"float32"}
    no_base = build_generator(small(upsample=upsample, base="none"))
    assert no_base.get_layer("to_image").compute_dtype == "float32"
