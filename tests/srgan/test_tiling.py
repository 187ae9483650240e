from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srgan.errors import ModelError
from srgan.export import ExportedModel, export_model, load_exported
from srgan.network_config import GeneratorConfig
from srgan.networks.generator import build_generator
from srgan.tiling import Floats, TiledUpscaler, fades, spans
from tests.srgan.pairs import scene
from tests.srgan.tiny import tiny_generator
from tests.support import shared_data


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """A generator with a receptive field of five LR pixels."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    export_model(tiny_generator(), folder)
    return load_exported(folder, unverified=True)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """A small SRResNet; its 9x9 and 3x3 kernels see 11 LR pixels to each side."""
    generator = build_generator(GeneratorConfig(architecture="srresnet", filters=8, blocks=2))
    folder = tmp_path_factory.mktemp("wide") / "model"
    export_model(generator, folder)
    return load_exported(folder, unverified=True)


def picture(height: int, width: int) -> Floats:
    return (scene(5, max(height, width))[:height, :width] / 255).astype(np.float32)


@given(
    length=st.integers(1, 3000), tile=st.integers(16, 300), share=st.floats(0, 0.5), s=st.just(2)
)
def test_tiles_cover_an_axis_and_their_weights_sum_to_one(
    length: int, tile: int, share: float, s: int
) -> None:
    overlap = int(tile * share)
    places = spans(length, tile, overlap)
    assert places[0][0] == 0
    assert places[-1][1] == length
    sides = {stop - start for start, stop in places}
    assert len(sides) == 1
    assert max(sides) <= tile
    for (_, stop), (start, _) in itertools.pairwise(places):
        assert stop - start >= overlap - 1
    total = np.zeros(length * s)
    for (start, stop), weight in zip(places, fades(places, s), strict=True):
        assert weight.min() >= 0
        total[start * s : stop * s] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 200), (97, 131), (64, 65), (150, 40)])
def test_tiled_is_untiled_where_overlaps_cover_the_receptive_field(
    model: ExportedModel, height: int, width: int
) -> None:
    image = picture(height, width)
    tiled = TiledUpscaler(model.unit, 4, tile=40, overlap=8)(image)
    assert tiled.dtype == np.float32
    np.testing.assert_allclose(tiled, model.unit(image[None])[0], atol=1e-5)


def test_without_overlap_there_are_seams(model: ExportedModel) -> None:
    image = picture(97, 131)
    tiled = TiledUpscaler(model.unit, 4, tile=40, overlap=0)(image)
    assert np.abs(tiled - model.unit(image[None])[0]).max() > 0.02


def test_no_seams_on_a_real_photo(wide: ExportedModel) -> None:
    data = shared_data()
    photo = Image.open(data / "photos" / "dlib_2007_007763.jpg").convert("RGB")
    image = np.asarray(photo.crop((30, 20, 330, 250)), np.float32) / 255
    whole = wide.unit(image[None])[0]
    levels = {
        overlap: 255 * np.abs(TiledUpscaler(wide.unit, 4, tile=96, overlap=overlap)(image) - whole)
        for overlap in (0, 24, 32)
    }
    # Half a grey level is what rounding hides anyway.
    assert levels[32].max() < 0.01
    assert levels[24].max() < 0.5
    assert levels[0].max() > 2


def test_strips_are_the_image_from_the_top_and_progress_counts_tiles(model: ExportedModel) -> None:
    image, seen = picture(100, 70), []
    tiled = TiledUpscaler(model.unit, 4, tile=40, overlap=8)
    strips = list(tiled.strips(image, lambda done, total: seen.append((done, total))))
    assert len(strips) > 2
    assert sum(len(strip) for strip in strips) == 400
    assert max(len(strip) for strip in strips) <= 160
    np.testing.assert_array_equal(np.concatenate(strips), tiled(image))
    assert seen == [(i, seen[-1][1]) for i in range(1, len(seen) + 1)]
    assert seen[-1][0] == seen[-1][1]


class Memory:
    """A model on a device that holds so many LR pixels at once; TensorFlow's own error."""

    def __init__(self, model: ExportedModel, pixels: int, error: Exception) -> None:
        self.model, self.pixels, self.error = model, pixels, error
        self.refused: list[int] = []

    def __call__(self, batch: Floats) -> Floats:
        if batch.shape[1] * batch.shape[2] > self.pixels:
            self.refused.append(batch.shape[1] * batch.shape[2])
            raise self.error
        return self.model.unit(batch)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")],
)
def test_a_tile_that_does_not_fit_is_halved_and_the_result_is_the_same(
    model: ExportedModel, error: Exception
) -> None:
    image, memory = picture(180, 200), Memory(model, 40 * 40, error)
    tiled = TiledUpscaler(memory, 4, tile=128, overlap=8)
    np.testing.assert_allclose(tiled(image), model.unit(image[None])[0], atol=1e-5)
    # 128 and 64 were tried once each, and never again.
    assert len(memory.refused) == 2
    assert tiled.tile <= 40


def test_no_memory_at_all_is_one_line(model: ExportedModel) -> None:
    tiled = TiledUpscaler(Memory(model, 0, MemoryError()), 4, tile=64, overlap=8)
    with pytest.raises(ModelError, match="not enough memory for a tile of"):
        tiled(picture(100, 100))


def test_other_errors_are_not_taken_for_missing_memory(model: ExportedModel) -> None:
    tiled = TiledUpscaler(Memory(model, 0, RuntimeError("a defect")), 4)
    with pytest.raises(RuntimeError, match="a defect"):
        tiled(picture(20, 20))


def test_a_tile_must_be_twice_its_overlap() -> None:
    with pytest.raises(ValueError, match="tile 40 is less than twice the overlap 32"):
        TiledUpscaler(lambda batch: batch, 1, tile=40, overlap=32)
