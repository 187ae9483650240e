"""A generator of one channel, from training to the model that upscales colour pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.checkpoints import load_generator
from srgan.config import load_run_config
from srgan.data import Pair
from srgan.export import export_model, load_exported
from srgan.images import resize
from srgan.metricslog import read_metrics
from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.runs import RunFolder
from srgan.trainer import train
from srgan.validation import upscale_pairs
from srgan.workspace import Workspace
from tests.srgan.pairs import make_training_dataset, scene


def test_over_the_bicubic_image_step_zero_is_bicubic_in_colour() -> None:
    config = GeneratorConfig.model_validate(
        {"channels": 1, "filters": 4, "blocks": 1, "base": "bicubic"}
    )
    hr = scene(3, 64)
    lr = resize(hr, 16, 16)
    (sr,) = upscale_pairs(build_generator(config), [Pair("key", "source", lr, hr)])
    # Pillow rounds between its two passes, so a level here and there differs.
    assert np.abs(sr.astype(int) - resize(lr, 64, 64)).max() <= 3


@pytest.mark.slow
def test_a_grey_run_ends_with_a_model_for_colour_pictures(tmp_path: Path) -> None:
    dataset = make_training_dataset(tmp_path / "data")
    config = load_run_config("tiny", ["generator.channels=1", "discriminator.spectral=true"])
    result = train(config, [dataset], Workspace(tmp_path / "workspace"))
    run = RunFolder(result.folder)
    generator = load_generator(run.generator)
    assert generator.input_shape[-1] == 1
    # The residual starts at zero: at step 0 the luma is bicubic's, so the figure is, too.
    figures = [e["val/psnr_y"] for e in read_metrics(run.metrics) if "val/psnr_y" in e]
    assert all(20 < psnr < 60 for psnr in figures)
    with Image.open(run.animation) as animation:
        assert animation.mode in ("RGB", "RGBA")
    export_model(generator, tmp_path / "model")
    model = load_exported(tmp_path / "model", unverified=True)
    lr = resize(scene(3, 64), 16, 16)[None]
    sr = model(lr)
    assert sr.shape == (1, 64, 64, 3)
    pair = Pair("key", "source", lr[0], np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(sr, upscale_pairs(generator, [pair]), atol=1)
    # Colours are the bicubic image's: far apart channels stay far apart.
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 200
    difference = model(red).astype(int)[..., 0] - model(red)[..., 2]
    assert abs(float(difference.mean()) - 200) < 8
