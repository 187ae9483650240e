"""The preview: what it shows, and that it is the same picture on every machine."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from beam_jobs import drawing
from beam_jobs.preview import SHOWN, choose_spread, contact_sheet, most_detailed
from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.images import Pixels
from srgan.records import PairRecord, RecordInfo
from tests.beam_jobs.image_sets import picture

CONFIG = DatasetConfig(name="faces", hr_size=64)


def pair(number: int, hr: Pixels, config: DatasetConfig = CONFIG, source: str = "") -> PairRecord:
    height, width = hr.shape[:2]
    lr = images.resize(hr, width // config.scale, height // config.scale)
    key = hashlib.sha256(str(number).encode()).hexdigest()
    name = source or f"person-{number}/{number}.jpg"
    return PairRecord(
        key, name.partition("/")[0], name, images.encode_png(hr), images.encode_png(lr)
    )


def info(record: PairRecord, sharpness: float, side: float = 64.0) -> RecordInfo:
    return RecordInfo(
        record.key,
        record.source,
        record.group,
        "train",
        "s",
        250,
        200,
        side,
        sharpness,
        40.0,
        "0" * 64,
    )


def made(count: int) -> tuple[list[PairRecord], list[RecordInfo]]:
    pairs = [pair(number, picture(number, 64, 64)) for number in range(count)]
    return pairs, [info(record, 1 + number % 7) for number, record in enumerate(pairs)]


def seen(sheet: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.format == "JPEG"
        return np.asarray(image).astype(np.int64)


def test_lr_stands_beside_hr() -> None:
    pairs, infos = made(1)
    sheet = seen(contact_sheet(pairs, CONFIG, 1, infos))
    hr = images.decode(pairs[0].hr, max_pixels=10**6).repeat(2, 0).repeat(2, 1)
    lr = images.decode(pairs[0].lr, max_pixels=10**6).repeat(8, 0).repeat(8, 1)
    assert np.abs(sheet[104:232, 170:298] - hr).mean() < 4
    assert np.abs(sheet[104:232, 40:168] - lr).mean() < 3


def test_equal_arguments_give_equal_bytes() -> None:
    pairs, infos = made(30)
    first = contact_sheet(pairs, CONFIG, 30, infos)
    assert contact_sheet(pairs[::-1], CONFIG, 30, infos[::-1]) == first
    assert contact_sheet(pairs, CONFIG, 31, infos) != first


def test_pairs_go_from_the_softest_to_the_sharpest() -> None:
    soft, sharp = (
        pair(1, np.full((64, 64, 3), 60, np.uint8)),
        pair(2, np.full((64, 64, 3), 200, np.uint8)),
    )
    for order in ([soft, sharp], [sharp, soft]):
        sheet = seen(contact_sheet(order, CONFIG, 2, [info(sharp, 5.0), info(soft, 1.0)]))
        assert abs(sheet[150, 100] - 60).max() < 5
        assert abs(sheet[150, 400] - 200).max() < 5


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (DatasetConfig(hr_size=16, scale=8), [(16, 16)]),
        (DatasetConfig(hr_size=96), [(96, 96)] * 30),
        (DatasetConfig(hr_size=256), [(256, 256)] * 30),
        (DatasetConfig(hr_size=512), [(512, 512)] * 3),
        (DatasetConfig(hr_size=16, crop="none"), [(16, 16), (700, 20), (24, 900), (640, 480)]),
        (DatasetConfig(), []),
    ],
)
def test_any_size_has_its_place(config: DatasetConfig, sizes: Sequence[tuple[int, int]]) -> None:
    pairs = [pair(n, picture(n, width, height), config) for n, (width, height) in enumerate(sizes)]
    infos = [info(record, 1.0 + n) for n, record in enumerate(pairs)]
    sheet = seen(contact_sheet(pairs, config, len(pairs), infos))
    assert 600 <= sheet.shape[1] <= 1800
    assert sheet.shape[0] <= 2000


@pytest.mark.parametrize("known", [0, 5, 40])
def test_few_or_no_figures_are_no_obstacle(known: int) -> None:
    pairs, infos = made(40)
    seen(contact_sheet(pairs[:24], CONFIG, 1000, infos[:known]))


def test_odd_figures_are_no_obstacle() -> None:
    pairs, infos = made(40)
    for odd in (0.0, 1e9, 1e-12):
        seen(contact_sheet(pairs[:3], CONFIG, 40, [*infos, info(pair(99, picture(1)), odd)]))
    seen(contact_sheet(pairs[:3], CONFIG, 40, [info(record, 2.0, side=312.7) for record in pairs]))


rows = st.lists(
    st.builds(
        lambda number, group, sharpness: RecordInfo(
            f"{number:064d}", "s", f"g{group}", "train", "s", 9, 9, 9.0, sharpness, 1.0, "0"
        ),
        st.integers(0, 10**9),
        st.integers(0, 5),
        st.floats(0, 20),
    ),
    max_size=90,
    unique_by=lambda row: row.key,
)


@given(rows)
def test_the_spread_has_both_ends_and_no_record_twice(infos: list[RecordInfo]) -> None:
    chosen = choose_spread(infos)
    assert len(chosen) == min(SHOWN, len(infos)) == len({row.key for row in chosen})
    assert chosen == choose_spread(infos[::-1])
    assert chosen == sorted(chosen, key=lambda row: (row.sharpness, row.key))
    if infos:
        values = [row.sharpness for row in infos]
        assert chosen[0].sharpness == min(values)
        assert chosen[-1].sharpness == max(values)


def test_the_spread_shows_many_groups() -> None:
    infos = [
        RecordInfo(f"{n:064d}", "s", f"g{n % 40}", "train", "s", 9, 9, 9.0, n / 100, 1.0, "0")
        for n in range(2000)
    ]
    assert len({row.group for row in choose_spread(infos)}) == SHOWN


def test_the_detail_is_where_the_edges_are() -> None:
    pixels = np.full((100, 140, 3), 90, np.uint8)
    pixels[60:80, 100:120] = picture(1, 20, 20)
    top, left = most_detailed(pixels, 40)
    assert top <= 60
    assert top + 40 >= 80
    assert left <= 100
    assert left + 40 >= 120
    assert most_detailed(pixels[:30, :30], 40) == (0, 0)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada/Ünal ß ł ő.jpg", "Ada/Ünal ß ł ő.jpg"),
        ("Ελένη/Жуковский.png", "Ελένη/Жуковский.png"),
        ("U\u0308nal.jpg", "Ünal.jpg"),
        ("写真/日本の顔 1.jpg", "…/… 1.jpg"),
        ("שלום/عربي.jpg", "…/….jpg"),
        ("a\n\tb\x00c\u202ed", "a  b…c…d"),
        ("e\\xff.jpg", "e\\xff.jpg"),
    ],
)
def test_names_show_what_the_fonts_have(name: str, shown: str) -> None:
    assert drawing.showable(name) == shown
    assert drawing.is_showable(name) == ("…" not in shown)


@given(st.text(max_size=60), st.integers(8, 20), st.integers(1, 300))
def test_any_text_can_be_fitted(text: str, size: int, width: int) -> None:
    short = drawing.shortened(text, size, width)
    assert drawing.text_width(short, size) <= width or len(short) <= 4
    for line in drawing.wrapped(text, size, max(width, 80), 3):
        assert drawing.text_width(line, size) <= max(width, 80)
    assert len(drawing.wrapped(text, size, width, 3)) <= 3


def test_long_texts_take_no_time() -> None:
    begun = time.perf_counter()
    drawing.wrapped("word " * 100_000, 12, 140, 2)
    drawing.shortened("x" * 500_000, 12, 140)
    drawing.shortened_path("a/" * 200_000 + "b.jpg", 12, 140)
    assert time.perf_counter() - begun < 2


def test_of_a_path_the_end_stays() -> None:
    path = "faces/lfw/Ada_Lovelace/Ada_Lovelace_0001.jpg"
    assert drawing.shortened_path(path, 13, 1000) == path
    assert drawing.shortened_path(path, 13, 190) == "…/Ada_Lovelace_0001.jpg"
    assert drawing.shortened_path(path, 13, 100).endswith("01.jpg")
