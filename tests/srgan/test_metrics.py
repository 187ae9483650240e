from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srgan import images
from srgan.images import Pixels
from srgan.metrics import METRICS, PSNR_CEILING, luma, psnr_rgb, psnr_y, ssim_y
from tests.srgan.pairs import scene
from tests.support import shared_data


@pytest.fixture(scope="module", params=[(64, 64, 4), (96, 57, 2), (27, 40, 8)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Pixels, Pixels, int]:
    height, width, border = request.param
    reference = scene(height, 96)[:height, :width]
    noise = np.random.default_rng(1).normal(0, 9, reference.shape)
    return reference, np.clip(np.rint(reference + noise), 0, 255).astype(np.uint8), border


def inside(pixels: Pixels, border: int) -> Pixels:
    return pixels[border:-border, border:-border]


def test_luma_is_that_of_an_independent_implementation() -> None:
    pixels = scene(3, 40)
    np.testing.assert_allclose(luma(pixels), rgb2ycbcr(pixels)[..., 0], atol=1e-9)
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert luma(black).item() == 16
    assert luma(white).item() == pytest.approx(235)


def test_psnr_is_that_of_scikit_image(pair: tuple[Pixels, Pixels, int]) -> None:
    reference, picture, border = pair
    a, b = inside(reference, border), inside(picture, border)
    expected_rgb = peak_signal_noise_ratio(a, b, data_range=255)
    assert psnr_rgb(reference, picture, border) == pytest.approx(expected_rgb, abs=1e-9)
    y_a, y_b = rgb2ycbcr(a)[..., 0], rgb2ycbcr(b)[..., 0]
    expected_y = peak_signal_noise_ratio(y_a, y_b, data_range=255)
    assert psnr_y(reference, picture, border) == pytest.approx(expected_y, abs=1e-9)


def test_ssim_is_that_of_scikit_image_where_the_window_fits(
    pair: tuple[Pixels, Pixels, int],
) -> None:
    reference, picture, border = pair
    y_a = rgb2ycbcr(inside(reference, border))[..., 0]
    y_b = rgb2ycbcr(inside(picture, border))[..., 0]
    expected = structural_similarity(
        y_a,
        y_b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim_y(reference, picture, border) == pytest.approx(expected, abs=1e-9)


def test_identical_pictures_have_the_top_figures() -> None:
    pixels = scene(5, 32)
    assert psnr_y(pixels, pixels, 4) == PSNR_CEILING
    assert psnr_rgb(pixels, pixels, 4) == PSNR_CEILING
    assert ssim_y(pixels, pixels, 4) == pytest.approx(1)


def test_the_border_does_not_count() -> None:
    reference = scene(7, 32)
    picture = reference.copy()
    picture[:4] = picture[-4:] = 0
    picture[:, :4] = picture[:, -4:] = 255
    assert psnr_y(reference, picture, 4) == PSNR_CEILING
    assert psnr_y(reference, picture, 3) < 40


@pytest.mark.parametrize("metric", [psnr_y, psnr_rgb, ssim_y])
def test_pictures_that_cannot_be_compared_are_refused(metric: object) -> None:
    assert callable(metric)
    reference = scene(9, 32)
    with pytest.raises(ValueError, match="the original has 32x32 pixels, the picture 30x32"):
        metric(reference, reference[:, :30], 4)
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\], got float64 \[32, 32, 3\]"):
        metric(reference.astype(float), reference, 4)
    with pytest.raises(ValueError, match=r"must be left inside"):
        metric(reference, reference, 16)


def test_ssim_needs_a_whole_window() -> None:
    pixels = scene(11, 18)
    assert psnr_y(pixels, pixels, 4) == PSNR_CEILING
    with pytest.raises(ValueError, match="18x18 pixels with a border of 4: at least 11x11"):
        ssim_y(pixels, pixels, 4)


def test_gain_is_positive_when_better() -> None:
    assert METRICS["psnr_y"].gain(31, 28) == 3
    assert METRICS["lpips_alex"].gain(0.1, 0.25) == pytest.approx(0.15)
    assert METRICS["psnr_y"].show(28.428) == "28.43 dB"


@pytest.mark.parametrize(("name", "expected"), [("Set5", 28.43), ("Set14", 26.1)])
def test_bicubic_has_the_figure_of_the_literature(name: str, expected: float) -> None:
    data = shared_data()
    values = []
    for path in sorted((data / "bench" / name).glob("*_HR.png")):
        lr_path = path.with_name(path.name.replace("_HR", "_LR"))
        hr = images.decode(path.read_bytes(), max_pixels=10**7)
        lr = images.decode(lr_path.read_bytes(), max_pixels=10**7)
        values.append(psnr_y(hr, images.resize(lr, hr.shape[1], hr.shape[0]), 4))
    assert np.mean(values) == pytest.approx(expected, abs=0.05)
