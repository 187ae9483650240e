"""Every preset parses, says what it is, builds its networks, and trains its first steps."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from srgan import weights
from srgan.config import load_run_config, preset_names
from srgan.metricslog import read_metrics
from srgan.networks.discriminator import build_discriminator
from srgan.networks.generator import build_generator
from srgan.records import Dataset
from srgan.runs import RunFolder
from srgan.schedule import learning_rate
from srgan.trainer import train
from srgan.workspace import Workspace
from tests.srgan.pairs import make_training_dataset
from tests.support import shared_data

PRESETS = preset_names()
# Narrow, shallow and short, but every layer, loss and switch of the preset is there.
SMALL = [
    "generator.filters=8",
    "generator.blocks=1",
    "generator.growth=4",
    "discriminator.filters=4",
    "pretrain.batch=2",
    "gan.batch=2",
    "trainer.max_minutes=0",
    "trainer.validate_images=1",
    "trainer.log_every=1",
    "trainer.deterministic=false",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_training_dataset(tmp_path_factory.mktemp("dataset"), train=4, side=128)


def heading(name: str) -> str:
    text = (resources.files("srgan") / "presets" / f"{name}.yaml").read_text("utf-8")
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:end])


def test_the_presets_that_people_are_promised_are_there() -> None:
    promised = {"tiny", "faces-cpu", "faces-gpu", "seed", "srresnet", "srgan", "esrgan"}
    assert promised <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_heading_says_what_it_takes_and_what_it_gives(name: str) -> None:
    text = heading(name)
    assert text.startswith(f"{name}: ")
    for part in ("Data", "Hardware", "Time", "Score"):
        assert re.search(rf"^{part} +\S", text, re.MULTILINE), part
    assert load_run_config(name).name == name


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_networks_are_built_at_their_full_size(name: str) -> None:
    config = load_run_config(name)
    generator = build_generator(config.generator)
    assert generator.count_params() > 0
    sr = generator(np.zeros((1, 8, 10, 3), np.float32))
    assert tuple(sr.shape) == (1, 32, 40, 3)
    if config.gan.steps:
        build_discriminator(config.discriminator, config.gan.hr_crop)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_first_steps_are_trained(
    name: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(shared_data() / "weights"))
    small = [*SMALL, "pretrain.steps=2"]
    if load_run_config(name).gan.steps:
        small.append("gan.steps=2")
    # All of VGG19 is a download.
    small.append("perceptual.network=vgg16")
    result = train(load_run_config(name, small), [dataset], Workspace(tmp_path))
    assert result.notes == []
    entries = list(read_metrics(RunFolder(result.folder).metrics))
    for stage, steps in result.steps.items():
        losses = [e["g/total"] for e in entries if e["stage"] == stage and "g/total" in e]
        assert len(losses) == steps == 2
        assert all(np.isfinite(losses))


def test_the_plans_of_the_papers_are_kept() -> None:
    srgan, esrgan = load_run_config("srgan").gan, load_run_config("esrgan")
    assert learning_rate(srgan, 99_999, srgan.steps) == pytest.approx(1e-4)
    assert learning_rate(srgan, 100_000, srgan.steps) == pytest.approx(1e-5)
    for step, rate in ((49_999, 1e-4), (50_000, 5e-5), (399_999, 6.25e-6)):
        assert learning_rate(esrgan.gan, step, esrgan.gan.steps) == pytest.approx(rate)
    for step, rate in ((199_999, 2e-4), (200_000, 1e-4), (999_999, 1.25e-5)):
        assert learning_rate(esrgan.pretrain, step, esrgan.pretrain.steps) == pytest.approx(rate)
