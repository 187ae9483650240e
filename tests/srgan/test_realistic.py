from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from srgan import blur, metrics
from srgan.config import explain
from srgan.dataset_config import DatasetConfig, KernelShares, RealisticConfig, RoundConfig
from srgan.degrade import bicubic, degrade
from srgan.images import Pixels
from srgan.realistic import degrade_realistically

PUBLISHED = RealisticConfig(
    first=RoundConfig(
        sigma=(0.2, 3), resize=(0.15, 1.5), noise=(1, 30), poisson=(0.05, 3), jpeg=(30, 95)
    ),
    second=RoundConfig(
        blur=0.8,
        sigma=(0.2, 1.5),
        enlarge=0.3,
        shrink=0.4,
        resize=(0.3, 1.2),
        noise=(1, 25),
        poisson=(0.05, 2.5),
        jpeg=(30, 95),
    ),
    final_cutoff=(0.33, 1),
)
# Nothing but JPEG at its best.
HARMLESS = RoundConfig(
    blur=0, enlarge=0, shrink=0, gaussian=1, noise=(0, 0), poisson=(0, 0), jpeg=(100, 100)
)


def portrait_like(size: int = 128) -> Pixels:
    """Soft colours between 60 and 200 with some texture; no level near black or white."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:size, 0:size] / size
    planes = [130 + 40 * np.sin(3 * x + k) * np.cos(4 * y - k) for k in (0, 1, 2)]
    return np.rint(np.stack(planes, axis=-1) + rng.normal(0, 6, (size, size, 3))).astype(np.uint8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


ranges = st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)).map(lambda ends: tuple(sorted(ends)))


@given(
    st.sampled_from([2, 4, 8]),
    st.integers(1, 6),
    st.integers(1, 6),
    st.builds(
        RoundConfig,
        blur=st.floats(0, 1),
        sinc=st.floats(0, 1),
        sigma=ranges,
        enlarge=st.just(0.3),
        shrink=st.floats(0, 0.7),
        resize=st.tuples(st.floats(0.05, 1), st.floats(1, 2)),
        noise=ranges,
        poisson=ranges,
    ),
    st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_any_settings_give_lr_of_the_right_shape(
    scale: int, rows: int, columns: int, stage: RoundConfig, seed: int
) -> None:
    hr = portrait_like()[: max(16, rows * scale), : max(16, columns * scale)]
    config = RealisticConfig(first=stage, second=stage)
    lr = degrade_realistically(hr, scale, config, generator(seed))
    assert lr.shape == (hr.shape[0] // scale, hr.shape[1] // scale, 3)
    assert lr.dtype == np.uint8


@pytest.mark.parametrize("config", [RealisticConfig(), PUBLISHED], ids=["ours", "published"])
def test_colours_do_not_shift_on_average(config: RealisticConfig) -> None:
    hr = portrait_like()
    lrs = [degrade_realistically(hr, 4, config, generator(seed)) for seed in range(150)]
    means = np.mean([lr.reshape(-1, 3).mean(axis=0) for lr in lrs], axis=0)
    np.testing.assert_allclose(means, hr.reshape(-1, 3).mean(axis=0), atol=0.5)


def test_each_pixel_stays_in_its_place_on_average() -> None:
    hr = portrait_like()
    lrs = [degrade_realistically(hr, 4, RealisticConfig(), generator(seed)) for seed in range(200)]
    mean = np.mean(lrs, axis=0)
    for axis in (0, 1):
        errors = [
            np.abs(np.roll(mean, shift, axis) - bicubic(hr, 4))[2:-2, 2:-2].mean()
            for shift in (-1, 0, 1)
        ]
        assert np.argmin(errors) == 1
    assert np.abs(mean - bicubic(hr, 4)).mean() < 2


def test_nothing_much_happens_when_everything_is_off() -> None:
    hr = portrait_like()
    config = RealisticConfig(first=HARMLESS, second=HARMLESS, final_sinc=0)
    for seed in range(5):
        lr = degrade_realistically(hr, 4, config, generator(seed))
        assert np.abs(lr.astype(int) - bicubic(hr, 4)).mean() < 2.5


def only(**stage: Any) -> RealisticConfig:
    """Harmless but for what is given of the first round; JPEG at its best last."""
    first = HARMLESS.model_copy(update=stage)
    return RealisticConfig(first=first, second=HARMLESS, final_sinc=0)


def test_settings_make_it_worse() -> None:
    hr = portrait_like()

    def error(config: RealisticConfig, scale: int = 2) -> float:
        lrs = [degrade_realistically(hr, scale, config, generator(seed)) for seed in range(12)]
        return float(np.mean([np.abs(lr - bicubic(hr, scale).astype(float)).mean() for lr in lrs]))

    harmless = error(only())
    assert error(only(blur=1.0, sinc=0.0, sigma=(3, 3))) > harmless + 0.2
    assert error(only(noise=(30, 30))) > harmless + 3
    assert error(only(gaussian=0, poisson=(2, 2))) > harmless + 3
    assert error(only(jpeg=(10, 10))) > harmless + 1
    assert error(only(shrink=1, resize=(0.1, 0.1))) > harmless + 0.5


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_grey_noise_has_no_colour(kind: str) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    noise = {"gaussian": float(kind == "gaussian"), "noise": (20, 20), "poisson": (2, 2)}
    spread = {}
    for grey in (0.0, 1.0):
        config = only(grey=grey, **noise)
        lrs = [degrade_realistically(flat, 2, config, generator(n)) for n in range(10)]
        colours = np.stack(lrs).astype(float)
        spread[grey] = np.abs(colours - colours.mean(axis=-1, keepdims=True)).mean()
    assert spread[1.0] < 1 < spread[0.0]


def test_poisson_noise_grows_with_the_light() -> None:
    def noise(level: int) -> float:
        flat = np.full((64, 64, 3), level, np.uint8)
        config = only(gaussian=0, grey=0, poisson=(1, 1))
        lrs = [degrade_realistically(flat, 2, config, generator(seed)) for seed in range(10)]
        return float(np.stack(lrs).std())

    assert noise(200) == pytest.approx(2 * noise(50), rel=0.25)


def test_faces_stay_recognisable() -> None:
    """Ours is between bicubic and the published ranges."""
    hr = portrait_like()

    def quality(config: RealisticConfig) -> float:
        values = [
            metrics.psnr_rgb(
                bicubic(hr, 4), degrade_realistically(hr, 4, config, generator(n)), border=0
            )
            for n in range(60)
        ]
        return float(np.mean(values))

    assert 26 < quality(RealisticConfig()) < 40
    assert quality(PUBLISHED) < quality(RealisticConfig()) - 1


def test_golden_values() -> None:
    config = DatasetConfig(hr_size=32, degradation="realistic")
    lr = degrade(portrait_like(32), config, "key")
    # JPEG decoders and Fourier transforms of other machines may round differently.
    assert np.abs(lr[3].astype(int) - GOLDEN_ROW).max() <= 2
    assert np.abs(lr[3].astype(int) - GOLDEN_ROW).mean() <= 0.25


def test_takes_some_milliseconds() -> None:
    config = DatasetConfig(degradation="realistic")
    hr = portrait_like()
    started = time.process_time()
    for number in range(40):
        degrade(hr, config, str(number))
    # 5 on an idle machine.
    assert (time.process_time() - started) / 40 < 20e-3


@given(st.integers(0, 2**32), st.sampled_from([(7, 21), (3, 3), (4, 4), (41, 41)]))
@settings(deadline=None, max_examples=60)
def test_kernels_are_centred_and_sum_to_one(seed: int, size: tuple[int, int]) -> None:
    config = RealisticConfig(kernel_size=size)
    kernel = blur.draw_blur(generator(seed), config, RoundConfig(sinc=0.3))
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_a_gaussian_has_the_widths_and_the_angle_asked_for() -> None:
    kernel = blur.gaussian(41, (4.0, 2.0), np.pi / 6)
    axis = np.arange(41) - 20
    x, y = axis[None], axis[:, None]
    along = np.cos(np.pi / 6) * x + np.sin(np.pi / 6) * y
    across = np.cos(np.pi / 6) * y - np.sin(np.pi / 6) * x
    assert (kernel * along**2).sum() == pytest.approx(16, rel=0.01)
    assert (kernel * across**2).sum() == pytest.approx(4, rel=0.01)
    assert (kernel * along * across).sum() == pytest.approx(0, abs=0.01)


def test_shapes_differ_as_their_names_say() -> None:
    def beside(kernel: blur.Kernel) -> float:
        return float(kernel[10, 11] / kernel[10, 10])

    plain = blur.gaussian(21, (2, 2), 0)
    peaked = blur.gaussian(21, (2, 2), 0, 0.5)
    assert beside(peaked) < beside(plain)
    assert peaked[0, 0] > 100 * plain[0, 0]
    assert beside(blur.gaussian(21, (2, 2), 0, 4)) > 0.99
    assert beside(blur.plateau(21, (2, 2), 0, 2)) > beside(plain)


def test_sinc_keeps_low_frequencies_and_stops_high_ones() -> None:
    response = np.abs(np.fft.fft2(blur.sinc(41, np.pi / 2), s=(64, 64)))[0]
    assert response[1:12] == pytest.approx(np.ones(11), abs=0.12)
    assert response[20:33] == pytest.approx(np.zeros(13), abs=0.12)


def test_sinc_is_bessels() -> None:
    # J1 at 1, 10 and 50, from Abramowitz and Stegun.
    values = blur._bessel_j1(np.array([1.0, 10.0, 50.0, 0.0]))
    np.testing.assert_allclose(values, [0.4400505857, 0.0434727462, -0.0975118281, 0.0], atol=1e-9)


@pytest.mark.parametrize("shape", [(16, 16), (5, 40), (1, 1), (33, 2)])
def test_convolution_is_that_of_its_definition(shape: tuple[int, int]) -> None:
    planes = generator().uniform(0, 255, (3, *shape)).astype(np.float32)
    kernel = blur.gaussian(7, (2.0, 0.7), 0.4)
    kernel[0, 0] += 0.1  # not symmetric
    padded = np.pad(planes, ((0, 0), (3, 3), (3, 3)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
    expected = np.einsum("chwij,ij->chw", windows, kernel[::-1, ::-1])
    np.testing.assert_allclose(blur.convolve(planes, kernel), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"first": {"sigma": [3, 1]}}, "[3, 1] is no range within [0.05, 20], low end first"),
        ({"first": {"jpeg": [0, 90]}}, "[0, 90] is no range within [1, 100]"),
        ({"first": {"noise": [-1, 2]}}, "[-1, 2] is no range within [0, 100]"),
        ({"first": {"noise": [1, float("nan")]}}, "[1, nan] is no range"),
        ({"second": {"enlarge": 0.7, "shrink": 0.7}}, "are more than 1 together"),
        ({"second": {"resize": [0.3, 0.9]}}, "leaves nothing to enlarge or to shrink to"),
        ({"kernels": {"gaussian": 0.9}}, "add up to 1.45, not to 1"),
        ({"kernel_size": [21, 7]}, "[21, 7] is no range"),
        ({"first": {"blur": 2}}, "less than or equal to 1"),
        ({"sigma": [1, 2]}, "sigma"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetConfig.model_validate({"realistic": wrong})
    message = explain(caught.value)
    assert said in message
    assert "\n" not in message


def test_tone_ranges_are_refused_too() -> None:
    with pytest.raises(ValidationError, match="low end first"):
        DatasetConfig.model_validate({"tone": {"exposure": [1, -1]}})


def test_settings_survive_json_and_can_be_hashed() -> None:
    config = DatasetConfig(realistic=PUBLISHED)
    again = DatasetConfig.model_validate(config.model_dump(mode="json"))
    assert again == config
    assert hash(again) == hash(config)
    assert sum(share for _, share in KernelShares()) == pytest.approx(1)


GOLDEN_ROW = [
    [143, 154, 152],
    [141, 153, 149],
    [137, 148, 142],
    [134, 143, 135],
    [130, 139, 130],
    [124, 132, 122],
    [116, 122, 111],
    [112, 115, 103],
]


HASHES = """
import hashlib
import numpy as np
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
hr = np.random.default_rng(1).normal(120, 40, (192, 192, 3)).clip(0, 255).astype(np.uint8)
for number in range(100):
    lr = degrade(hr, DatasetConfig(degradation="realistic"), str(number))
    print(number, hashlib.sha256(lr.tobytes()).hexdigest())
"""


def test_the_same_lr_on_another_processor() -> None:
    """NumPy and its BLAS have other code for each instruction set; last digits then differ."""
    better = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    older = {"NPY_DISABLE_CPU_FEATURES": " ".join(better), "OPENBLAS_CORETYPE": "Nehalem"}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", HASHES],
            env={**os.environ, **disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for disabled in ({}, older)
    ]
    assert len(set(outputs[0])) == 100
    assert outputs[0] == outputs[1]
