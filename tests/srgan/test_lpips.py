from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan import images, weights
from srgan.errors import ModelError
from srgan.images import Pixels
from srgan.lpips import load_lpips_alex
from tests.srgan.pairs import scene
from tests.support import shared_data

Array = NDArray[np.float64]


def random_weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    arrays: dict[str, NDArray[np.float32]] = {}
    sizes = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    for index, (kernel, before, after) in enumerate(sizes, start=1):
        spread = np.sqrt(2 / (kernel * kernel * before))
        values = rng.normal(0, spread, (kernel, kernel, before, after))
        arrays[f"conv{index}/kernel"] = values.astype(np.float32)
        arrays[f"conv{index}/bias"] = rng.normal(0, 0.1, after).astype(np.float32)
        arrays[f"lin{index}"] = rng.uniform(0, 1, after).astype(np.float32)
    return arrays


def convolve(x: Array, kernel: Array, stride: int, pad: int) -> Array:
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    side = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))
    return np.einsum("hwcij,ijco->hwo", windows[::stride, ::stride], kernel)


def plain_numpy_lpips(one: Pixels, other: Pixels, arrays: dict[str, NDArray[np.float32]]) -> float:
    """LPIPS as the paper writes it, one picture at a time, in float64."""
    layers = []
    for pixels in (one, other):
        x = (pixels / 255 * 2 - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        found = []
        for index, (stride, pad) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)], start=1):
            if index in (2, 3):
                windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
                x = windows[::2, ::2].max(axis=(-1, -2))
            x = convolve(x, arrays[f"conv{index}/kernel"].astype(np.float64), stride, pad)
            x = np.maximum(x + arrays[f"conv{index}/bias"], 0)
            found.append(x / np.linalg.norm(x, axis=-1, keepdims=True))
        layers.append(found)
    return float(
        sum(
            np.mean(((a - b) ** 2) @ arrays[f"lin{index}"])
            for index, (a, b) in enumerate(zip(*layers, strict=True), start=1)
        )
    )


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_precision")
def test_is_that_of_an_independent_implementation_under_any_precision_policy() -> None:
    arrays = random_weights()
    one = np.stack([scene(seed, 64)[:48] for seed in (1, 2, 3)])
    other = np.stack([scene(seed, 64)[:48] for seed in (1, 5, 6)])
    other[0] = np.clip(one[0].astype(int) + 6, 0, 255)
    found = load_lpips_alex(arrays)(one, other)
    expected = [plain_numpy_lpips(a, b, arrays) for a, b in zip(one, other, strict=True)]
    assert found.dtype == np.float32
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert min(expected) > 0.001


def test_is_zero_for_identical_pictures_and_symmetric() -> None:
    lpips = load_lpips_alex(random_weights())
    one, other = scene(1, 40)[None], scene(2, 40)[None]
    assert lpips(one, one).item() == 0
    assert lpips(one, other).item() == pytest.approx(lpips(other, one).item(), rel=1e-6)


def test_pictures_that_cannot_be_compared_are_refused() -> None:
    lpips = load_lpips_alex(random_weights())
    with pytest.raises(ValueError, match=r"at least 31, got \[1, 30, 30, 3\]"):
        lpips(scene(1, 30)[None], scene(1, 30)[None])
    with pytest.raises(ValueError, match="one shape"):
        lpips(scene(1, 40)[None], scene(1, 48)[None])


def test_bicubic_faces_have_the_usual_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    data = shared_data()
    monkeypatch.setenv(weights.ENVIRONMENT, str(data / "weights"))
    paths = sorted((data / "faces" / "lfw").glob("*/*.jpg"))[::100]
    decoded = [images.decode(path.read_bytes(), max_pixels=10**6) for path in paths]
    hr = np.stack([images.centre_square(pixels, 128) for pixels in decoded])
    bicubic = np.stack([images.resize(images.resize(p, 32, 32), 128, 128) for p in hr])
    assert load_lpips_alex()(hr, bicubic).mean() == pytest.approx(0.26, abs=0.015)


def test_missing_weights_are_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "mine"))
    assert weights.find_weights("lpips_alex.npz") is None
    with pytest.raises(ModelError) as caught:
        load_lpips_alex()
    message = str(caught.value)
    assert "\n" not in message
    for part in ("lpips_alex.npz", str(tmp_path / "mine"), ".cache/srgan/weights", "SRGAN_WEIGHTS"):
        assert part in message


def test_a_changed_weights_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lpips_alex.npz"
    path.write_bytes(b"not the weights")
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    with pytest.raises(ModelError, match=r"lpips_alex.npz: not the known file \(sha256"):
        weights.find_weights("lpips_alex.npz")


def test_the_chosen_folder_comes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, data = "lpips_alex.npz", b"weights"
    known = weights.WeightsFile(name, "", "", "", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(weights, "WEIGHTS", {name: known})
    monkeypatch.setenv("HOME", str(tmp_path))
    cached = tmp_path / ".cache" / "srgan" / "weights" / name
    chosen = tmp_path / "mine" / name
    for path in (cached, chosen):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    assert weights.find_weights(name) == cached
    monkeypatch.setenv(weights.ENVIRONMENT, str(chosen.parent))
    assert weights.find_weights(name) == chosen
    chosen.unlink()
    assert weights.find_weights(name) == cached


def test_weights_with_pickled_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, thing=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelError, match=r"evil.npz: cannot be read as weights"):
        weights.read_weights(path)
