"""The script that makes the packaged models, from photos to a card, in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.models import publish
from infra.models.make import main
from infra.models.recipe import read_recipe, recipe_names
from infra.models.slices import TimeSlice
from srgan.degrade import degrade
from srgan.errors import ConfigError, ModelError
from srgan.packed import SUMS, load_packed
from srgan.scores import BASELINE, MODEL, PRETRAIN
from srgan.shipped import DEFAULT
from tests.srgan.pairs import scene
from tests.srgan.tiny import evaluation_of
from tests.support import shared_data


def test_every_recipe_is_complete() -> None:
    assert DEFAULT in recipe_names()
    for name in recipe_names():
        recipe = read_recipe(name)
        config = recipe.run_config(None, ())
        assert config.name == name
        assert config.generator.scale == 4
        # A time budget would make the weights those of the machine.
        assert config.trainer.max_minutes == 0
        assert config.perceptual.when_missing == "fail"
        assert "Labeled Faces in the Wild" in recipe.data_terms[0]
        assert {dataset.crop_size for dataset in recipe.datasets} >= {128}
    with pytest.raises(ConfigError, match="no recipe 'cats'; there is faces-x4"):
        read_recipe("cats")


def test_a_person_has_the_last_word() -> None:
    config = read_recipe("faces-x4").run_config("tiny", ("trainer.seed=7", "name=mine"))
    assert (config.name, config.trainer.seed, config.pretrain.steps) == ("mine", 7, 12)


def test_the_real_recipe_degrades_each_photo_in_several_ways() -> None:
    hr = scene(3, 128)
    pictures = [degrade(hr, config, "key") for config in read_recipe(DEFAULT).datasets]
    clean = degrade(hr, read_recipe("faces-x4").datasets[0], "key").astype(float)
    distances = [np.abs(picture - clean).mean() for picture in pictures]
    mild, strong, small, same = distances
    assert same == 0
    assert mild == small
    assert 0.5 < mild < strong < 25


def test_systems_are_renamed_or_left_out() -> None:
    evaluation = evaluation_of({"psnr_y": 30.0})
    evaluation.systems["float32"] = {"psnr_y": 31.0}
    kept = publish._only(evaluation, {MODEL: None, "float32": MODEL})
    assert kept.systems[MODEL] == {"psnr_y": 31.0}
    assert set(kept.systems) == {BASELINE, MODEL}
    assert set(publish._only(evaluation, {"float32": None}).systems) == {BASELINE, MODEL}


def test_an_unfinished_run_of_other_settings_is_told(tmp_path: Path) -> None:
    config = read_recipe("faces-x4").run_config(None, ())
    mine, old, done = (tmp_path / f"faces-x4-{digit * 12}" for digit in "012")
    for folder in (mine, old, done, tmp_path / f"faces-x4-real-{'3' * 12}"):
        folder.mkdir()
    (done / "training.json").write_text("{}")
    said: list[str] = []
    TimeSlice(0, said.append).on_start(mine.name, mine, config)
    assert [line.partition(" is unfinished")[0] for line in said] == [
        f"training: {mine}",
        f"note: {old}",
    ]


@pytest.mark.slow
def test_a_model_is_made_in_pieces_and_again_as_float32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = str(shared_data() / "faces" / "lfw" / "A[a-l]*")
    output = tmp_path / "models"
    command = [
        *("faces-x4", "--faces", photos, "--preset", "tiny", "--output", str(output)),
        *("--set", "pretrain.steps=120", "--set", "trainer.validate_every=60"),
    ]
    assert main([*command, "--max-minutes", "0.0001"]) == 75
    shown = capsys.readouterr().out
    assert "minutes of this piece are over" in shown
    assert "the same command continues" in shown
    assert not output.exists()

    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "pretrain 120  val/psnr_y" in shown
    assert "float16 changes psnr_y by" in shown
    model = load_packed(output / "faces-x4")
    card = model.card
    assert card is not None
    assert card.steps == {"pretrain": 120, "gan": 6}
    assert card.metrics is not None
    assert set(card.metrics.systems) == {BASELINE, PRETRAIN, MODEL}
    assert card.training["Weights"].startswith("float16, computed in float32 (changes: psnr_y ")
    assert card.datasets[0].place.startswith("faces-x4-")
    # Nothing of the machine that it was made on.
    text = "".join(path.read_text("utf-8") for path in (output / "faces-x4").glob("*.json"))
    assert str(tmp_path) not in text
    assert photos not in text

    sums = (output / "faces-x4" / SUMS).read_bytes()
    assert main(command) == 0
    assert (output / "faces-x4" / SUMS).read_bytes() == sums

    monkeypatch.setattr(publish, "NOISE", dict.fromkeys(publish.NOISE, -1.0))
    assert main(command) == 0
    exact = load_packed(output / "faces-x4").card
    assert exact is not None
    assert exact.training["Weights"] == "float32, computed in float32"
    assert json.loads((output / "faces-x4" / "model_card.json").read_bytes())["title"] == card.title
    assert [entry.name for entry in output.iterdir()] == ["faces-x4"]


def test_a_model_that_is_too_large_or_no_better_is_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "faces-x4"
    folder.mkdir()
    (folder / "weights.npz").write_bytes(bytes(publish.MAX_BYTES + 1))
    with pytest.raises(ModelError, match="a packaged model has 8,388,608 at most"):
        publish._check(folder, evaluation_of({"psnr_y": 30.0}))
    (folder / "weights.npz").write_bytes(b"small")
    with pytest.raises(ModelError, match=r"psnr_y 27\.0000 is no better than bicubic's 28"):
        publish._check(folder, evaluation_of({"psnr_y": 27.0}))
    publish._check(folder, evaluation_of({"psnr_y": 29.0}))
