from __future__ import annotations

import pytest
import yaml

from srgan.config import RunConfig, load_run_config, parse, preset_names
from srgan.dataset_config import DatasetConfig
from srgan.errors import ConfigError
from srgan.network_config import GeneratorConfig


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_survives_a_round_trip(name: str) -> None:
    config = load_run_config(name)
    again = parse(RunConfig, yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json"))), name)
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.sede=1", "tiny: unknown key 'trainer.sede'"),
        ("pretrain.batch=0", "tiny: pretrain.batch: Input should be greater than or equal to 1"),
        ("generator.scale=3", "generator.scale: Input should be 2, 4 or 8 (got 3)"),
        ("pretrain.content={lpips: 1}", "pretrain.content.lpips"),
        ("pretrain.hr_crop=33", "pretrain.hr_crop 33 is not a multiple of generator.scale 4"),
        ("trainer", "--set 'trainer': expected key=value"),
        ("name.first=1", "'name' has no keys below it"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run_config("tiny", [override])
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no preset or file 'best'; presets are: .*faces-cpu"):
        load_run_config("best")


def test_overrides_change_the_run_s_identity() -> None:
    plain = load_run_config("tiny")
    assert load_run_config("tiny", ["trainer.seed=7"]).digest() != plain.digest()
    assert load_run_config("tiny", [f"trainer.seed={plain.trainer.seed}"]) == plain


def test_an_architecture_names_defaults_that_any_key_overrides() -> None:
    paper = GeneratorConfig(architecture="srresnet")
    assert (paper.blocks, paper.norm, paper.activation, paper.base) == (
        16,
        "batch",
        "prelu",
        "none",
    )
    assert GeneratorConfig(architecture="srresnet", norm="none").norm == "none"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"hr_size": 130}, "hr_size 130 is not a multiple of scale 4"),
        ({"crop_size": 64}, "crop_size 64 is smaller than hr_size 128"),
        ({"crop": "tiles", "crop_size": 256}, "crop_size 256 is for crop center, not tiles"),
        ({"tile_stride": 64}, "tile_stride 64 is for crop tiles, not center"),
        ({"crop": "faces", "degradation": "paired"}, "crop faces turns and shrinks HR"),
        ({"crop_size": 256, "degradation": "paired"}, "would shrink HR to hr_size 128"),
        (
            {"crop": "tiles", "tile_stride": 98, "degradation": "paired"},
            "tile_stride 98 is not a multiple of scale 4",
        ),
        ({"group": "("}, "no regular expression"),
        ({"group": "abc"}, "exactly one capturing group"),
    ],
)
def test_contradicting_dataset_settings_are_refused(settings: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match="dataset: ") as caught:
        parse(DatasetConfig, settings, "dataset")
    assert line in str(caught.value)


def test_on_and_off_are_words() -> None:
    """PyYAML alone would make booleans of them, which these settings refuse."""
    settings = [
        "trainer.xla=on",
        "evaluation.identity=off",
        "trainer.flip=off",
        "trainer.rotate=true",
    ]
    config = load_run_config("tiny", settings)
    assert (config.trainer.xla, config.evaluation.identity) == ("on", "off")
    assert (config.trainer.flip, config.trainer.rotate) == (False, True)
