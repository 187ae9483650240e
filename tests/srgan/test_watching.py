"""What a person sees of a run: curves, animation, progress in the terminal, the fixed faces."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from rich.console import Console
from typer.testing import CliRunner

from srgan import animation, curves
from srgan.cli import app
from srgan.config import preset_names
from srgan.data import PairSource
from srgan.errors import TrainingError
from srgan.examples import choose_examples
from srgan.images import Pixels
from srgan.progress import TrainingBar, TrainProgress, describe
from srgan.quality import sharpness
from srgan.runs import Stage
from tests.srgan.pairs import make_dataset, scene


def log(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def a_run(*, gan: int = 60) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for step in range(20, 2001, 20):
        entries.append({"stage": "pretrain", "step": step, "g/content": 0.05 * step**-0.2})
        entries[-1] |= {"g/total": entries[-1]["g/content"], "learning_rate": 8e-4}
    entries += [
        {"stage": "pretrain", "step": step, "val/psnr_y": 27 + step / 1000, "val/lpips_alex": 0.2}
        for step in (0, 1000, 2000)
    ]
    for step in range(20, 20 * gan + 1, 20):
        losses = {"g/content": 0.1, "g/adversarial": 0.7, "g/total": 0.11, "d/real": 0.3}
        entries.append({"stage": "gan", "step": step, **losses, "d/fake": 0.3, "d/p_real": 0.5})
    return entries


def picture(entries: Sequence[dict[str, Any]], folder: Path) -> Pixels:
    folder.mkdir(exist_ok=True)
    curves.draw(log(folder / "metrics.jsonl", entries), folder / "curves.png")
    with Image.open(folder / "curves.png") as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def count(pixels: Pixels, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=2) < 12).sum())


def test_curves_have_a_panel_for_each_kind_of_figure(tmp_path: Path) -> None:
    both = picture(a_run(), tmp_path / "both")
    pretrain = [entry for entry in a_run() if entry["stage"] == "pretrain"]
    one = picture(pretrain, tmp_path / "one")
    assert both.shape[1] == one.shape[1] > 1000
    # The discriminator has its own panels, and only where there is one.
    assert both.shape[0] > one.shape[0] + 300
    assert count(both, "#059669") > 300
    assert count(one, "#059669") == 0


def test_curves_mark_where_a_guard_stepped_in(tmp_path: Path) -> None:
    calm = [entry for entry in a_run() if entry["stage"] == "pretrain"]
    alarmed = [
        *calm,
        {"stage": "pretrain", "step": 900, "guard/returns": 1.0, "guard/slow_down": 0.5},
    ]
    before, after = picture(calm, tmp_path / "a"), picture(alarmed, tmp_path / "b")
    assert before.shape == after.shape
    reddish = (after[..., 0] - after[..., 1] > 60) & (after[..., 0] - after[..., 2] > 60)
    columns = np.flatnonzero(reddish.sum(axis=0) > 300)
    assert len(columns) > 0
    # At 900 of 2,000 steps of the axis, which lies between 7.5 and 88 % of the width.
    assert columns.mean() / after.shape[1] == pytest.approx(0.075 + 0.805 * 0.45, abs=0.01)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"stage": "pretrain", "step": 0, "val/psnr_y": 27.0}],
        [{"stage": "gan", "step": 1, "g/content": 0.0, "d/real": float("nan"), "d/r1": 0.0}],
        [{"stage": "gan", "step": 3, "g/content": 0.1, "guard/discriminator_collapse": 1.0}],
    ],
)
def test_curves_of_a_run_that_has_hardly_begun(
    entries: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert picture(entries, tmp_path / "run").shape[0] > 300


def test_of_a_step_that_was_done_again_the_last_value_counts(tmp_path: Path) -> None:
    entries = [{"stage": "pretrain", "step": s, "g/content": 0.1} for s in range(1, 40)]
    wild = [*entries, {"stage": "pretrain", "step": 20, "g/content": 99.0}]
    back = [*wild, {"stage": "pretrain", "step": 20, "g/content": 0.1}]
    calm, rolled_back = picture(entries, tmp_path / "a"), picture(back, tmp_path / "b")
    np.testing.assert_array_equal(calm[40:], rolled_back[40:])


def a_film(folder: Path, frames: int, *, side: int = 32) -> Path:
    folder.mkdir()

    def strip(seed: int, size: int) -> Image.Image:
        return Image.fromarray(np.concatenate([scene(seed + i, size) for i in range(3)], axis=1))

    strip(0, side // 4).save(folder / "lr.png")
    strip(0, side).save(folder / "hr.png")
    for number in range(frames):
        stage = "pretrain" if number < frames * 2 / 3 else "gan"
        strip(number, side).save(folder / f"{stage}-{number * 10:07d}.png")
    return folder


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_the_animation_shows_every_frame_and_ends_with_a_rest(kind: str, tmp_path: Path) -> None:
    target = tmp_path / f"progress.{kind}"
    animation.write(a_film(tmp_path / "samples", 9), target)
    with Image.open(target) as film:
        assert film.format == kind.upper()
        assert film.n_frames == 9
        durations = []
        for frame in range(9):
            film.seek(frame)
            film.load()
            durations.append(film.info["duration"])
        assert film.info["loop"] == 0
    assert durations[0] > durations[1] == durations[7]
    assert durations[8] >= 2000


def test_long_films_are_thinned_and_keep_both_ends(tmp_path: Path) -> None:
    animation.write(a_film(tmp_path / "samples", 120, side=16), tmp_path / "p.webp")
    with Image.open(tmp_path / "p.webp") as film:
        assert film.n_frames == 80


@pytest.mark.parametrize("frames", [1, 2])
def test_a_film_of_a_run_that_was_stopped_at_once(frames: int, tmp_path: Path) -> None:
    animation.write(a_film(tmp_path / "samples", frames), tmp_path / "p.webp")
    with Image.open(tmp_path / "p.webp") as film:
        assert getattr(film, "n_frames", 1) == frames


def test_a_frame_shows_lr_now_and_hr_of_each_face() -> None:
    colours: dict[str, tuple[int, int, int]] = {
        "lr": (200, 0, 0),
        "now": (0, 200, 0),
        "hr": (0, 0, 200),
    }
    lr, now, hr = (
        np.full((side, 3 * side, 3), colours[name], np.uint8)
        for name, side in (("lr", 8), ("now", 32), ("hr", 32))
    )
    places: list[animation.Place] = [("pretrain", 0), ("pretrain", 100), ("gan", 100)]
    frame = np.asarray(animation.compose(lr, now, hr, ("gan", 50), places))
    for colour in colours.values():
        assert (frame == colour).all(axis=2).sum() == 3 * 256 * 256
    early = np.asarray(animation.compose(lr, now, hr, ("pretrain", 50), places))
    timeline = frame.shape[0] - 15
    lit = [(page[timeline].max(axis=1) > 150).mean() for page in (early, frame)]
    assert lit[0] == pytest.approx(0.25, abs=0.03)
    assert lit[1] == pytest.approx(0.75, abs=0.05)


def test_a_run_that_was_stopped_can_be_drawn(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    log(run / "metrics.jsonl", a_run(gan=3))
    a_film(run / "samples", 4)
    done = CliRunner().invoke(app, ["draw", str(run), "--gif"])
    assert done.exit_code == 0, done.output
    for name, kind in (("curves.png", "PNG"), ("progress.webp", "WEBP"), ("progress.gif", "GIF")):
        with Image.open(run / name) as drawn:
            assert drawn.format == kind
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "metrics.jsonl").write_text("{no line")
    nothing = CliRunner().invoke(app, ["draw", str(damaged)])
    assert "no run with metrics here" in str(nothing.exception)
    assert not (damaged / "curves.png").exists()
    nowhere = CliRunner().invoke(app, ["draw", str(tmp_path / "nowhere")])
    assert isinstance(nowhere.exception, TrainingError)


def test_the_help_of_train_names_every_preset() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
    assert [name for name in preset_names() if name not in shown] == []


def at(stage: Stage, step: int, **losses: float) -> TrainProgress:
    return TrainProgress(stage, step, 4000, 103.4, 0.012, 3800.0, losses)


def test_progress_in_one_line() -> None:
    said = describe(at("gan", 10, **{"g/content": 0.0962, "g/adversarial": 0.7, "d/real": 0.34}))
    assert said == (
        "103 img/s  wait 1%  ETA 1:03:20  content 0.0962  adversarial 0.7000  D on HR 0.3400"
    )


def test_a_log_file_gets_ten_lines_a_stage_and_no_line_is_broken() -> None:
    out = io.StringIO()
    with TrainingBar(Console(file=out, width=60)) as bar:
        for step in range(20, 4001, 20):
            bar(at("pretrain", step, **{"g/content": 0.019}))
        bar(at("gan", 20, **{"g/content": 0.1, "g/adversarial": 0.7, "d/real": 0.3, "d/fake": 0.3}))
    lines = out.getvalue().splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("pre-training 20/4,000  103 img/s")
    assert lines[-1].startswith("GAN 20/4,000")
    assert lines[-1].endswith("on SR 0.3000")


def test_a_terminal_of_80_columns_holds_the_bars() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with TrainingBar(console) as bar:
        bar(at("pretrain", 4000, **{"g/content": 0.019}))
        bar(at("gan", 2000, **{"g/content": 0.1, "g/adversarial": 0.7, "d/real": 0.3}))
    shown = out.getvalue().splitlines()[-6:]
    text = "\n".join(shown)
    assert "pre-training" in text
    assert "done in 0:00" in text
    assert "2,000/4,000" in text
    assert "103 img/s  wait 1%  ETA 1:03:20" in text
    assert "content 0.1000  adversarial 0.7000" in text
    assert "D on HR 0.3000" in text


def test_the_fixed_faces_are_sharp_and_unlike_each_other(tmp_path: Path) -> None:
    def blurred(pixels: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))

    sharp = [scene(seed, 64) for seed in range(8)]
    pictures = [blurred(scene(seed, 64)) for seed in range(20, 44)] + sharp
    source = PairSource([make_dataset(tmp_path / "d", pictures)], "test", cache=tmp_path)
    chosen = choose_examples(source, 3)
    assert [pair.key for pair in chosen] == [pair.key for pair in choose_examples(source, 3)]
    assert len({pair.key for pair in chosen}) == 3
    assert min(sharpness(pair.hr) for pair in chosen) > 0.3
    apart = [
        np.abs(one.hr.mean((0, 1)) - other.hr.mean((0, 1))).max()
        for one, other in itertools.combinations(chosen, 2)
    ]
    assert min(apart) > 5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_tiny_pictures_are_all_shown(count: int, tmp_path: Path) -> None:
    pictures = [scene(seed, side) for seed, side in zip(range(count), (12, 48, 48), strict=False)]
    source = PairSource([make_dataset(tmp_path / "d", pictures)], "test", cache=tmp_path)
    assert len(choose_examples(source, 3)) == count
