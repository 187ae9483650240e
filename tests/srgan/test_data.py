from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from srgan.data import BatchRecipe, PairSource, make_batch, sample_indices, training_batches
from srgan.errors import DatasetError
from srgan.images import Pixels, resize
from srgan.records import Dataset, Split
from tests.srgan.pairs import make_dataset, make_training_dataset, publish, scene

CROP = BatchRecipe(batch=4, hr_crop=32, scale=4, flip=True, rotate=False, seed=1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_training_dataset(tmp_path / "data")


@pytest.fixture
def source(dataset: Dataset, tmp_path: Path) -> PairSource:
    return PairSource([dataset], "train", cache=tmp_path / "cache")


def test_a_batch_is_a_function_of_its_step(source: PairSource) -> None:
    for step in (0, 7):
        first, second = (make_batch(source, step, CROP) for _ in range(2))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
    one, other = make_batch(source, 0, CROP)[1], make_batch(source, 1, CROP)[1]
    assert not np.array_equal(one, other)


def test_lr_and_hr_crops_show_the_same_place(source: PairSource) -> None:
    for step in range(8):
        for lr, hr in zip(*make_batch(source, step, CROP), strict=True):
            # Inside; at the border the crop lacks neighbours that the whole image had.
            inside = np.s_[2:-2, 2:-2]
            difference = np.abs(resize(hr, 8, 8).astype(int) - lr)[inside]
            assert difference.mean() < 3


def test_every_record_comes_once_in_an_epoch() -> None:
    size, recipe = 12, dataclasses.replace(CROP, batch=5)
    stream = [i for step in range(12) for i in sample_indices(step, recipe, size)]
    epochs = [stream[start : start + size] for start in range(0, 60, size)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_continued_input_goes_on_with_the_same_batches(source: PairSource) -> None:
    whole = list(itertools.islice(training_batches(source, 0, CROP), 5))
    rest = list(itertools.islice(training_batches(source, 3, CROP), 2))
    for (lr, hr), (lr_again, hr_again) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(lr, lr_again)
        np.testing.assert_array_equal(hr, hr_again)
    lr, hr = whole[0]
    assert lr.shape == (4, 8, 8, 3)
    assert 0 <= lr.min() <= lr.max() <= 1
    assert -1 <= hr.min() < 0 < hr.max() <= 1


def test_several_datasets_are_one_source(dataset: Dataset, tmp_path: Path) -> None:
    both = PairSource([dataset, dataset], "train", cache=tmp_path)
    assert len(both) == 12 + 12
    assert both.left_out == 0


def test_a_photo_that_another_dataset_holds_out_is_not_trained_on(
    dataset: Dataset, tmp_path: Path
) -> None:
    # Scenes 0 to 11 are trained on in the one, 5 to 7 validate and 8 to 10 test in the other.
    other = make_training_dataset(tmp_path / "other", train=5)
    for order in ([dataset, other], [other, dataset]):
        both = PairSource(order, "train", cache=tmp_path)
        assert len(both) == 6 + 5
        assert both.left_out == 6
    assert len(PairSource([dataset, other], "test", cache=tmp_path)) == 3 + 3


def test_a_person_whom_another_dataset_holds_out_is_not_trained_on(
    dataset: Dataset, tmp_path: Path
) -> None:
    # Other photos of two people of the first dataset's training split.
    by_split: dict[Split, list[tuple[str, Pixels]]] = {
        "train": [("person-90/b.jpg", scene(90, 64))],
        "test": [(f"person-{n}/b.jpg", scene(100 + n, 64)) for n in (3, 4)],
    }
    other = publish(tmp_path / "other", by_split, scale=4, shards=1)
    both = PairSource([dataset, other], "train", cache=tmp_path)
    assert (len(both), both.left_out) == (12 - 2 + 1, 2)
    assert {"person-3/a.jpg", "person-4/a.jpg"}.isdisjoint(p.source for p in both.first(99))


def test_pairs_beyond_the_memory_limit_are_decoded_again(dataset: Dataset, tmp_path: Path) -> None:
    kept = PairSource([dataset], "train", cache=tmp_path)
    poor = PairSource([dataset], "train", cache=tmp_path, memory=0)
    np.testing.assert_array_equal(kept[3].hr, poor[3].hr)
    assert kept[3] is kept[3]
    assert poor[3] is not poor[3]


def test_a_changed_byte_is_found_before_training(dataset: Dataset, tmp_path: Path) -> None:
    shard = Path(dataset.place) / dataset.shards("train")[1].name
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=f"{shard.name}: changed since it was built"):
        PairSource([dataset], "train", cache=tmp_path)


def test_an_empty_split_and_a_crop_too_large_are_one_line(tmp_path: Path) -> None:
    only_test = make_dataset(tmp_path / "test", [scene(1, 64)])
    with pytest.raises(DatasetError, match="the train split is empty"):
        PairSource([only_test], "train", cache=tmp_path)
    source = PairSource([only_test], "test", cache=tmp_path)
    with pytest.raises(DatasetError, match=r"hr_crop 96 is larger than .*64x64.*use at most 64"):
        make_batch(source, 0, dataclasses.replace(CROP, hr_crop=96))
