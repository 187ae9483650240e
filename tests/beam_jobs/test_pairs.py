from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.inventory import Source
from beam_jobs.pairs import group_of, make_pair, split_of
from beam_jobs.shards import plan_shards
from srgan.dataset_config import DatasetConfig
from srgan.images import ImageRejectedError
from tests.beam_jobs.image_sets import encoded, picture

KEY = "0" * 64


def test_hr_is_the_central_crop_untouched_when_it_has_the_size() -> None:
    pixels = picture(1, 61, 50)
    hr, lr = make_pair(encoded(pixels), DatasetConfig(hr_size=32, crop=32))
    np.testing.assert_array_equal(hr, pixels[9:41, 14:46])
    assert lr.shape == (8, 8, 3)


def test_a_larger_crop_is_shrunk() -> None:
    pixels = np.full((70, 90, 3), (200, 30, 90), np.uint8)
    hr, lr = make_pair(encoded(pixels), DatasetConfig(hr_size=32, crop=64, scale=2))
    assert hr.shape == (32, 32, 3)
    assert lr.shape == (16, 16, 3)
    assert (hr == (200, 30, 90)).all()


def test_without_crop_the_largest_square_is_used() -> None:
    pixels = picture(2, 96, 48)
    hr, _ = make_pair(encoded(pixels), DatasetConfig(hr_size=48))
    np.testing.assert_array_equal(hr, pixels[:, 24:72])


@pytest.mark.parametrize("crop", [None, 64])
def test_nothing_is_enlarged(crop: int | None) -> None:
    config = DatasetConfig(hr_size=64, crop=crop)
    with pytest.raises(ImageRejectedError, match="63x70 pixels") as caught:
        make_pair(encoded(picture(3, 63, 70)), config)
    assert caught.value.reason == "too_small"


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("parent", "Ada/1.jpg", "Ada"),
        ("parent", "country/Ada/1.jpg", "Ada"),
        ("parent", "1.jpg", KEY),
        ("none", "Ada/1.jpg", KEY),
        (r"([A-Za-z]+)_\d+\.jpg$", "x/Ada_0001.jpg", "Ada"),
        (r"^([^/]+)/", "country/Ada/1.jpg", "country"),
        (r"([A-Za-z]+)_\d+\.jpg$", "x/readme.txt", KEY),
        (r"(?:id-(\d+))?\.jpg$", "x/face.jpg", KEY),
    ],
)
def test_group(group: str, name: str, expected: str) -> None:
    assert group_of(name, KEY, DatasetConfig(group=group)) == expected


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


paths = st.builds(
    lambda person, photo: f"{person}/{photo}.jpg" if person else f"{photo}.jpg",
    st.sampled_from(["", "Ada", "Grace", "Alan", "team/Edsger", "Ünal"]),
    st.integers(0, 40),
)
names = st.lists(paths, min_size=1, max_size=60, unique=True)


def _sources(names: list[str]) -> list[Source]:
    # The key stands for the bytes: another file for every name.
    return [Source(n, f"/set/{n}", 1, f"{sum(n.encode()):04x}{n.encode().hex()}") for n in names]


@given(names=names, size=st.integers(1, 7), val=st.sampled_from([0.0, 0.3, 0.5]))
def test_plan(names: list[str], size: int, val: float) -> None:
    config = DatasetConfig(val_fraction=val, test_fraction=0.3, records_per_shard=size)
    plans = plan_shards(_sources(names), config)
    planned = [record for plan in plans for record in plan.records]
    assert sorted(record.source for record in planned) == sorted(names)
    assert all(1 <= len(plan.records) <= size for plan in plans)
    splits: dict[str, set[str]] = {}
    for plan in plans:
        for record in plan.records:
            splits.setdefault(record.group, set()).add(plan.split)
    assert all(len(found) == 1 for found in splits.values())
    for split in ("train", "val", "test"):
        keys = [record.key for plan in plans if plan.split == split for record in plan.records]
        assert all(a < b for a, b in pairwise(keys))
        indices = [plan.name for plan in plans if plan.split == split]
        assert indices == [
            f"{split}-{i:05d}-of-{len(indices):05d}.tfrecord" for i in range(len(indices))
        ]


@given(names=names, more=names)
def test_nobody_moves_when_data_grows(names: list[str], more: list[str]) -> None:
    config = DatasetConfig(val_fraction=0.3, test_fraction=0.3)

    def splits(names: list[str]) -> dict[str, str]:
        plans = plan_shards(_sources(names), config)
        return {record.source: plan.split for plan in plans for record in plan.records}

    before, after = splits(names), splits(sorted({*names, *more}))
    assert {name: after[name] for name in before} == before


def test_large_images_get_fewer_records_a_shard_than_allowed() -> None:
    sources = _sources([f"{number}.jpg" for number in range(50)])
    config = DatasetConfig(hr_size=2048, val_fraction=0, test_fraction=0)
    assert max(len(plan.records) for plan in plan_shards(sources, config)) <= 21
