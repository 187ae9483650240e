"""The rendered portraits: pure, detailed, varied, and written so that a run can resume."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan.portraits import render, write_image_set

SAMPLE = 12


@cache
def sample() -> NDArray[np.uint8]:
    return np.stack([render(7 + k, person=20 + k, size=128) for k in range(SAMPLE)])


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_a_portrait_is_a_square_of_bytes() -> None:
    image = render(0, person=0, size=48)
    assert image.shape == (48, 48, 3)
    assert image.dtype == np.uint8


def test_same_arguments_same_bytes() -> None:
    first = render(3, person=4, size=64)
    np.testing.assert_array_equal(first, render(3, person=4, size=64))
    assert not np.array_equal(first, render(4, person=4, size=64))
    assert not np.array_equal(first, render(3, person=5, size=64))


def test_a_known_portrait_keeps_its_mean_colour() -> None:
    mean_colour = render(1, person=1, size=64).mean((0, 1))
    np.testing.assert_allclose(mean_colour, (128.4, 126.4, 157.4), atol=2)


@pytest.mark.parametrize(
    ("seed", "person", "size"), [(-1, 0, 64), (0, -1, 64), (0, 0, 31), (0, 0, 1025)]
)
def test_arguments_out_of_range_are_refused(seed: int, person: int, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        render(seed, person=person, size=size)


def test_every_portrait_has_fine_detail() -> None:
    grey = sample().astype(np.float64).mean(-1)
    laplacian = (
        4 * grey[:, 1:-1, 1:-1]
        - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    )  # fmt: skip
    assert laplacian.std(axis=(1, 2)).min() > 8


def test_a_quarter_of_the_size_loses_a_learnable_amount() -> None:
    scores = []
    for image in sample():
        small = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
        back = np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))
        scores.append(psnr(image, back))
    assert 22 < np.mean(scores) < 34


def test_skin_hair_and_backdrops_vary() -> None:
    images = sample().astype(np.float64)
    cheeks = images[:, 62:80, 50:78].mean((1, 2))
    crowns = images[:, 10:26, 48:80].mean((1, 2))
    corners = images[:, :16, :16].mean((1, 2))
    for patch in (cheeks, crowns, corners):
        assert patch.mean(1).std() > 18
        assert np.ptp(patch.mean(1)) > 60


def test_shots_of_one_person_keep_their_skin_but_not_their_backdrop() -> None:
    shots = np.stack([render(k, person=3, size=64) for k in range(5)]).astype(np.float64)
    hue = shots[:, 32:38, 26:38].mean((1, 2))
    hue /= hue.sum(1, keepdims=True)
    corner = shots[:, :8, :8].mean((1, 2))
    assert hue.std(0).max() < 0.06
    assert corner.std(0).max() > 10


def test_an_interrupted_set_continues(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    made = write_image_set(
        tmp_path, people=2, shots=2, size=32, progress=lambda *at: calls.append(at)
    )
    assert made == 4
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert names == [f"person-{n:04d}/shot-{k}.png" for n in (1, 2) for k in (1, 2)]

    kept, lost = tmp_path / names[0], tmp_path / names[3]
    whole = lost.read_bytes()
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    lost.with_name(".shot-2.part").write_bytes(b"half an image")
    assert write_image_set(tmp_path, people=2, shots=2, size=32) == 4
    assert kept.stat().st_mtime_ns == stamp
    assert lost.read_bytes() == whole
    assert not list(tmp_path.rglob("*.part"))


def test_processes_render_the_same_images(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_image_set(tmp_path / str(workers), people=3, shots=1, size=32, workers=workers)
    one, two = (
        [p.read_bytes() for p in sorted((tmp_path / str(workers)).rglob("*.png"))]
        for workers in (1, 2)
    )
    assert len(one) == 3
    assert one == two


def test_sets_of_other_seeds_differ(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_image_set(tmp_path / str(seed), people=1, shots=1, seed=seed, size=32)
    first, second = (
        np.asarray(Image.open(tmp_path / str(seed) / "person-0001" / "shot-1.png"))
        for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_negative_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="people and shots"):
        write_image_set(tmp_path, people=-1, shots=1)
