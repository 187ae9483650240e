from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from srgan import metrics, scores, weights
from srgan.config import EvaluationConfig
from srgan.errors import DatasetError, ModelError
from srgan.evaluation import evaluate, fair_sample, gallery, ranked, read_evaluation, table
from srgan.evaluation import write_evaluation as write
from srgan.lpips import load_lpips_alex
from srgan.records import Dataset
from srgan.scores import Evaluation
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, nearest, scene, sharpened
from tests.support import shared_data

CONFIG = EvaluationConfig(lpips="off", identity="off")
SYSTEMS = {"model": sharpened, "champion": nearest}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    pictures = [scene(seed, 48 if seed % 3 else 64) for seed in range(11)]
    return make_dataset(tmp_path_factory.mktemp("dataset"), pictures)


@pytest.fixture(scope="module")
def evaluation(dataset: Dataset, workspace: Workspace) -> Evaluation:
    return evaluate(SYSTEMS, [dataset], CONFIG, workspace=workspace)


def test_every_picture_is_measured_with_every_system(
    dataset: Dataset, evaluation: Evaluation
) -> None:
    assert list(evaluation.systems) == ["bicubic", "model", "champion"]
    assert evaluation.images == len(evaluation.per_image) == 11
    assert len({row.key for row in evaluation.per_image}) == 11
    assert evaluation.dataset_digests == [dataset.digest]
    for system, means in evaluation.systems.items():
        assert set(means) == {"psnr_y", "ssim_y", "psnr_rgb"}
        for metric, mean in means.items():
            values = [row.metrics[system][metric] for row in evaluation.per_image]
            assert mean == pytest.approx(np.mean(values))


def test_figures_belong_to_their_picture_though_shapes_are_mixed(
    evaluation: Evaluation, workspace: Workspace, dataset: Dataset
) -> None:
    items = gallery(evaluation, SYSTEMS, [dataset], 11, workspace=workspace)
    assert len({item.hr.shape for item in items}) == 2
    for item in items:
        for system, picture in item.pictures.items():
            expected = metrics.psnr_y(item.hr, picture, 4)
            assert item.row.metrics[system]["psnr_y"] == pytest.approx(expected)


def test_better_and_worse_systems_are_told_apart(evaluation: Evaluation) -> None:
    assert evaluation.gain("psnr_y", "champion") < 0
    assert evaluation.gain("psnr_y", "model") > evaluation.gain("psnr_y", "champion")
    assert scores.wins(evaluation, "psnr_y", "model", "champion") == 11


def test_json_round_trip(evaluation: Evaluation, tmp_path: Path) -> None:
    write(str(tmp_path), evaluation)
    found = read_evaluation(str(tmp_path))
    assert found == evaluation
    assert list(found.systems) == ["bicubic", "model", "champion"]
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(ModelError, match=r"evaluation.json: damaged"):
        read_evaluation(str(tmp_path))


def test_csv_has_a_row_a_picture_and_runs_nothing_in_a_spreadsheet(
    workspace: Workspace, tmp_path: Path
) -> None:
    sources = ['=HYPERLINK("x")', 'a, "b"\nc.jpg', "é/ü.jpg"]
    dataset = make_dataset(tmp_path / "d", [scene(s, 48) for s in range(3)], sources=sources)
    measured = evaluate(SYSTEMS, [dataset], CONFIG, workspace=workspace)
    write(str(tmp_path), measured)
    with (tmp_path / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["source"] for row in rows} == {f"'{sources[0]}", *sources[1:]}
    for row, image in zip(rows, measured.per_image, strict=True):
        assert float(row["model/psnr_y"]) == image.metrics["model"]["psnr_y"]


def test_ranking_goes_from_best_to_worst_and_the_sample_holds_both(evaluation: Evaluation) -> None:
    rows = ranked(evaluation)
    gains = [scores.image_gain(row, "psnr_y", "model") for row in rows]
    assert gains == sorted(gains, reverse=True)
    assert scores.best_images(evaluation, 2) == rows[:2]
    assert scores.worst_images(evaluation, 2) == [rows[-1], rows[-2]]
    assert fair_sample(evaluation, 3) == [rows[0], rows[5], rows[10]]
    assert fair_sample(evaluation, 1) == [rows[5]]
    assert fair_sample(evaluation, 0) == []
    assert fair_sample(evaluation, 99) == rows


def test_several_datasets_share_the_limit_and_keep_equal_pictures_apart(
    workspace: Workspace, tmp_path: Path
) -> None:
    pictures = [scene(seed, 48) for seed in range(8)]
    one = make_dataset(tmp_path / "one", pictures)
    other = make_dataset(tmp_path / "other", pictures[:4])
    seen: list[tuple[int, int]] = []
    measured = evaluate(
        SYSTEMS,
        [one, other],
        EvaluationConfig(lpips="off", identity="off", max_images=6),
        workspace=workspace,
        progress=lambda done, total: seen.append((done, total)),
    )
    counts = [sum(r.dataset == d.digest for r in measured.per_image) for d in (one, other)]
    assert counts == [4, 2]
    assert seen[-1] == (6, 6)
    everything = evaluate(SYSTEMS, [one, other], CONFIG, workspace=workspace)
    items = gallery(everything, SYSTEMS, [one, other], 12, workspace=workspace)
    assert len({(item.row.dataset, item.row.key) for item in items}) == 12


def test_batches_are_bounded(workspace: Workspace, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, [scene(seed % 3, 48) for seed in range(35)])
    sizes: list[int] = []

    def system(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return nearest(batch)

    evaluate({"model": system}, [dataset], CONFIG, workspace=workspace)
    assert sizes == [32, 3]


def test_an_empty_split_is_one_line(dataset: Dataset, workspace: Workspace) -> None:
    config = EvaluationConfig(split="val")
    with pytest.raises(DatasetError, match=r"the val split is empty; build with"):
        evaluate(SYSTEMS, [dataset], config, workspace=workspace)
    with pytest.raises(DatasetError, match="no dataset"):
        evaluate(SYSTEMS, [], CONFIG, workspace=workspace)


def test_a_changed_shard_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, [scene(1, 48)], shards=1)
    shard = tmp_path / dataset.manifest.shards[0].name
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match="changed since it was built"):
        evaluate(SYSTEMS, [dataset], CONFIG, workspace=workspace)


def test_scales_are_never_mixed(dataset: Dataset, workspace: Workspace, tmp_path: Path) -> None:
    double = make_dataset(tmp_path, [scene(1, 48)], scale=2)
    with pytest.raises(DatasetError, match=r"different scales: x4 .*, x2 "):
        evaluate(SYSTEMS, [dataset, double], CONFIG, workspace=workspace)
    with pytest.raises(
        ModelError, match=r"model: makes uint8 \[1, 96, 96, 3\] of \[1, 24, 24, 3\]"
    ):
        evaluate(SYSTEMS, [double], CONFIG, workspace=workspace)


def test_what_cannot_be_measured_is_named_with_the_reason(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    dataset = make_dataset(tmp_path / "d", [scene(1, 48), scene(2, 16)])
    measured = evaluate(SYSTEMS, [dataset], EvaluationConfig(), workspace=workspace)
    assert set(measured.systems["model"]) == {"psnr_y", "psnr_rgb"}
    assert "lpips_alex.npz is in none of" in measured.not_measured["lpips_alex"]
    assert "side of 16 pixels and 19 are needed" in measured.not_measured["ssim_y"]
    assert measured.target == "psnr_y"
    text = "\n".join(" ".join(row) for row in table(measured))
    assert "not measured, because a picture has a side of 16" in text
    write(str(tmp_path), measured)
    assert read_evaluation(str(tmp_path)) == measured


def test_lpips_is_measured_where_its_weights_are(
    dataset: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shared_data()
    monkeypatch.setenv(weights.ENVIRONMENT, str(data / "weights"))
    config = EvaluationConfig(identity="off")
    measured = evaluate(SYSTEMS, [dataset], config, workspace=workspace)
    assert set(measured.not_measured) == {"identity_distance", "identity_kept"}
    assert measured.target == "lpips_alex"
    best = ranked(measured)[0]
    assert best.metrics["model"]["lpips_alex"] < best.metrics["bicubic"]["lpips_alex"]
    item = gallery(measured, SYSTEMS, [dataset], 2, workspace=workspace)[0]
    expected = load_lpips_alex()(item.hr[None], item.pictures["model"][None]).item()
    assert best.metrics["model"]["lpips_alex"] == pytest.approx(expected, rel=1e-4)


def test_the_table_marks_the_best_value(evaluation: Evaluation) -> None:
    rows = table(evaluation)
    assert rows[0] == ["metric", "better", "bicubic", "model", "champion"]
    for row in rows[1:4]:
        assert sum(cell.endswith(" *") for cell in row) == 1
        assert not row[4].endswith("*")
