from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.compose import Piece, kept_records, plan_shards
from beam_jobs.inventory import Source
from beam_jobs.sorting import Candidate, lr_name
from beam_jobs.units import MadeRecord, Part, plan_units
from srgan.dataset_config import DatasetConfig, PairedConfig
from srgan.imageset import ImageFile

paths = st.builds(
    lambda person, photo: f"{person}/{photo}.jpg" if person else f"{photo}.jpg",
    st.sampled_from(["", "Ada", "Grace", "Alan", "team/Edsger", "Ünal"]),
    st.integers(0, 40),
)
names = st.lists(paths, min_size=1, max_size=60, unique=True)


def _key(name: str) -> str:
    return f"{sum(name.encode()):04x}{name.encode().hex()}"


def _candidates(names: list[str]) -> list[Candidate]:
    # The key stands for the bytes: another file for every name.
    return [
        Candidate(
            Source(ImageFile(n, n, f"/set/{n}", 1), f"{sum(n.encode()):04x}{n.encode().hex()}")
        )
        for n in names
    ]


@given(names=names, size=st.integers(1, 7), val=st.sampled_from([0.0, 0.3, 0.5]))
def test_units(names: list[str], size: int, val: float) -> None:
    config = DatasetConfig(
        val_fraction=val, test_fraction=0.3, hr_size=32, shard_bytes=size * 3 * 32**2
    )
    plans = plan_units(_candidates(names), config)
    planned = [source for plan in plans for source in plan.sources]
    assert sorted(source.file.name for source in planned) == sorted(names)
    assert all(1 <= len(plan.sources) <= size for plan in plans)
    splits: dict[str, set[str]] = {}
    for plan in plans:
        for source in plan.sources:
            splits.setdefault(source.group, set()).add(plan.split)
    assert all(len(found) == 1 for found in splits.values())
    for split in ("train", "val", "test"):
        own = [plan for plan in plans if plan.split == split]
        keys = [source.key for plan in own for source in plan.sources]
        assert all(a < b for a, b in pairwise(keys))
        assert [plan.name for plan in own] == [f"{split}-{i:05d}" for i in range(len(own))]


@given(names=names, more=names)
def test_nobody_moves_when_data_grows(names: list[str], more: list[str]) -> None:
    config = DatasetConfig(val_fraction=0.3, test_fraction=0.3)

    def splits(names: list[str]) -> dict[str, str]:
        plans = plan_units(_candidates(names), config)
        return {source.file.name: plan.split for plan in plans for source in plan.sources}

    before, after = splits(names), splits(sorted({*names, *more}))
    assert {name: after[name] for name in before} == before


def test_large_sources_make_small_units() -> None:
    sources = [
        Candidate(Source(ImageFile(f"{n}.jpg", f"{n}.jpg", f"/{n}.jpg", 10 * 2**20), f"{n:064x}"))
        for n in range(50)
    ]
    plans = plan_units(sources, DatasetConfig(val_fraction=0, test_fraction=0))
    assert max(len(plan.sources) for plan in plans) == 3


lengths = st.lists(st.lists(st.integers(20, 900), max_size=9), min_size=1, max_size=9)


def _parts(lengths: list[list[int]]) -> list[Part]:
    parts = []
    for unit, sizes in enumerate(lengths):
        records, offset = [], 0
        for number, size in enumerate(sizes):
            key = f"{unit:032x}{number:032x}"
            records.append(
                MadeRecord(key, key, "g", offset, size, 1, 1, 1.0, 1.0, 1.0, "", "", 1, [], [])
            )
            offset += size
        split = "train" if unit % 3 else "test"
        parts.append(Part("f", f"{split}-{unit:05d}", split, offset, records, []))
    # By split, as units are planned.
    return sorted(parts, key=lambda part: part.split != "train")


@given(lengths=lengths, target=st.integers(1, 3000), data=st.data())
def test_shards(lengths: list[list[int]], target: int, data: st.DataObject) -> None:
    parts = _parts(lengths)
    keys = [record.key for part in parts for record in part.records]
    dropped = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    plans = plan_shards(parts, dropped, DatasetConfig(shard_bytes=target))
    kept = [r for part in parts for r in part.records if r.key not in dropped]
    in_order = list(kept_records(parts, dropped, plans))
    assert [record.key for _, record in in_order] == [record.key for record in kept]
    assert sum(plan.size for plan in plans) == sum(record.length for record in kept)
    frames = {
        (p.name, r.offset): r.length for p in parts for r in p.records if r.key not in dropped
    }
    for plan in plans:
        assert plan.records >= 1
        assert plan.size == sum(piece.length for piece in plan.pieces)
        assert plan.size <= 1.5 * target + 2 * 900
        for piece in plan.pieces:
            place = piece.offset
            while place < piece.offset + piece.length:
                place += frames.pop((piece.unit, place))
            assert place == piece.offset + piece.length
    assert not frames
    for split in ("train", "test"):
        own = [plan.name for plan in plans if plan.split == split]
        assert own == [f"{split}-{i:05d}-of-{len(own):05d}.tfrecord" for i in range(len(own))]


def test_neighbouring_frames_are_one_piece() -> None:
    (plan,) = plan_shards(_parts([[], [10, 20, 30]]), set(), DatasetConfig())
    assert plan.pieces == [Piece("train-00001", 0, 60)]
    (plan,) = plan_shards(_parts([[], [10, 20, 30]]), {f"{1:032x}{1:032x}"}, DatasetConfig())
    assert plan.pieces == [Piece("train-00001", 0, 10), Piece("train-00001", 30, 30)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR"),
        ("HR/a.png", "LR/a"),
        ("set/HR/a_HR.jpg", "set/LR/a_LR"),
        ("img_001_SRF_4_LR.png", None),
        ("THREE/a.png", None),
        ("HRANA/a.png", None),
    ],
)
def test_name_of_the_lr_file(name: str, expected: str | None) -> None:
    assert lr_name(name, PairedConfig()) == expected


def test_other_words_for_hr_and_lr() -> None:
    words = PairedConfig(hr="DIV2K_train_HR", lr="DIV2K_train_LR_bicubic")
    assert lr_name("DIV2K_train_HR/0001.png", words) == "DIV2K_train_LR_bicubic/0001"
