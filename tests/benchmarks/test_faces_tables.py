"""The page of the faces benchmark says what the runs' files say, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srgan.config import load_run_config
from srgan.evaluation import GalleryItem
from srgan.runs import Stage, TrainResult
from srgan.scores import ImageRow, SliceScores
from tests.benchmarks import faces_runs, faces_sheet, faces_tables
from tests.benchmarks.faces_runs import Finished
from tests.srgan.tiny import evaluation_of


def finished(title: str, steps: dict[Stage, int], gain: float, *overrides: str) -> Finished:
    config = load_run_config("faces-cpu", ["trainer.max_minutes=2", *overrides])
    training = TrainResult(
        run_id=f"run-{title}",
        folder=Path("runs") / title,
        config=config,
        datasets=[],
        initial=None,
        steps=steps,
        seconds={stage: count * 0.2 for stage, count in steps.items()},
        precision="float32",
        replicas=1,
        notes=[],
    )
    bicubic = {"psnr_y": 29.0, "ssim_y": 0.85, "lpips_alex": 0.25}
    model = {"psnr_y": 29.0 + gain, "ssim_y": 0.88, "lpips_alex": 0.05}
    evaluation = evaluation_of(
        model, bicubic=bicubic, not_measured={"identity_distance": "dlib is not installed"}
    )
    sharpest = {
        "bicubic": bicubic | {"psnr_y": 28.0},
        "model": model | {"psnr_y": 28.5 + gain},
    }
    part = SliceScores(title="the sharpest quarter", images=3, systems=sharpest)
    evaluation = evaluation.model_copy(update={"slices": {"sharpest": part}})
    return Finished(title, training, evaluation)


def test_the_table_has_both_parts_and_gains_over_bicubic() -> None:
    run = finished("thirty minutes", {"pretrain": 600, "gan": 300}, 2.5)
    text = faces_tables.page([run], [], 12, "2 cores")
    assert "## Thirty minutes" in text
    assert "pre-training 600 steps in 2.0 minutes (0.200 s a step), then GAN 300 steps" in text
    assert "**All 12 photos of the test split**" in text
    assert "**The sharpest quarter: 3 photos**" in text
    assert "| bicubic | 29.00 dB | 0.8500 | 0.2500 |" in text
    assert "| GAN | 31.50 dB (+2.50) | 0.8800 (+0.0300) | 0.0500 (+0.2000) |" in text
    assert "| GAN | 31.00 dB (+3.00) |" in text
    assert "Not measured: identity_distance (dlib is not installed)." in text
    assert "Ablation" not in text


def test_the_ablation_is_sorted_and_says_what_is_missing() -> None:
    worse = finished("a", {"pretrain": 100}, -1.0, "generator.norm=batch", "generator.base=none")
    better = finished("b", {"pretrain": 400}, 3.0, "generator.upsample=resize")
    text = faces_tables.page([], [worse, better], 12, "2 cores")
    assert "2 of 12 combinations have been run." in text
    rows = [line for line in text.splitlines() if "| 0.200 |" in line]
    assert rows[0] == ("| none | resize | bicubic | 0.200 | 400 | +3.00 dB | +3.50 dB | 0.0500 |")
    assert rows[1].startswith("| batch | shuffle | none |")
    assert "have been run" not in faces_tables.page([], [worse, better], 2, "2 cores")


def test_the_ablation_is_every_combination_of_three_switches() -> None:
    plans = faces_runs.cells(5)
    seen = set()
    for plan in plans:
        config = plan.config()
        seen.add((config.generator.norm, config.generator.upsample, config.generator.base))
        assert config.trainer.max_minutes == 5
        assert plan.stage == "pretrain"
    assert len(seen) == len(plans) == 12
    pretrain, gan = faces_runs.recipes()
    assert pretrain.config().trainer.max_minutes == 25
    assert gan.config().gan.share / gan.config().pretrain.share == 0.6667 / 0.3333


def test_a_sheet_has_a_row_a_face_and_a_column_a_system() -> None:
    row = ImageRow(dataset="d", key="k", source="s", group="g", metrics={})
    hr = np.full((32, 32, 3), 200, np.uint8)
    pictures = {"bicubic": hr, "pretrain": hr, "model": hr}
    item = GalleryItem(row, np.full((8, 8, 3), 200, np.uint8), pictures, hr)
    page = np.asarray(faces_sheet.page([item, item]))
    assert (page[30:] == 200).all(axis=2).sum() == 2 * 5 * 256 * 256
