from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beam_jobs.duplicates import Fingerprint, find_duplicates
from beam_jobs.hamming import as_words, twins_within
from srgan import images
from srgan.quality import mirrored, perceptual_hash
from srgan.records import Split
from tests.support import shared_data

SPLITS: tuple[Split, ...] = ("test", "val", "train")


def distance(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def looks_apart(first: Fingerprint, second: Fingerprint) -> int:
    return min(distance(first.hash, second.hash), distance(mirrored(first.hash), second.hash))


def by_definition(
    records: Sequence[Fingerprint], earlier: Sequence[Fingerprint], bits: int
) -> dict[str, str]:
    """Every record compared with every other."""
    dropped: dict[str, str] = {}
    ordered = sorted(records, key=lambda r: (SPLITS.index(r.split), r.key))
    staying: list[Fingerprint] = []
    for place, record in enumerate(ordered):
        mine = [other for other in ordered[:place] if other.split == record.split]
        others = [o for o in (*staying, *earlier) if o.split != record.split]
        if record.pixels and any(record.pixels == o.pixels for o in (*mine, *staying, *earlier)):
            dropped[record.key] = "duplicate"
        elif bits >= 0 and any(looks_apart(record, other) <= bits for other in others):
            dropped[record.key] = "near_duplicate"
        else:
            staying.append(record)
    return dropped


def flipped(value: bytes, places: Sequence[int]) -> bytes:
    number = int.from_bytes(value, "big")
    for place in places:
        number ^= 1 << place
    return number.to_bytes(32, "big")


@st.composite
def fingerprints(draw: st.DrawFn, prefix: str) -> list[Fingerprint]:
    """Few pictures, each several times: re-encoded, mirrored, the same file again."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    pictures = [rng.randbytes(32) for _ in range(draw(st.integers(1, 4)))] + [bytes(32)]
    made = []
    for number in range(draw(st.integers(0, 25))):
        picture = rng.choice(pictures)
        pixels = bytes([pictures.index(picture)]) * 16 if rng.random() < 0.3 else rng.randbytes(16)
        hashed = flipped(picture, rng.sample(range(256), rng.choice([0, 1, 5, 12, 20, 33])))
        hashed = mirrored(hashed) if rng.random() < 0.3 else hashed
        pixels = b"" if prefix == "earlier" and rng.random() < 0.5 else pixels
        name = f"{prefix}-{number:02d}"
        made.append(Fingerprint(name, f"{name}.jpg", rng.choice(SPLITS), pixels, hashed))
    rng.shuffle(made)
    return made


@given(fingerprints("new"), fingerprints("earlier"), st.sampled_from([-1, 0, 3, 12, 24, 32, 64]))
@settings(deadline=None, max_examples=300)
def test_agrees_with_the_definition(
    records: list[Fingerprint], earlier: list[Fingerprint], bits: int
) -> None:
    found = find_duplicates(records, earlier, bits)
    assert {key: reason for key, (reason, _) in found.items()} == by_definition(
        records, earlier, bits
    )
    assert find_duplicates(records[::-1], earlier[::-1], bits) == found
    sources = {record.source for record in (*records, *earlier)}
    assert all(any(source in detail for source in sources) for _, detail in found.values())
    # What is left has no twins, and the test set loses nothing to the other splits.
    left = [record for record in records if record.key not in found]
    assert not by_definition(left, earlier, bits)


def random_hashes(seed: int, count: int, pictures: int, noise: float) -> np.ndarray:
    """Crowds of alike hashes, as uint64 [count, 4]."""
    rng = np.random.default_rng(seed)
    base = rng.random((pictures, 256)) < 0.5
    bits = base[rng.integers(0, pictures, count)] ^ (rng.random((count, 256)) < noise)
    return as_words(np.packbits(bits, axis=1).tobytes())


@pytest.mark.parametrize("chunks", [None, 0, 11, 13, 17, 32])
@pytest.mark.parametrize("bits", [0, 1, 10, 12, 13, 25, 26])
@pytest.mark.parametrize(("rows", "others"), [(120, 300), (300, 120)])
def test_the_index_finds_what_comparing_everything_finds(
    chunks: int | None, bits: int, rows: int, others: int
) -> None:
    mine = random_hashes(1, rows, 40, 0.05)
    table = random_hashes(1, others, 40, 0.05)
    apart = np.bitwise_count(mine[:, None] ^ table[None]).sum(axis=-1)
    twin, distance_ = twins_within(mine, table, bits, chunks=chunks)
    near = apart.min(axis=1) <= bits
    np.testing.assert_array_equal(twin, np.where(near, apart.argmin(axis=1), -1))
    np.testing.assert_array_equal(distance_[near], apart.min(axis=1)[near])
    assert near.sum() > 0 or bits < 10


def test_the_tightest_pairs_are_found_by_every_index() -> None:
    """One pair at exactly the limit, its differing bits wherever they hide best."""
    rng = np.random.default_rng(5)
    for bits in (7, 24, 32):
        for chunks in (11, 13, 16):
            base = rng.random((200, 256)) < 0.5
            twins = base.copy()
            for row in twins:
                # As evenly over the chunks as can be, some chunks one more than others.
                each = rng.permutation([(bits + chunk) // chunks for chunk in range(chunks)])
                for chunk, count in enumerate(each):
                    row[rng.choice(range(chunk, 256, chunks), count, replace=False)] ^= True
            mine, table = (as_words(np.packbits(b, axis=1).tobytes()) for b in (base, twins))
            twin, apart = twins_within(mine, table, bits, chunks=chunks)
            assert (apart == bits).all()
            assert (twin == np.arange(200)).all()
            assert (twins_within(mine, table, bits - 1, chunks=chunks)[0] == -1).all()


def fingerprint(key: str, split: Split, hashed: bytes, pixels: bytes = b"") -> Fingerprint:
    return Fingerprint(key, f"{key}.jpg", split, pixels, hashed)


def test_says_which_twin_and_how_near() -> None:
    picture = bytes(range(32))
    records = [
        fingerprint("a", "train", flipped(picture, [1, 2, 3])),
        fingerprint("b", "val", flipped(picture, [1])),
        fingerprint("c", "test", picture, b"p" * 16),
        fingerprint("d", "train", bytes(32), b"p" * 16),
        fingerprint("e", "train", mirrored(picture)),
    ]
    assert find_duplicates(records, [], 2) == {
        "b": ("near_duplicate", "looks like c.jpg (test): 1 of 256 bits differ"),
        "d": ("duplicate", "same pixels as c.jpg"),
        "e": (
            "near_duplicate",
            "looks like the mirror image of c.jpg (test): 0 of 256 bits differ",
        ),
    }
    assert set(find_duplicates(records, [], -1)) == {"d"}


def test_twins_in_one_split_stay() -> None:
    records = [fingerprint(str(n), split, bytes(32)) for n, split in enumerate(["train"] * 4)]  # type: ignore[arg-type]
    assert find_duplicates(records, [], 12) == {}


def test_who_gives_way_to_nobody_keeps_its_own_twins() -> None:
    """A train record near a val record that is itself dropped stays."""
    picture = bytes(range(32))
    records = [
        fingerprint("a", "test", picture),
        fingerprint("b", "val", flipped(picture, range(10))),
        fingerprint("c", "train", flipped(picture, range(20))),
    ]
    assert set(find_duplicates(records, [], 12)) == {"b"}


def test_earlier_datasets_never_give_way() -> None:
    picture = bytes(range(32))
    earlier = [fingerprint("old", "train", picture, b"p" * 16)]
    records = [
        fingerprint("a", "test", flipped(picture, [5])),
        fingerprint("b", "train", flipped(picture, [6])),
        fingerprint("c", "train", bytes(32), b"p" * 16),
    ]
    assert find_duplicates(records, earlier, 12) == {
        "a": ("near_duplicate", "looks like old.jpg (train): 1 of 256 bits differ"),
        "c": ("duplicate", "same pixels as old.jpg of an excluded dataset"),
    }


def test_unknown_pixels_are_nobodys_twin() -> None:
    records = [fingerprint(key, "train", bytes(32)) for key in "abc"]
    assert find_duplicates(records, [fingerprint("old", "train", bytes(32))], 12) == {}


def test_crowds_of_alike_images_take_no_time() -> None:
    """All flat, or frames of one scene: every bucket is full."""
    splits = ["train"] * 18 + ["val", "test"]
    frames = random_hashes(3, 40_000, 1, 0.03).tobytes()
    flat = bytes(32 * 40_000)
    for hashes in (flat, frames):
        records = [
            fingerprint(f"{n:06d}", splits[n % 20], hashes[32 * n : 32 * n + 32])  # type: ignore[arg-type]
            for n in range(40_000)
        ]
        started = time.monotonic()
        found = find_duplicates(records, [], 32)
        assert time.monotonic() - started < 60
        assert sum(splits[int(key) % 20] == "train" for key in found) > 0.99 * 36_000
        assert all(splits[int(key) % 20] != "test" for key in found)


@pytest.mark.slow
def test_a_hundred_thousand_records() -> None:
    hashes = random_hashes(4, 100_000, 90_000, 0.02).tobytes()
    rng = random.Random(4)
    records = [
        fingerprint(
            f"{n:06d}", rng.choices(get_args(Split), (90, 5, 5))[0], hashes[32 * n : 32 * n + 32]
        )
        for n in range(100_000)
    ]
    started = time.monotonic()
    found = find_duplicates(records, [], 32)
    assert time.monotonic() - started < 120
    assert 5_000 < len(found) < 20_000


def test_twins_of_real_faces_are_found() -> None:
    paths = sorted((shared_data() / "faces/lfw").glob("B*/*_0001.jpg"))
    faces = [images.centre_square(np.asarray(Image.open(p).convert("RGB")), 128) for p in paths]
    records = [
        fingerprint(path.stem, "train", perceptual_hash(face))
        for path, face in zip(paths, faces, strict=True)
    ]
    twins = [
        fingerprint(path.stem + " again", "test", perceptual_hash(face))
        for path, face in zip(
            paths, (np.rint(face[:, ::-1] * 0.8).astype(np.uint8) for face in faces), strict=True
        )
    ]
    found = find_duplicates(records + twins[::2], [], 32)
    assert set(found) == {path.stem for path in paths[::2]}
    assert all("mirror" in detail for _, detail in found.values())
