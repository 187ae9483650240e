from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from srgan.checkpoints import load_generator, save_generator
from srgan.errors import ModelError
from srgan.images import resize, to_uint8
from srgan.network_config import DiscriminatorConfig, GeneratorConfig
from srgan.networks.discriminator import build_discriminator
from srgan.networks.features import (
    VggWeights,
    build_features,
    layer_names,
    load_vgg,
    vgg_preprocess,
)
from srgan.networks.generator import build_generator
from tests.srgan.pairs import scene
from tests.support import shared_data


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


def test_a_pooling_discriminator_takes_any_size() -> None:
    model = build_discriminator(DiscriminatorConfig(filters=4, head="pool"), 96)
    for size in (32, 47):
        assert model(np.zeros((1, size, size, 3), np.float32)).shape == (1, 1)


SWITCHES = [
    {"architecture": name, "upsample": upsample, "norm": norm, "base": base}
    for name in ("faces", "srresnet", "edsr")
    for upsample in ("transpose", "subpixel", "resize", "shuffle")
    for norm, base in (("batch", "none"), ("none", "bicubic"))
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(s.values()))
def test_every_combination_upscales_any_size_and_survives_its_file(
    switches: dict[str, str], tmp_path: Path
) -> None:
    model = build_generator(small(**switches))
    lr = np.random.default_rng(0).random((2, 7, 11, 3), np.float32)
    sr = np.asarray(model(lr, training=False))
    assert sr.shape == (2, 28, 44, 3)
    assert sr.dtype == np.float32
    if switches["base"] == "none":
        assert np.abs(sr).max() <= 1
    save_generator(model, tmp_path / "generator.keras")
    again = load_generator(tmp_path / "generator.keras")
    np.testing.assert_array_equal(np.asarray(again(lr, training=False)), sr)
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("upsample", ["subpixel", "shuffle"])
def test_every_scale(scale: int, upsample: str) -> None:
    model = build_generator(small(scale=scale, upsample=upsample))
    assert model(np.zeros((1, 5, 4, 3), np.float32)).shape == (1, 5 * scale, 4 * scale, 3)


def test_one_channel() -> None:
    model = build_generator(small(channels=1))
    assert model(np.zeros((1, 5, 4, 1), np.float32)).shape == (1, 20, 16, 1)


def test_over_the_bicubic_image_step_zero_is_bicubic() -> None:
    lr = resize(scene(3, 96), 24, 24)
    model = build_generator(small(base="bicubic", norm="none"))
    signed = np.asarray(model(lr[None].astype(np.float32) / 255, training=False))[0]
    ours, pillow = to_uint8((signed + 1) / 2), resize(lr, 96, 96)
    # Pillow rounds between its two passes, so a level here and there differs.
    assert np.abs(ours.astype(int) - pillow).max() <= 3
    assert np.mean(np.abs(ours.astype(int) - pillow) > 1) < 0.01


@pytest.fixture
def bfloat16() -> Iterator[None]:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("upsample", ["subpixel", "shuffle"])
def test_mixed_precision_leaves_images_and_logits_in_float32(upsample: str) -> None:
    generator = build_generator(small(upsample=upsample, base="bicubic"))
    discriminator = build_discriminator(DiscriminatorConfig(filters=4, head="pool"), 32)
    sr = generator(np.zeros((1, 8, 8, 3), np.float32))
    assert keras.backend.standardize_dtype(sr.dtype) == "float32"
    assert keras.backend.standardize_dtype(discriminator(sr).dtype) == "float32"
    assert generator.get_layer("block1_conv1").compute_dtype == "bfloat16"


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


def test_preprocessing_is_that_of_the_weights() -> None:
    white = np.ones((1, 1, 1, 3), np.float32)
    caffe = np.asarray(vgg_preprocess(white, "caffe")).ravel()
    np.testing.assert_allclose(caffe, [255 - 103.939, 255 - 116.779, 255 - 123.68], rtol=1e-5)
    red = np.float32([[[[1, -1, -1]]]])
    assert np.asarray(vgg_preprocess(red, "caffe")).ravel()[2] == pytest.approx(255 - 123.68)
    torch = np.asarray(vgg_preprocess(white, "torch")).ravel()
    np.testing.assert_allclose(
        torch, [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5
    )


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_real_weights_load_from_their_folder(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(shared_data() / "weights"))
    weights = load_vgg(network, "folder")
    reach = list(weights.kernels)
    assert reach == layer_names(network)[: 13 if network == "vgg16" else 5]
    assert len(weights.heads) == (5 if network == "vgg16" else 0)
    features = build_features(weights, (reach[1],))
    # Edges excite the second convolution, a flat picture hardly does.
    flat = np.full((1, 32, 32, 3), 0.1, np.float32)
    busy = scene(1, 32)[None].astype(np.float32) / 127.5 - 1
    spread = [
        float(np.std(features(vgg_preprocess(x, weights.convention))[0, 4:-4, 4:-4]))
        if not isinstance(features(vgg_preprocess(x, weights.convention)), list)
        else float(np.std(features(vgg_preprocess(x, weights.convention))[0][0, 4:-4, 4:-4]))
        for x in (flat, busy)
    ]
    assert spread[1] > spread[0]


def test_without_weights_the_error_says_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"vgg16_conv_lpips\.npz.*SRGAN_WEIGHTS"):
        load_vgg("vgg16", "folder")
