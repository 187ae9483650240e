from __future__ import annotations

import numpy as np
import pytest

from beam_jobs.pairs import Pair, group_of, make_pairs, split_of
from srgan.dataset_config import DatasetConfig
from srgan.images import ImageRejectedError
from tests.beam_jobs.image_sets import encoded, picture

KEY = "0" * 64


def one_pair(data: bytes, config: DatasetConfig) -> Pair:
    (pair,) = make_pairs(data, config, key=KEY).pairs
    return pair


def test_hr_is_the_central_crop_untouched_when_it_has_the_size() -> None:
    pixels = picture(1, 61, 50)
    pair = one_pair(encoded(pixels), DatasetConfig(hr_size=32, crop_size=32))
    np.testing.assert_array_equal(pair.hr, pixels[9:41, 14:46])
    assert pair.lr.shape == (8, 8, 3)
    assert (pair.key, pair.side) == (KEY, 32)


def test_a_larger_crop_is_shrunk() -> None:
    pixels = np.full((70, 90, 3), (200, 30, 90), np.uint8)
    config = DatasetConfig(hr_size=32, crop_size=64, scale=2, min_contrast=0, min_sharpness=0)
    pair = one_pair(encoded(pixels), config)
    assert pair.hr.shape == (32, 32, 3)
    assert pair.lr.shape == (16, 16, 3)
    assert pair.side == 64
    assert (pair.hr == (200, 30, 90)).all()


def test_without_crop_the_largest_square_is_used() -> None:
    pixels = picture(2, 96, 48)
    pair = one_pair(encoded(pixels), DatasetConfig(hr_size=48))
    np.testing.assert_array_equal(pair.hr, pixels[:, 24:72])


@pytest.mark.parametrize("crop", [None, 64])
def test_nothing_is_enlarged(crop: int | None) -> None:
    config = DatasetConfig(hr_size=64, crop_size=crop)
    with pytest.raises(ImageRejectedError, match="63x70 pixels") as caught:
        make_pairs(encoded(picture(3, 63, 70)), config, key=KEY)
    assert caught.value.reason == "too_small"


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("parent", "Ada/1.jpg", "Ada"),
        ("parent", "country/Ada/1.jpg", "Ada"),
        ("parent", "1.jpg", KEY),
        ("parent", "Jose\u0301/1.jpg", "Jos\u00e9"),
        ("none", "Ada/1.jpg", KEY),
        (r"([A-Za-z]+)_\d+\.jpg$", "x/Ada_0001.jpg", "Ada"),
        (r"^([^/]+)/", "country/Ada/1.jpg", "country"),
        (r"^([^/]+)/", "Jose\u0301/1.jpg", "Jos\u00e9"),
        (r"([A-Za-z]+)_\d+\.jpg$", "x/readme.txt", KEY),
        (r"(?:id-(\d+))?\.jpg$", "x/face.jpg", KEY),
    ],
)
def test_group(group: str, name: str, expected: str) -> None:
    assert group_of(name, KEY, DatasetConfig(group=group)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HR/1.png", KEY),
        ("Ada/HR/1.png", "Ada"),
        ("HR/Ada/1.png", "Ada"),
        ("Ada_HR/1.png", "Ada_HR"),
        ("Ada/1_HR.png", "Ada"),
    ],
)
def test_the_folder_of_hr_files_is_no_group(name: str, expected: str) -> None:
    assert group_of(name, KEY, DatasetConfig(degradation="paired")) == expected


def test_shares_of_groups_are_as_configured() -> None:
    config = DatasetConfig(val_fraction=0.1, test_fraction=0.2)
    splits = [split_of(f"person {number}", config) for number in range(20_000)]
    assert splits.count("val") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert splits.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)


def test_another_salt_gives_other_splits() -> None:
    groups = [f"person {number}" for number in range(200)]
    one, other = (
        [split_of(group, DatasetConfig(val_fraction=0.3, split_salt=salt)) for group in groups]
        for salt in ("srgan", "pepper")
    )
    assert one != other


def test_splits_are_pinned() -> None:
    config = DatasetConfig(val_fraction=0.25, test_fraction=0.25)
    names = ("Ada", "Grace", "Alan", "Edsger", "Barbara")
    assert [split_of(name, config) for name in names] == ["val", "test", "val", "val", "test"]


def test_tiles_cover_the_photo_and_have_keys_of_their_own() -> None:
    pixels = picture(5, 110, 75)
    found = make_pairs(encoded(pixels), DatasetConfig(hr_size=32, crop="tiles"), key=KEY)
    assert [pair.key for pair in found.pairs] == [f"{KEY}-{number:03d}" for number in range(6)]
    assert (found.width, found.height) == (110, 75)
    # 110 = 3 x 32 + 14 and 75 = 2 x 32 + 11: what is over is cut all round, on the LR grid.
    expected = pixels[4 : 4 + 64, 4 : 4 + 96].reshape(2, 32, 3, 32, 3).swapaxes(1, 2)
    np.testing.assert_array_equal([p.hr for p in found.pairs], expected.reshape(6, 32, 32, 3))


def test_a_flat_tile_is_a_reject_beside_the_pairs() -> None:
    pixels = picture(6, 64, 32)
    pixels[:, 32:] = 90
    found = make_pairs(encoded(pixels), DatasetConfig(hr_size=32, crop="tiles"), key=KEY)
    assert [pair.key for pair in found.pairs] == [f"{KEY}-000"]
    assert [(number, reason) for number, reason, _ in found.rejected] == [(1, "flat")]


def test_a_photo_of_flat_tiles_is_a_reject_that_counts_them() -> None:
    grey = encoded(np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(ImageRejectedError, match=r"contrast 0\.0.*\(and 3 more\)") as caught:
        make_pairs(grey, DatasetConfig(hr_size=32, crop="tiles"), key=KEY)
    assert caught.value.reason == "flat"


def test_overlapping_tiles() -> None:
    config = DatasetConfig(hr_size=32, crop="tiles", tile_stride=16)
    assert len(make_pairs(encoded(picture(7, 64, 48)), config, key=KEY).pairs) == 3 * 2


def test_the_whole_image_is_trimmed_to_the_scale() -> None:
    pixels = picture(8, 101, 70)
    pair = one_pair(encoded(pixels), DatasetConfig(hr_size=64, crop="none"))
    np.testing.assert_array_equal(pair.hr, pixels[:68, :100])
    assert pair.lr.shape == (17, 25, 3)


@pytest.mark.parametrize("crop", ["center", "tiles", "none"])
def test_paired_files_are_cut_at_the_same_place_and_never_resized(crop: str) -> None:
    lr = picture(9, 20, 19)
    hr = lr.repeat(4, axis=0).repeat(4, axis=1)
    config = DatasetConfig.model_validate({"hr_size": 32, "crop": crop, "degradation": "paired"})
    found = make_pairs(encoded(hr), config, key=KEY, lr_data=encoded(lr))
    assert len(found.pairs) == (4 if crop == "tiles" else 1)
    for pair in found.pairs:
        np.testing.assert_array_equal(pair.hr[::4, ::4], pair.lr)
        assert crop == "none" or pair.hr.shape == (32, 32, 3)


def test_paired_files_of_other_sizes_are_rejected() -> None:
    config = DatasetConfig(hr_size=32, degradation="paired")
    with pytest.raises(ImageRejectedError, match="HR 64x56, LR 16x13: not 4 times") as caught:
        make_pairs(encoded(picture(1)), config, key=KEY, lr_data=encoded(picture(1, 16, 13)))
    assert caught.value.reason == "pair_mismatch"


def test_a_blurred_source_is_rejected() -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[:, None], (64, 1, 3))
    config = DatasetConfig(hr_size=32, min_sharpness=1.0)
    with pytest.raises(ImageRejectedError) as caught:
        make_pairs(encoded(ramp.reshape(64, 64, 3)), config, key=KEY)
    assert caught.value.reason == "blurred"
