from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan.card import CARD, read_card, write_card
from srgan.errors import ModelError
from srgan.export import SAVED_MODEL, export_model, load_exported
from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.networks.luma import upscale_rgb
from tests.srgan.tiny import publish_model, reference, tiny_generator


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "model"
    publish_model(folder, "run-1")
    return folder


@pytest.fixture
def model(published: Path, tmp_path: Path) -> Path:
    """A published model that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / "model"))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 7, 5), (1, 33, 20), (3, 1, 9), (0, 4, 6)])
def test_exported_pixels_are_the_generators_clipped_and_rounded(
    published: Path, shape: tuple[int, int, int]
) -> None:
    batch = pixels(*shape)
    got = load_exported(published)(batch)
    assert got.dtype == np.uint8
    assert got.shape == (shape[0], 4 * shape[1], 4 * shape[2], 3)
    if batch.size:
        np.testing.assert_array_equal(got, reference(tiny_generator(), batch))


def test_unit_signature_agrees_with_the_bytes(published: Path) -> None:
    model = load_exported(published)
    batch = pixels(2, 9, 6)
    unit = model.unit(batch / np.float32(255))
    assert unit.dtype == np.float32
    assert unit.min() == 0.0
    assert unit.max() == 1.0
    np.testing.assert_array_equal(np.rint(unit * 255).astype(np.uint8), model(batch))


@pytest.mark.parametrize("scale", [2, 8])
def test_scale_comes_from_the_model(tmp_path: Path, scale: int) -> None:
    export_model(tiny_generator(scale), tmp_path / "model")
    model = load_exported(tmp_path / "model", unverified=True)
    assert model.scale == scale
    assert model.card is None
    assert model(pixels(1, 3, 5)).shape == (1, 3 * scale, 5 * scale, 3)


def test_mixed_precision_is_exported_in_float32(tmp_path: Path) -> None:
    mixed = tiny_generator(policy="mixed_bfloat16")
    export_model(mixed, tmp_path / "model")
    batch = pixels(1, 12, 10)
    got = load_exported(tmp_path / "model", unverified=True)(batch)
    # Same weights, computed in float32 throughout.
    np.testing.assert_array_equal(got, reference(tiny_generator(), batch))
    copy = keras.models.load_model(tmp_path / "model" / "generator.keras")
    assert {layer.dtype_policy.name for layer in copy.layers} == {"float32"}
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in mixed.layers}


def test_a_grey_generator_upscales_the_luma_of_colour_pictures(tmp_path: Path) -> None:
    grey = tiny_generator(channels=1)
    export_model(grey, tmp_path / "model")
    model = load_exported(tmp_path / "model", unverified=True)
    batch = pixels(2, 6, 9)
    got = model(batch)
    assert got.shape == (2, 24, 36, 3)
    signed = np.asarray(upscale_rgb(grey, batch / np.float32(255), 4))
    expected = np.rint(np.clip((signed + 1) / 2, 0, 1) * 255)
    np.testing.assert_allclose(got, expected, atol=1)
    # A grey picture stays grey, and is what the network makes of it.
    picture = batch[..., :1]
    got = model(np.repeat(picture, 3, axis=-1)).astype(int)
    np.testing.assert_allclose(got, np.repeat(reference(grey, picture), 3, axis=-1), atol=1)


@pytest.mark.parametrize("architecture", ["faces", "srresnet", "edsr", "rrdb"])
def test_our_generators_export(tmp_path: Path, architecture: str) -> None:
    config = GeneratorConfig.model_validate(
        {"architecture": architecture, "filters": 8, "growth": 4, "blocks": 1, "scale": 2}
    )
    generator = build_generator(config)
    export_model(generator, tmp_path / "model")
    model = load_exported(tmp_path / "model", unverified=True)
    for shape in ((1, 1, 1), (2, 5, 11)):
        batch = pixels(*shape)
        difference = np.abs(model(batch).astype(int) - reference(generator, batch))
        assert difference.max() <= 1


def test_exports_a_generator_that_was_trained_on_two_replicas(tmp_path: Path) -> None:
    devices = tf.config.list_logical_devices("CPU")
    with tf.distribute.MirroredStrategy([device.name for device in devices]).scope():
        generator = tiny_generator()
    export_model(generator, tmp_path / "model")
    batch = pixels(1, 4, 4)
    got = load_exported(tmp_path / "model", unverified=True)(batch)
    np.testing.assert_array_equal(got, reference(tiny_generator(), batch))


def test_exporting_again_replaces_the_model_and_drops_its_card(model: Path) -> None:
    export_model(tiny_generator(seed=8), model)
    assert not (model / CARD).exists()
    batch = pixels(1, 5, 5)
    got = load_exported(model, unverified=True)(batch)
    np.testing.assert_array_equal(got, reference(tiny_generator(seed=8), batch))


def test_exporting_spares_a_folder_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"photo")
    with pytest.raises(ModelError, match=r"holiday\.jpg: no part of an exported model"):
        export_model(tiny_generator(), tmp_path)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"photo"


def test_a_generator_that_does_not_scale_is_refused(tmp_path: Path) -> None:
    lr = keras.Input((None, None, 3))
    model = keras.Model(lr, keras.layers.Conv2D(3, 3, padding="valid")(lr), name="shrinks")
    with pytest.raises(ModelError, match="'shrinks' makes"):
        export_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_card_is_required_unless_unverified(model: Path) -> None:
    (model / CARD).unlink()
    with pytest.raises(ModelError, match=r"no model_card\.json, so its files cannot be verified"):
        load_exported(model)
    assert load_exported(model, unverified=True).scale == 4


def test_a_changed_file_is_named_with_both_hashes(model: Path) -> None:
    weights = model / SAVED_MODEL / "variables" / "variables.data-00000-of-00001"
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(data)
    pattern = r"variables\.data-00000-of-00001: changed: sha256 is [0-9a-f]{64}, .* [0-9a-f]{64};"
    with pytest.raises(ModelError, match=pattern):
        load_exported(model)


def test_a_missing_file_is_named(model: Path) -> None:
    (model / "generator.keras").unlink()
    with pytest.raises(ModelError, match=r"generator\.keras: missing"):
        load_exported(model)


@pytest.mark.parametrize(
    "name",
    ["weights.pkl", "generator.h5", "code/loader.py", "saved_model/assets/x.txt", "custom.pickle"],
)
@pytest.mark.parametrize("unverified", [False, True])
def test_foreign_files_are_refused(model: Path, name: str, unverified: bool) -> None:
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_bytes(b"x")
    card = read_card(model)
    assert card is not None
    # Even a card that lists the file does not let it in.
    write_card(model, card)
    with pytest.raises(ModelError, match=f"{Path(name).name}: no part of an exported model"):
        load_exported(model, unverified=unverified)


def test_a_link_out_of_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (model / "generator.keras").rename(target)
    (model / "generator.keras").symlink_to(target)
    with pytest.raises(ModelError, match=r"generator\.keras: no part of an exported model"):
        load_exported(model)


def test_a_graph_that_writes_files_is_refused(tmp_path: Path) -> None:
    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def __call__(self, text: tf.Tensor) -> tf.Tensor:
            tf.io.write_file("owned.txt", text)
            return text

    tf.saved_model.save(Writer(), str(tmp_path / SAVED_MODEL))
    shutil.rmtree(tmp_path / SAVED_MODEL / "assets", ignore_errors=True)
    with pytest.raises(ModelError, match="contains WriteFile, which can reach files"):
        load_exported(tmp_path, unverified=True)


def test_no_model_and_no_saved_model_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model here"):
        load_exported(tmp_path / "nothing")
    (tmp_path / SAVED_MODEL).mkdir()
    (tmp_path / SAVED_MODEL / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelError, match="not a SavedModel") as caught:
        load_exported(tmp_path, unverified=True)
    assert "\n" not in str(caught.value)
