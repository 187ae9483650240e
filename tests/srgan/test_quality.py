from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.images import Pixels
from srgan.quality import contrast, mirrored, perceptual_hash, sharpness
from tests.support import shared_data

DEFAULTS = DatasetConfig()


def natural(seed: int, size: int = 128) -> Pixels:
    """Random with a spectrum that falls as 1/f, as that of photos; uint8 [size, size, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / frequency
    plane = np.fft.irfft2(spectrum, s=(size, size))
    plane = 128 + 45 * (plane - plane.mean()) / plane.std()
    return np.repeat(np.clip(np.rint(plane), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def enlarged(hr: Pixels, factor: float, kernel: Image.Resampling) -> Pixels:
    size = round(hr.shape[0] / factor)
    image = Image.fromarray(hr).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image.resize(hr.shape[1::-1], kernel))


def filtered(hr: Pixels, blur: float) -> Pixels:
    return np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(blur)))


def recoded(hr: Pixels, kind: str, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(hr).save(buffer, kind, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def noisy(hr: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(3).normal(0, sigma, hr.shape)
    return np.clip(np.rint(hr + noise), 0, 255).astype(np.uint8)


def gamma(hr: Pixels, exponent: float) -> Pixels:
    return images.to_uint8(images.to_unit(hr) ** exponent)


def distance(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "bicubic x2": lambda hr: enlarged(hr, 2, BICUBIC),
    "lanczos x2": lambda hr: enlarged(hr, 2, LANCZOS),
    "bicubic x4": lambda hr: enlarged(hr, 4, BICUBIC),
    "blur 1": lambda hr: filtered(hr, 1),
    "blur 2": lambda hr: filtered(hr, 2),
    "blur 3": lambda hr: filtered(hr, 3),
    "x2, then noise": lambda hr: noisy(enlarged(hr, 2, BICUBIC), 2),
    "x2, then JPEG": lambda hr: recoded(enlarged(hr, 2, BICUBIC), "JPEG", 75),
    "blur 2, then noise": lambda hr: noisy(filtered(hr, 2), 3),
    "JPEG 5": lambda hr: recoded(hr, "JPEG", 5),
}


@pytest.mark.parametrize("how", SPOILT)
def test_sharpness_tells_spoilt_from_natural(how: str) -> None:
    hr = natural(1)
    assert sharpness(hr) > 0.5
    assert sharpness(SPOILT[how](hr)) < 0.36 < sharpness(hr)


def test_sharpness_falls_with_blur() -> None:
    values = [sharpness(filtered(natural(2), blur)) for blur in (0, 0.5, 0.8, 1, 1.5, 2)]
    assert values == sorted(values, reverse=True)


def test_sharpness_is_that_of_any_contrast() -> None:
    hr = natural(3)
    faint = np.rint(128 + (hr.astype(float) - 128) / 3).astype(np.uint8)
    assert sharpness(faint) == pytest.approx(sharpness(hr), rel=0.2)


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (33, 21), (130, 257)])
def test_sharpness_takes_any_shape(shape: tuple[int, int]) -> None:
    hr = natural(4, 272)[: shape[0], : shape[1]]
    assert 0.2 < sharpness(hr) < 2
    assert sharpness(np.full((*shape, 3), 77, np.uint8)) == 0


def test_sharpness_sees_both_directions() -> None:
    hr = natural(5)
    turned = np.ascontiguousarray(hr.swapaxes(0, 1))
    assert sharpness(turned) == pytest.approx(sharpness(hr), abs=0.02)


def test_contrast_is_the_standard_deviation_of_luma() -> None:
    hr = natural(6)
    assert contrast(hr) == pytest.approx(np.asarray(Image.fromarray(hr).convert("L")).std())
    assert contrast(np.full((20, 20, 3), 200, np.uint8)) == 0


def test_noise_on_a_blank_wall_is_flat() -> None:
    wall = noisy(np.full((128, 128, 3), 180, np.uint8), 3)
    assert contrast(wall) < DEFAULTS.min_contrast < contrast(natural(7))


def test_golden_values() -> None:
    rng = np.random.default_rng(20)
    y, x = np.mgrid[0:96, 0:80]
    waves = np.stack([x * 3 + y, y * 5, (x // 8 + y // 8) % 2 * 200 + 20], axis=-1) % 256
    hr = np.clip(waves + rng.integers(-20, 21, waves.shape), 0, 255).astype(np.uint8)
    assert (round(sharpness(hr), 6), round(contrast(hr), 6)) == GOLDEN_FIGURES
    assert perceptual_hash(hr).hex() == GOLDEN_HASH


def test_different_images_have_distant_hashes() -> None:
    hashes = [perceptual_hash(natural(seed)) for seed in range(40)]
    distances = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 80
    assert np.mean(distances) == pytest.approx(128, abs=3)


def test_a_flat_image_has_the_hash_of_nothing() -> None:
    assert perceptual_hash(np.full((64, 64, 3), 90, np.uint8)) == bytes(32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64, 128, 160]))
@settings(deadline=None, max_examples=25)
def test_the_hash_of_the_mirror_image_is_known(seed: int, size: int) -> None:
    hr = natural(seed, size)
    found = perceptual_hash(np.ascontiguousarray(hr[:, ::-1]))
    assert distance(mirrored(perceptual_hash(hr)), found) <= 4
    assert distance(perceptual_hash(hr), found) > 90
    assert mirrored(mirrored(found)) == found


TWINS: dict[str, Callable[[Pixels], Pixels]] = {
    **{f"JPEG {q}": lambda hr, q=q: recoded(hr, "JPEG", q) for q in (30, 60, 90)},  # type: ignore[misc]
    "WebP": lambda hr: recoded(hr, "WEBP", 50),
    "half and back": lambda hr: enlarged(hr, 2, BICUBIC),
    "cut by 1 %": lambda hr: images.resize(hr[:-1, 1:], hr.shape[1], hr.shape[0]),
    "darker": lambda hr: np.rint(hr * 0.7).astype(np.uint8),
    "gamma": lambda hr: gamma(hr, 1.5),
    "grey": lambda hr: np.asarray(Image.fromarray(hr).convert("L").convert("RGB")),
    "another size": lambda hr: images.resize(hr, 200, 200),
}


def test_hashes_of_real_faces() -> None:
    faces = [_face(path) for path in sorted((shared_data() / "faces/lfw").glob("A*/*_0001.jpg"))]
    hashes = [perceptual_hash(face) for face in faces]
    assert len(faces) > 100
    others = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > DEFAULTS.near_duplicate_bits + 10
    for name, twin in TWINS.items():
        distances = [
            distance(hashed, perceptual_hash(twin(face)))
            for face, hashed in zip(faces, hashes, strict=True)
        ]
        assert np.quantile(distances, 0.95) <= DEFAULTS.near_duplicate_bits, name


def test_sharpness_of_real_faces() -> None:
    faces = [_face(path) for path in sorted((shared_data() / "faces/lfw").glob("A*/*_0001.jpg"))]
    kept = np.mean([sharpness(face) >= DEFAULTS.min_sharpness for face in faces])
    assert kept >= 0.98
    assert min(contrast(face) for face in faces) > 5 * DEFAULTS.min_contrast
    for how in ("bicubic x2", "lanczos x2", "bicubic x4", "blur 1", "blur 2", "x2, then JPEG"):
        spoilt = np.mean([sharpness(SPOILT[how](f)) < DEFAULTS.min_sharpness for f in faces])
        assert spoilt >= 0.85, how


def test_takes_about_half_a_millisecond() -> None:
    hr = natural(8)
    started = time.process_time()
    for _ in range(50):
        sharpness(hr), contrast(hr), perceptual_hash(hr)
    assert (time.process_time() - started) / 50 < 3e-3


def _face(path: object) -> Pixels:
    return images.centre_square(np.asarray(Image.open(str(path)).convert("RGB")), 128)


GOLDEN_FIGURES = (0.930164, 48.935543)
GOLDEN_HASH = "078178c50ec802aa8739000d3e5285c2938a6da0e9abffcde6ea3a2dadbe367c"
