"""The sheet of rejects: every reason, real pictures where there are any, never a failed build."""

from __future__ import annotations

import hashlib
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from beam_jobs.reject_sheet import EXAMPLES, choose_rejects, reject_sheet
from beam_jobs.thumbnails import NotShownError, kind_of, thumbnail
from srgan.datasets.reasons import MEANINGS
from srgan.records import Reject
from tests.beam_jobs.image_sets import encoded, picture

PHOTO = picture(1, 200, 160)
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")


def reject(name: str, data: bytes = b"", reason: str = "corrupt", detail: str = "x") -> Reject:
    return Reject(name, reason, detail, hashlib.sha256(data + name.encode()).hexdigest())


def sheet_of(
    files: Mapping[str, bytes], reason: str = "corrupt", read: Callable[[str], bytes] | None = None
) -> NDArray[np.uint8]:
    rejects = [reject(name, data, reason) for name, data in files.items()]
    data = reject_sheet(rejects, read or files.__getitem__, {reason: len(rejects)})
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def first_tile(sheet: NDArray[np.uint8]) -> NDArray[np.int64]:
    return sheet[104:244, 290:430].astype(np.int64)


def colourful(tile: NDArray[np.int64]) -> float:
    return float((tile.max(axis=2) - tile.min(axis=2) > 40).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_decoded_is_shown(kind: str) -> None:
    tile = first_tile(sheet_of({"a": encoded(PHOTO, kind)}, "blurred"))
    assert colourful(tile) > 0.3
    # Wider than high: above and below is nothing.
    assert colourful(tile[:10]) == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_of_a_damaged_picture_the_sound_part_is_shown(kind: str) -> None:
    tile = first_tile(sheet_of({"a": encoded(PHOTO, kind)[: len(encoded(PHOTO, kind)) * 2 // 3]}))
    halves = tile[20:60], tile[80:120]
    shares = sorted(map(colourful, halves))
    assert shares[0] < 0.2
    assert shares[1] > 0.3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"some text",
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        encoded(PHOTO, "WEBP")[:300],
        bytes(range(256)),
    ],
)
def test_what_is_no_picture_gets_a_tile_all_the_same(data: bytes) -> None:
    tile = first_tile(sheet_of({"a": data}, "not_an_image"))
    assert colourful(tile) == 0
    assert tile.max() > 120  # A sheet of paper, and what it is.


@pytest.mark.parametrize(
    "reason", ["too_many_pixels", "too_many_bytes", "encrypted", "unsafe_path"]
)
def test_what_must_not_be_read_is_not_read(reason: str) -> None:
    def read(name: str) -> bytes:
        raise AssertionError(name)

    tile = first_tile(sheet_of({"a": b"", "b": b""}, reason, read))
    assert tile.max() > 100


@pytest.mark.parametrize("error", [OSError("gone"), KeyError("a"), MemoryError(), RecursionError()])
def test_a_file_that_cannot_be_read_is_a_tile(error: Exception) -> None:
    def read(_: str) -> bytes:
        raise error

    assert first_tile(sheet_of({"a": b""}, "corrupt", read)).max() > 100


def huge_png(width: int, height: int) -> bytes:
    """A small file with very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    packer = zlib.compressobj(9)
    row = b"\0" + b"\x80" * width
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def test_what_would_cost_too_much_is_not_decoded() -> None:
    bomb = huge_png(8000, 4000)
    assert len(bomb) < 100_000
    for data in (bomb, bomb[:-20]):
        with pytest.raises(NotShownError, match="too large to show"):
            thumbnail(data, 140)
    scans = encoded(PHOTO, "JPEG", progressive=True)
    start = scans.index(b"\xff\xda")
    with pytest.raises(NotShownError, match="scans"):
        thumbnail(scans[:start] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 200 + scans[start:], 140)


def test_large_photos_are_shown() -> None:
    data = encoded(np.tile(PHOTO, (25, 25, 1)), "JPEG")  # 20 megapixels, as a camera makes them.
    shown = thumbnail(data, 140)
    assert max(shown.size) == 140


def test_thumbnails_are_upright() -> None:
    photo = Image.fromarray(PHOTO)
    exif = photo.getexif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    photo.save(stream, "JPEG", exif=exif)
    for data in (stream.getvalue(), stream.getvalue()[:-200]):
        width, height = thumbnail(data, 140).size
        assert (width, height) == (112, 140)


GOOD = [encoded(PHOTO, kind) for kind in KINDS]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(GOOD),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=12),
    st.booleans(),
)
def test_no_damage_makes_it_fail(
    data: bytes, kept: float, flips: list[tuple[float, int]], header: bool
) -> None:
    damaged = bytearray(data[: round(len(data) * kept)])
    for share, bits in flips:
        if damaged:
            reach = min(len(damaged), 200) if header else len(damaged)
            damaged[int(share * (reach - 1))] ^= bits
    try:
        shown = thumbnail(bytes(damaged), 100)
    except NotShownError:
        shown = Image.new("RGB", (1, 1))
    assert max(shown.size) <= 100
    assert shown.mode == "RGB"
    assert kind_of(bytes(damaged)).isupper()


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=50),
            st.sampled_from([*MEANINGS, "a_reason_to_come"]),
            st.text(max_size=200),
            st.binary(max_size=300),
        ),
        max_size=12,
    )
)
def test_no_name_and_no_detail_makes_it_fail(rows: list[tuple[str, str, str, bytes]]) -> None:
    files = {name: data for name, _, _, data in rows}
    rejects = [reject(name, data, reason, detail) for name, reason, detail, data in rows]
    counts = Counter(r.reason for r in rejects)
    assert reject_sheet(rejects, files.__getitem__, counts) == reject_sheet(
        rejects[::-1], files.__getitem__, counts
    )


def test_examples_are_few_distinct_and_from_everywhere() -> None:
    rejects = [
        reject(f"{n // 10:03d}/{n:05d}.jpg", reason="blurred", detail=f"sharpness {n}")
        for n in range(1000)
    ]
    rejects += [Reject(f"copy/{n}.jpg", "corrupt", "ends early", "a" * 64) for n in range(50)]
    chosen = choose_rejects(rejects)
    assert choose_rejects(rejects[::-1]) == chosen
    blurred = [r for r in chosen if r.reason == "blurred"]
    assert [r.reason for r in chosen] == ["blurred"] * EXAMPLES + ["corrupt"]
    hundreds = [int(r.source[:3]) for r in blurred]
    assert hundreds == sorted(hundreds)
    assert all(8 <= b - a <= 17 for a, b in itertools.pairwise(hundreds[1:]))


def test_every_kind_of_detail_has_an_example() -> None:
    rejects = [reject(f"{n:03d}", detail=f"ends {n} bytes early") for n in range(100)]
    rejects += [reject("997", detail="no header"), reject("998", detail="no end")]
    details = [r.detail for r in choose_rejects(rejects)]
    assert "no header" in details
    assert "no end" in details
    assert len(details) == EXAMPLES


def test_of_a_photo_with_many_bad_crops_one_is_shown() -> None:
    crops = [
        Reject("group.jpg", "small_face", f"face of {n} pixels", "a" * 64, n) for n in range(9)
    ]
    assert choose_rejects(crops) == crops[:1]


def test_only_the_chosen_files_are_read() -> None:
    rejects = [reject(f"{n}.jpg") for n in range(500)]
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return b""

    reject_sheet(rejects, read, {"corrupt": 500})
    assert asked == [r.source for r in choose_rejects(rejects)]


@pytest.mark.parametrize("reasons", [0, 1, 5, 20])
def test_reasons_with_few_files_share_a_row(reasons: int) -> None:
    rejects = [reject(name, reason=name) for name in list(MEANINGS)[:reasons]]
    counts = {r.reason: 1 for r in rejects}
    with Image.open(io.BytesIO(reject_sheet(rejects, lambda _: b"", counts))) as sheet:
        assert sheet.height < 150 + 230 * -(-reasons // 3)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "EMPTY"),
        (b"hello\n", "TEXT"),
        ("Grüße\n".encode() * 99, "TEXT"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML>", "HTML"),
        (b"<svg xmlns=''/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04..", "ZIP"),
        (b"\0\0\0\x20ftypheic", "HEIC"),
        (b"\0\0\0\x20ftypisom", "VIDEO"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (bytes(range(256)), "DATA"),
    ],
)
def test_kinds_of_files(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind
