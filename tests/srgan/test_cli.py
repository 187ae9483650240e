"""The command as people meet it: one clear line and an exit code where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.records import Dataset
from tests.srgan.pairs import make_dataset, make_training_dataset, scene
from tests.support import ROOT


def srgan(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "srgan.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode not in (0, 1), done.stdout + done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_training_dataset(tmp_path / "data")


def test_what_is_wrong_is_said_before_anything_starts(dataset: Dataset, tmp_path: Path) -> None:
    data = ["--data", dataset.place]
    assert_one_line(srgan("train", "--data", str(tmp_path / "no")), "no dataset here", "build one")
    assert_one_line(srgan("train", *data, "--set", "trainer.sede=1"), "unknown key 'trainer.sede'")
    assert_one_line(srgan("train", *data, "--preset", "best"), "no preset or file 'best'")
    dead = "http://127.0.0.1:9"
    done = srgan("train", *data, "--preset", "tiny", MLFLOW_TRACKING_URI=dead)
    assert_one_line(done, f"MLflow at {dead} does not answer", "start the server")


def test_a_model_that_could_not_be_measured_is_not_trained(tmp_path: Path) -> None:
    only_train = make_dataset(tmp_path / "train", [scene(1, 64)], split="train")
    done = srgan("train", "--data", only_train.place, "--preset", "tiny")
    assert_one_line(done, "the test split is empty")


def test_an_unknown_model_lists_what_there_is(tmp_path: Path) -> None:
    photo = tmp_path / "small.png"
    Image.fromarray(scene(2, 16)).save(photo)
    large = str(tmp_path / "large.png")
    done = srgan("upscale", str(photo), large, "--model", "champion")
    assert_one_line(done, "no model 'champion'", "no model is registered", "srgan train")
    done = srgan("upscale", str(photo), large, "--model", "best")
    assert_one_line(done, "no model 'best'", "models:/<name>/<version>", "a .keras file")
    done = srgan("upscale", str(photo), large, "--scale", "2")
    assert_one_line(done, "has no champion of scale 2", "enlarges 4 times")
    done = srgan("upscale", str(tmp_path / "gone.png"), str(tmp_path / "large.png"))
    assert_one_line(done, "gone.png: no such file or folder")


@pytest.mark.slow
def test_from_a_dataset_to_a_champion_to_a_larger_photo(dataset: Dataset, tmp_path: Path) -> None:
    command = ["train", "--data", dataset.place, "--preset", "tiny"]
    first = srgan(*command, "--set", "trainer.ema_decay=0")
    assert first.returncode == 0, first.stderr
    assert "models:/srgan-faces/1: " in first.stdout
    (run,) = Path(os.environ["SRGAN_WORKSPACE"]).glob("runs/*")
    # As if killed while it wrote the card, before the comparison that ends the evaluation.
    (run / "model" / ".part-abc").write_bytes(b"half a card")
    for name in ("comparison.json", "promotion.json"):
        (run / name).unlink(missing_ok=True)
    again = srgan(*command, "--set", "trainer.ema_decay=0")
    assert again.returncode == 0
    assert "models:/srgan-faces/1: " in again.stdout
    listed = srgan("models", "list").stdout
    assert "challenger" in listed
    assert "models:/srgan-faces/2" not in listed

    photo = tmp_path / "small.png"
    Image.fromarray(scene(2, 21)[:13]).save(photo)
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / "small.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    target = tmp_path / "large"
    done = srgan("upscale", str(tmp_path / "photos"), str(target), "--model", "challenger")
    assert done.returncode == 1
    assert "not upscaled: broken.png: corrupt" in done.stderr
    with Image.open(target / "small.png") as large:
        assert np.asarray(large).shape == (52, 84, 3)
    measured = srgan("evaluate", "--data", dataset.place, "--model", "models:/srgan-faces/1")
    assert measured.returncode == 0
    assert "psnr_y" in measured.stdout
    assert "not measured, because" in measured.stdout
