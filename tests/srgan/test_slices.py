from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan.card import card_text, make_card
from srgan.config import EvaluationConfig, RunConfig
from srgan.evaluation import evaluate
from srgan.records import Dataset, read_record_infos
from srgan.scores import Evaluation, table
from srgan.slices import SHARPEST, memberships
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, nearest, scene

CONFIG = EvaluationConfig(lpips="off", identity="off")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """Twelve pictures in two datasets, one of which is in both."""
    root = tmp_path_factory.mktemp("datasets")
    first = make_dataset(root / "one", [scene(seed, 48) for seed in range(8)])
    names = ["person-0/photo 0.jpg", *(f"x/{i}.jpg" for i in range(3))]
    pictures = [scene(seed, 48) for seed in (0, 20, 21, 22)]
    return [first, make_dataset(root / "two", pictures, sources=names)]


@pytest.fixture(scope="module")
def evaluation(datasets: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    return evaluate({"model": nearest}, datasets, CONFIG, workspace=workspace)


def test_the_sharpest_quarter_is_that_of_all_datasets_together(
    datasets: list[Dataset], evaluation: Evaluation
) -> None:
    sharpness = {
        (dataset.digest, info.key): info.sharpness
        for dataset in datasets
        for info in read_record_infos(dataset)
    }
    inside = {(r.dataset, r.key) for r in evaluation.per_image if SHARPEST in r.slices}
    assert len(inside) == evaluation.slices[SHARPEST].images == 3
    assert min(sharpness[r] for r in inside) >= max(sharpness[r] for r in sharpness.keys() - inside)


def test_its_means_are_those_of_its_pictures(evaluation: Evaluation) -> None:
    part = evaluation.slices[SHARPEST]
    for system, means in part.systems.items():
        assert list(means) == list(evaluation.systems[system])
        for metric, mean in means.items():
            values = [
                row.metrics[system][metric]
                for row in evaluation.per_image
                if SHARPEST in row.slices
            ]
            assert mean == pytest.approx(np.mean(values))
    assert part.systems["model"]["psnr_y"] != evaluation.systems["model"]["psnr_y"]


def test_it_does_not_depend_on_how_many_are_measured(
    datasets: list[Dataset], evaluation: Evaluation, tmp_path: Path
) -> None:
    few = CONFIG.model_copy(update={"max_images": 6})
    measured = evaluate({"model": nearest}, datasets, few, workspace=Workspace(tmp_path))
    of_all = {(row.dataset, row.key): row.slices for row in evaluation.per_image}
    assert all(row.slices == of_all[row.dataset, row.key] for row in measured.per_image)


def test_an_empty_split_has_no_slices(datasets: list[Dataset]) -> None:
    assert memberships(datasets, "val") == ([], {})


def test_table_and_card_show_it(datasets: list[Dataset], evaluation: Evaluation) -> None:
    names = [row[0] for row in table(evaluation)]
    assert names.index("psnr_y") < names.index("sharpest/psnr_y")
    card = make_card(RunConfig(), datasets, evaluation, run_id="r", steps={"pretrain": 1})
    assert "On the sharpest quarter, 3 images:" in card_text(card)
