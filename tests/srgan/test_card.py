from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from srgan.card import (
    CARD,
    CARD_TEXT,
    ModelCard,
    card_text,
    make_card,
    read_card,
    write_card,
)
from srgan.config import RunConfig, parse
from srgan.errors import ModelError
from srgan.records import Dataset
from tests.srgan.pairs import make_dataset, make_training_dataset, scene
from tests.srgan.tiny import evaluation_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("faces-000000000000")
    return make_dataset(folder, [scene(1, 16)], split="train")


@pytest.fixture(scope="module")
def card(dataset: Dataset) -> ModelCard:
    config = parse(
        RunConfig,
        {
            "gan": {
                "adversarial": "relativistic",
                "content": {"l1": 1, "vgg_multi": 0.5},
                "steps": 7,
            }
        },
        "test",
    )
    evaluation = evaluation_of(
        {"psnr_y": 30.125, "lpips_alex": 0.0512},
        bicubic={"psnr_y": 28.0, "lpips_alex": 0.25},
        not_measured={"ssim_y": "pictures are smaller than its window"},
    )
    steps = {"pretrain": 10_000, "gan": 7}
    return make_card(
        config, [dataset], evaluation, run_id="run-1", steps=steps, notes=["a note of the run"]
    )


def test_the_card_says_what_the_model_is(card: ModelCard, dataset: Dataset) -> None:
    assert card.scale == 4
    assert card.losses["gan"]["adversarial"] == "relativistic"
    assert card.datasets[0].digest == dataset.digest
    assert card.datasets[0].degradation == "bicubic x4, 64 to 16 px"
    assert card.metrics is not None
    assert card.metrics.systems["bicubic"]["psnr_y"] == 28.0
    assert "BT.601" in card.metrics.protocol["psnr_y"]
    assert "not for identification" in " ".join(card.limits).lower()


def test_a_stage_without_steps_has_no_losses() -> None:
    config = parse(RunConfig, {"gan": {"steps": 0}}, "test")
    card = make_card(config, [], None, run_id="run-2", steps={"pretrain": 1})
    assert set(card.losses) == {"pretrain"}
    assert card.metrics is None


def test_writing_hashes_every_file_and_reading_gives_the_same_card(
    card: ModelCard, tmp_path: Path
) -> None:
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    written = write_card(tmp_path, card)
    assert read_card(tmp_path) == written
    assert written.files["saved_model/saved_model.pb"] == hashlib.sha256(b"graph").hexdigest()
    assert set(written.files) == {"saved_model/saved_model.pb", CARD_TEXT}
    assert written.digest == hashlib.sha256((tmp_path / CARD).read_bytes()).hexdigest()
    assert write_card(tmp_path, card).digest == written.digest


def test_the_readable_card_has_figures_with_bicubic_beside(card: ModelCard, tmp_path: Path) -> None:
    write_card(tmp_path, card)
    text = (tmp_path / CARD_TEXT).read_text("utf-8")
    assert "| metric | bicubic | model |" in text
    assert "| psnr_y | 28.00 dB | 30.12 dB |" in text
    assert "| lpips_alex | 0.2500 | 0.0512 |" in text
    assert "Not measured: ssim_y (pictures are smaller than its window)." in text
    assert "Stage gan: l1 x 1, vgg_multi x 0.5, adversarial (relativistic) x 0.001" in text
    assert "Note: a note of the run" in text
    assert "invents plausible detail" in text


def test_a_damaged_card_is_one_line(card: ModelCard, tmp_path: Path) -> None:
    assert read_card(tmp_path) is None
    write_card(tmp_path, card)
    tree = json.loads((tmp_path / CARD).read_text("utf-8"))
    tree["scale"] = 0
    (tmp_path / CARD).write_text(json.dumps(tree), "utf-8")
    with pytest.raises(ModelError, match=r"damaged model card: scale: .* \(got 0\)"):
        read_card(tmp_path)


def test_where_a_model_comes_from_is_in_the_readable_card(card: ModelCard) -> None:
    told = card.model_copy(
        update={
            "title": "Faces x4",
            "training": {"Time": "3.0 hours in float32", "Hardware": "2 cores"},
            "data_terms": ("Press photos, for research.",),
        }
    )
    text = card_text(told)
    assert text.startswith("# Faces x4\n")
    assert card_text(card).startswith("# Face super-resolution x4\n")
    assert "* Steps of gan: 7\n* Time: 3.0 hours in float32\n* Hardware: 2 cores\n" in text
    assert "## Data\n\nPress photos, for research.\n\n| dataset" in text


def test_a_realistic_degradation_is_told_with_its_strength(tmp_path: Path) -> None:
    settings = {"degradation": "realistic", "hr_size": 64, "crop": "none"}
    real = make_training_dataset(tmp_path / "real-000000000000", train=1, settings=settings)
    card = make_card(RunConfig(), [real], None, run_id="run-3", steps={})
    assert card.datasets[0].degradation == (
        "realistic x4, 64 to 16 px (blur 0.2-1.8 px, noise 1-12 grey levels, JPEG 40-95; then "
        "blur 0.2-1 px, noise 1-8 grey levels, JPEG 50-95)"
    )
