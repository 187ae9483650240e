"""Records that are dropped because another record shows the same picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_jobs.hamming import Words, as_words, twins_within
from srgan import quality
from srgan.records import Split

# Who stands first stays: the test set never shrinks for the sake of another split.
_STANDING: tuple[Split, ...] = ("test", "val", "train")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A record by the looks of its HR image.

    ``pixels`` is a digest of its pixels (empty: not known), ``hash`` are the 32 bytes of
    :func:`srgan.quality.perceptual_hash`.
    """

    key: str
    source: str
    split: Split
    pixels: bytes
    hash: bytes


def find_duplicates(
    records: Sequence[Fingerprint], earlier: Sequence[Fingerprint], bits: int
) -> dict[str, tuple[str, str]]:
    """Keys of the ``records`` to drop, each with a reason and what it is a twin of.

    ``duplicate``: the same pixels as a record of ``earlier`` datasets or as another one, of which
    that of the first split (test, val, train) with the smallest key stays.

    ``near_duplicate``: hashes, or one hash and that of the mirror image, differ in at most
    ``bits`` from a record of another split that stays: train gives way to val and test, val to
    test, and all of them to ``earlier`` ones. With ``bits`` -1 none is looked for.

    The order of both sequences does not matter. A million records take a minute or two.
    """
    dropped: dict[str, tuple[str, str]] = {}
    staying: list[Fingerprint] = []
    taken = {e.pixels: f"{e.source} of an excluded dataset" for e in reversed(_in_order(earlier))}
    taken.pop(b"", None)
    for split in _STANDING:
        first: dict[bytes, str] = {}
        mine = []
        for record in _in_order([r for r in records if r.split == split]):
            twin = taken.get(record.pixels) or first.get(record.pixels)
            if twin is None:
                mine.append(record)
            else:
                dropped[record.key] = ("duplicate", f"same pixels as {twin}")
            if record.pixels:
                first.setdefault(record.pixels, record.source)
        near: dict[str, str] = {}
        if bits >= 0:
            others = [*staying, *_in_order([e for e in earlier if e.split != split])]
            near = {mine[row].key: detail for row, detail in _near(mine, others, bits)}
        dropped |= {key: ("near_duplicate", detail) for key, detail in near.items()}
        # Only who stays pushes others out.
        kept = [record for record in mine if record.key not in near]
        taken |= {record.pixels: record.source for record in reversed(kept) if record.pixels}
        staying += kept
    return dropped


def _near(
    mine: Sequence[Fingerprint], others: Sequence[Fingerprint], bits: int
) -> Iterator[tuple[int, str]]:
    rows, table = _words(mine), _words(others)
    twin, distance = twins_within(rows, table, bits)
    (turn,) = as_words(quality.mirrored(bytes(32)))
    left = [row for row, index in enumerate(twin.tolist()) if index < 0]
    mirror_twin, mirror_distance = twins_within(rows[left] ^ turn, table, bits)
    for row, index in enumerate(twin.tolist()):
        if index >= 0:
            yield row, _detail(others[index], int(distance[row]), "looks like")
    for row, index, apart in zip(left, mirror_twin.tolist(), mirror_distance.tolist(), strict=True):
        if index >= 0:
            yield row, _detail(others[index], apart, "looks like the mirror image of")


def _detail(other: Fingerprint, apart: int, looks: str) -> str:
    return f"{looks} {other.source} ({other.split}): {apart} of {quality.HASH_BITS} bits differ"


def _in_order(records: Sequence[Fingerprint]) -> list[Fingerprint]:
    return sorted(records, key=lambda record: (record.key, record.source, record.split))


def _words(records: Sequence[Fingerprint]) -> Words:
    return as_words(b"".join(record.hash for record in records))
