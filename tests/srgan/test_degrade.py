from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan.dataset_config import DatasetConfig
from srgan.degrade import bicubic, degrade
from srgan.images import Pixels
from tests.support import shared_data


def matlab_bicubic(pixels: Pixels, scale: int) -> Pixels:
    """imresize(pixels, 1/scale, 'bicubic') with antialiasing, straight from its definition.

    Keys' cubic (a = -0.5), stretched by ``scale``, sampled at the input pixels, weights normalised,
    border pixels repeated; along the columns, rounded to uint8, then along the rows.
    """

    def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.abs(x)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))

    def matrix(size: int) -> NDArray[np.float64]:
        weights = np.zeros((size // scale, size))
        for row in range(size // scale):
            centre = (row + 0.5) * scale - 0.5
            taps = np.arange(int(centre - 2 * scale) - 1, int(centre + 2 * scale) + 3)
            values = cubic((taps - centre) / scale)
            np.add.at(weights[row], np.clip(taps, 0, size - 1), values / values.sum())
        return weights

    def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.floor(np.clip(values, 0, 255) + 0.5)

    height, width = pixels.shape[:2]
    columns = rounded(np.tensordot(matrix(height), pixels.astype(float), axes=(1, 0)))
    rows = np.moveaxis(np.tensordot(matrix(width), columns, axes=(1, 1)), 0, 1)
    return rounded(rows).astype(np.uint8)


def photo_like(size: int) -> Pixels:
    """Edges, gradients and noise, uint8 [size, size, 3]; equal on every machine."""
    rng = np.random.default_rng(20)
    y, x = np.mgrid[0:size, 0:size]
    base = np.stack([(x * 3 + y) % 256, (y * 5) % 256, ((x // 8 + y // 8) % 2) * 200 + 20], axis=-1)
    return np.clip(base + rng.integers(-20, 21, base.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_agrees_with_the_definition_of_the_matlab_kernel(scale: int) -> None:
    hr = photo_like(96)
    lr = degrade(hr, DatasetConfig(scale=scale, hr_size=96), "key")
    difference = np.abs(lr.astype(int) - matlab_bicubic(hr, scale).astype(int))
    assert lr.shape == (96 // scale, 96 // scale, 3)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.999


def test_sides_may_differ() -> None:
    hr = photo_like(64)[:40]
    lr = degrade(hr, DatasetConfig(hr_size=64), "key")
    assert lr.shape == (10, 16, 3)
    assert np.abs(lr.astype(int) - matlab_bicubic(hr, 4)).max() <= 1


def test_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    lr = degrade(stripes, DatasetConfig(hr_size=64), "key")
    assert np.abs(lr[:, 2:-2].astype(int) - 127).max() <= 2


def test_keeps_flat_colours() -> None:
    flat = np.full((64, 64, 3), (0, 128, 255), np.uint8)
    assert (degrade(flat, DatasetConfig(hr_size=64), "key") == (0, 128, 255)).all()


def test_golden_values() -> None:
    lr = degrade(photo_like(64), DatasetConfig(hr_size=64), "key")
    assert lr[3, :4].tolist() == GOLDEN_ROW
    assert hashlib.sha256(lr.tobytes()).hexdigest() == GOLDEN_SHA256


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_is_what_matlab_made_of_the_usual_benchmarks(name: str) -> None:
    folder = shared_data() / "bench" / name
    pictures = sorted(folder.glob("*_HR.png"))
    assert len(pictures) == int(name.removeprefix("Set"))
    for path in pictures:
        hr = np.asarray(Image.open(path).convert("RGB"))
        matlab = Image.open(path.with_name(path.name.replace("HR", "LR"))).convert("RGB")
        np.testing.assert_array_equal(
            degrade(hr, DatasetConfig(scale=4), "key"), np.asarray(matlab)
        )


def with_kind(kind: str, **settings: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"degradation": kind, "hr_size": 64, **settings})


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_area_is_the_rounded_mean_of_squares(scale: int) -> None:
    hr = photo_like(64)[:40]
    lr = degrade(hr, with_kind("area", scale=scale), "key")
    for (row, column, channel), value in np.ndenumerate(lr):
        square = hr[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale, channel]
        assert value == int(square.astype(float).mean() + 0.5)


def test_area_keeps_white_white() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    assert (degrade(white, with_kind("area", scale=8), "key") == 255).all()


def tone(**ends: tuple[float, float]) -> DatasetConfig:
    neutral = {"exposure": (0, 0), "warmth": (0, 0), "contrast": (1, 1)}
    return with_kind("tone", tone={**neutral, **ends})


def test_a_neutral_tone_is_bicubic() -> None:
    hr = photo_like(64)
    np.testing.assert_array_equal(degrade(hr, tone(), "key"), bicubic(hr, 4))


def test_a_stop_is_twice_the_light() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    bright = int(degrade(grey, tone(exposure=(1, 1)), "key")[0, 0, 0])
    assert bright == 138  # sRGB 100 is 12.7 % of the light of white, 138 is 25.4 %
    assert (degrade(np.zeros_like(grey), tone(exposure=(-2, 2)), "key") == 0).all()


def test_warmth_moves_red_against_blue_alone() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    red, green, blue = degrade(grey, tone(warmth=(1, 1)), "key")[0, 0].tolist()
    assert blue < green == 100 < red


def test_contrast_turns_about_middle_grey() -> None:
    hr = photo_like(64)
    lr = degrade(hr, tone(contrast=(0.5, 0.5)), "key").astype(float)
    np.testing.assert_allclose(lr, 63.75 + 0.5 * bicubic(hr, 4), atol=1)


def test_tone_draws_from_its_whole_ranges() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    config = tone(exposure=(-1, 1))
    values = [int(degrade(grey, config, str(n))[0, 0, 0]) for n in range(300)]
    assert (min(values), max(values)) == (71, 138)
    assert np.median(values) == pytest.approx(100, abs=8)


@pytest.mark.parametrize("kind", ["bicubic", "area", "tone", "realistic"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_every_kind_gives_lr_of_the_right_shape(kind: str, scale: int) -> None:
    for shape in ((16, 16), (16, 64), (40, 24)):
        hr = photo_like(64)[: shape[0], : shape[1]]
        before = hr.copy()
        lr = degrade(hr, with_kind(kind, scale=scale), "key")
        assert lr.shape == (shape[0] // scale, shape[1] // scale, 3)
        assert lr.dtype == np.uint8
        np.testing.assert_array_equal(hr, before)


@pytest.mark.parametrize("kind", ["tone", "realistic"])
def test_the_key_is_the_seed(kind: str) -> None:
    hr = photo_like(64)
    config = with_kind(kind)
    first = degrade(hr, config, "key")
    degrade(hr, config, "another key")
    np.random.default_rng().random()
    np.testing.assert_array_equal(degrade(hr.copy(), config, "key"), first)
    assert (degrade(hr, config, "another key") != first).mean() > 0.3


def test_what_has_no_lr_is_an_error() -> None:
    with pytest.raises(ValueError, match="62x64 is no multiple of scale 4"):
        degrade(photo_like(64)[:, :62], with_kind("bicubic"), "key")
    with pytest.raises(ValueError, match="paired"):
        degrade(photo_like(64), with_kind("paired"), "key")


def test_golden_values_of_area_and_tone() -> None:
    for kind, expected in GOLDEN_KINDS.items():
        lr = degrade(photo_like(64), with_kind(kind), "key")
        assert hashlib.sha256(lr.tobytes()).hexdigest()[:16] == expected, kind


GOLDEN_KINDS = {"area": "3c1550577b22fbeb", "tone": "a3bf2449cab2a1a6"}
GOLDEN_ROW = [[15, 69, 205], [27, 67, 195], [44, 67, 45], [51, 69, 46]]
GOLDEN_SHA256 = "44586afc9fbdafe95dde38ee1ec703d6870c9d7f26edc16a80bfa28fb87533b5"
