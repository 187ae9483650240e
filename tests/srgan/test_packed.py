"""Models in the form of the packaged ones: what is written, what is loaded, what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from srgan.card import make_card
from srgan.errors import ModelError
from srgan.packed import SUMS, load_packed, packed_generator, write_packed
from tests.srgan.tiny import config_for, reference, tiny_generator

SHAPES = [(1, 1, 1), (2, 7, 5), (1, 33, 20), (0, 4, 6)]


def pack(generator: keras.Model, folder: Path, precision: str = "float16") -> Path:
    card = make_card(config_for(4), [], None, run_id="run-1", steps={"pretrain": 3})
    write_packed(generator, folder, card, precision)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tiny_generator(), tmp_path_factory.mktemp("packed") / "faces")


@pytest.fixture
def model(packed: Path, tmp_path: Path) -> Path:
    """A packed model that a test may damage."""
    return Path(shutil.copytree(packed, tmp_path / "faces"))


def resum(folder: Path, name: str, data: bytes) -> None:
    """Change a file and the sum of it, as somebody would who wants the change to be loaded."""
    lines = (folder / SUMS).read_text("utf-8").splitlines()
    (folder / name).write_bytes(data)
    changed = f"{hashlib.sha256(data).hexdigest()}  {name}"
    kept = [changed if line.endswith(f"  {name}") else line for line in lines]
    (folder / SUMS).write_text("\n".join(kept) + "\n", "utf-8")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pixels_are_the_generators(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    generator = tiny_generator()
    model = load_packed(pack(generator, tmp_path / "faces", "float32"))
    batch = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    got = model(batch)
    assert (model.scale, got.dtype) == (4, np.uint8)
    if batch.size:
        np.testing.assert_array_equal(got, reference(generator, batch))
        unit = model.unit(batch / np.float32(255))
        np.testing.assert_array_equal(np.rint(unit * 255).astype(np.uint8), got)


def test_float16_rounds_kernels_alone_and_is_half_as_large(tmp_path: Path, packed: Path) -> None:
    whole = pack(tiny_generator(), tmp_path / "whole", "float32")
    sizes = [(folder / "weights.npz").stat().st_size for folder in (packed, whole)]
    assert sizes[0] < 0.65 * sizes[1]
    with np.load(packed / "weights.npz", allow_pickle=False) as stored:
        kinds = {(stored[name].ndim > 1, stored[name].dtype.name) for name in stored.files}
    assert kinds == {(True, "float16"), (False, "float32")}
    loaded = packed_generator(packed)
    assert {weight.dtype for weight in loaded.weights} == {"float32"}
    expected = [w.numpy() for w in tiny_generator().weights]
    for got, want in zip(loaded.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2**-11, atol=1e-7)


def test_what_float16_cannot_hold_stays_float32(tmp_path: Path) -> None:
    generator = tiny_generator()
    weights = generator.get_weights()
    weights[0][0, 0, 0, 0] = 1e5
    generator.set_weights(weights)
    loaded = packed_generator(pack(generator, tmp_path / "faces"))
    np.testing.assert_array_equal(loaded.get_weights()[0], weights[0])


def test_mixed_precision_is_packed_in_float32(tmp_path: Path) -> None:
    folder = pack(tiny_generator(policy="mixed_bfloat16"), tmp_path / "faces", "float32")
    batch = np.random.default_rng(2).integers(0, 256, (1, 9, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(load_packed(folder)(batch), reference(tiny_generator(), batch))


def test_packing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    generator = tiny_generator()
    first, again = (pack(generator, tmp_path / name) for name in ("first", "again"))
    assert (first / SUMS).read_bytes() == (again / SUMS).read_bytes()


def test_the_sums_are_those_of_sha256sum(packed: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=packed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": OK") == 4


@pytest.mark.parametrize("name", ["weights.npz", "generator.json", "model_card.json"])
def test_a_changed_or_missing_file_is_named(model: Path, name: str) -> None:
    data = bytearray((model / name).read_bytes())
    data[len(data) // 2] ^= 1
    (model / name).write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}: changed: sha256 is [0-9a-f]{{64}}, SHA256SUMS"):
        load_packed(model)
    (model / name).unlink()
    with pytest.raises(ModelError, match=rf"{name}: changed: sha256 is missing"):
        load_packed(model)


def test_an_unfinished_or_foreign_folder_is_refused(model: Path) -> None:
    (model / "extra.pkl").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"extra\.pkl: no part of a packaged model"):
        load_packed(model)
    (model / "extra.pkl").unlink()
    (model / SUMS).unlink()
    with pytest.raises(ModelError, match="SHA256SUMS: missing"):
        load_packed(model)


def test_pickled_arrays_are_never_loaded(model: Path, tmp_path: Path) -> None:
    bait = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickled.npz", **{"conv2d/kernel": bait})
    resum(model, "weights.npz", (tmp_path / "pickled.npz").read_bytes())
    with pytest.raises(ModelError, match="not readable: Object arrays cannot be loaded"):
        load_packed(model)


def test_a_network_that_runs_code_is_refused(model: Path) -> None:
    lr = keras.Input((None, None, 3))
    sr = keras.layers.Lambda(lambda x: keras.ops.repeat(keras.ops.repeat(x, 4, 1), 4, 2))(lr)
    network = keras.saving.serialize_keras_object(keras.Model(lr, sr, name="generator"))
    resum(model, "generator.json", json.dumps(network).encode())
    with pytest.raises(ModelError, match=r"generator\.json: no network that can be built"):
        load_packed(model)


def test_weights_of_another_network_are_refused(model: Path, tmp_path: Path) -> None:
    other = pack(tiny_generator(channels=1), tmp_path / "grey")
    resum(model, "weights.npz", (other / "weights.npz").read_bytes())
    with pytest.raises(ModelError, match=r"weights\.npz: not the weights of generator\.json"):
        load_packed(model)
