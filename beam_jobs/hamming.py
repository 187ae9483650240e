"""Which of a million 256-bit hashes lie within some bits of which others. Exact; NumPy.

Multi-index hashing (Norouzi, Punjani, Fleet 2012): hashes are cut into chunks; two of them that
differ in few bits differ in very few in one chunk at least, and such pairs are looked up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]  # [N, 4]: the 256 bits of N hashes
_Indices = NDArray[np.intp]
_Matches = tuple[_Indices, _Indices, _Indices]  # rows of one side and the other, differing bits

_BITS = 256
# Pairs compared at a time, some 60 bytes each.
_SLICE, _BLOCK = 2**20, 2**16
# Two photos agree in a bit as often as that: 16 bits tell as much as 14 random ones.
_AGREEMENT = 0.555
# Seconds, about: a pair compared in dense blocks, a lookup, a candidate, a round of NumPy calls.
_DENSE, _LOOKUP, _CANDIDATE, _ROUND = 3e-8, 2e-8, 5e-8, 1e-4
_FEWEST_CHUNKS, _MOST_CHUNKS = 11, 32
# With so many candidates, which alike hashes in crowds must be, the first of a crowd is tried.
_MANY, _OF_A_CROWD = 10**8, 64


def as_words(hashes: bytes) -> Words:
    """Hashes of 32 bytes each, one after the other."""
    return np.frombuffer(hashes, np.uint64).reshape(-1, 4)


def twins_within(
    rows: Words, others: Words, bits: int, *, chunks: int | None = None
) -> tuple[_Indices, _Indices]:
    """For each of ``rows`` one of ``others`` that differs in at most ``bits``, and in how many.

    It is the nearest and, of several, the first; where crowds look alike it is the nearest of
    some. ``-1`` where there is none. ``chunks`` of the index: ``None`` chooses, 0 does without.
    """
    twin, distance = np.full(len(rows), -1, np.intp), np.full(len(rows), _BITS + 1, np.intp)
    if not len(rows) or not len(others):
        return twin, distance
    # Each hash once: flat images have all the same one.
    rows, _, back = _distinct(rows)
    others, first, _ = _distinct(others)
    best = _Best(len(rows))
    small, large = sorted((len(rows), len(others)))
    index = _cheapest(bits, small, large, _AGREEMENT) if chunks is None else chunks
    left = np.arange(len(rows))
    if index:
        candidates = _exact_candidates(rows, others, index)
        if candidates > _MANY:
            for row, other, bits_apart in _first_of_crowds(rows, others, bits, index):
                best.add(row, first[other], bits_apart)
            left = np.flatnonzero(best.twin < 0)
        if chunks is None:
            agreement = (candidates / (small * large) / index) ** (index / _BITS)
            index = _cheapest(bits, small, large, max(_AGREEMENT, agreement))
    swapped = len(others) < len(left)
    sides = (others, rows[left]) if swapped else (rows[left], others)
    for one, another, bits_apart in _matches(*sides, bits, index):
        row, other = (another, one) if swapped else (one, another)
        best.add(left[row], first[other], bits_apart)
    return best.twin[back], best.distance[back]


class _Best:
    """Nearest twin so far of each row; the lowest index where several are as near."""

    def __init__(self, rows: int) -> None:
        self.twin = np.full(rows, -1, np.intp)
        self.distance = np.full(rows, _BITS + 1, np.intp)

    def add(self, row: _Indices, twin: _Indices, distance: _Indices) -> None:
        order = np.lexsort((twin, distance, row))
        row, place = np.unique(row[order], return_index=True)
        twin, distance = twin[order][place], distance[order][place]
        known, known_twin = self.distance[row], self.twin[row]
        better = (distance < known) | ((distance == known) & (twin < known_twin))
        self.twin[row[better]] = twin[better]
        self.distance[row[better]] = distance[better]


def _distinct(words: Words) -> tuple[Words, _Indices, _Indices]:
    """Distinct rows, where each occurs first, and which of them every row is."""
    whole = np.ascontiguousarray(words).view("V32").ravel()
    _, first, back = np.unique(whole, return_index=True, return_inverse=True)
    return words[first], first, back


def _matches(queries: Words, table: Words, bits: int, chunks: int) -> Iterator[_Matches]:
    """All pairs within ``bits``, some of them several times. Few queries are better than many."""
    if not chunks:
        height = max(1, _BLOCK // len(table))
        for top in range(0, len(queries), height):
            block = queries[top : top + height, None]
            apart = np.bitwise_count(block ^ table[None]).sum(axis=-1, dtype=np.intp)
            row, column = np.nonzero(apart <= bits)
            yield row + top, column, apart[row, column]
        return
    for number, radius in enumerate(_radii(bits, chunks)):
        index = _Index(table, number, chunks)
        codes = _codes(queries, number, chunks)
        # In order, so that neighbouring lookups fall into neighbouring memory.
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        for flipped in _flips(index.width, radius):
            start, count = index.bucket(codes ^ flipped)
            for place, row in index.members(start, count):
                yield from _verified(queries, table, order[place], row, bits)


def _first_of_crowds(rows: Words, others: Words, bits: int, chunks: int) -> Iterator[_Matches]:
    """Matches with the first of those that agree in a whole chunk, once for each row."""
    left = np.arange(len(rows))
    for number in range(chunks):
        index = _Index(others, number, chunks)
        start, count = index.bucket(_codes(rows[left], number, chunks))
        found = np.zeros(len(rows), np.bool_)
        for place, other in index.members(start, np.minimum(count, _OF_A_CROWD)):
            for match in _verified(rows, others, left[place], other, bits):
                found[match[0]] = True
                yield match
        left = left[~found[left]]


def _verified(
    queries: Words, table: Words, query: _Indices, row: _Indices, bits: int
) -> Iterator[_Matches]:
    # Half of the bits rule nearly all out.
    apart = _differing(queries[query, :2], table[row, :2])
    near = np.flatnonzero(apart <= bits)
    if not len(near):
        return
    query, row = query[near], row[near]
    apart = apart[near] + _differing(queries[query, 2:], table[row, 2:])
    near = np.flatnonzero(apart <= bits)
    if len(near):
        yield query[near], row[near], apart[near]


def _differing(some: Words, others: Words) -> _Indices:
    counts: _Indices = np.bitwise_count(some ^ others).sum(axis=1, dtype=np.intp)
    return counts


class _Index:
    """Rows of a table by one chunk of their bits."""

    def __init__(self, table: Words, number: int, chunks: int) -> None:
        codes = _codes(table, number, chunks)
        self.width = len(range(number, _BITS, chunks))
        self.order = np.argsort(codes, kind="stable")
        self.offsets = np.zeros(2**self.width + 1, np.intp)
        np.cumsum(np.bincount(codes, minlength=2**self.width), out=self.offsets[1:])

    def bucket(self, codes: _Indices) -> tuple[_Indices, _Indices]:
        """Where the rows with each code begin in ``order``, and how many they are."""
        start = self.offsets[codes]
        return start, self.offsets[codes + 1] - start

    def members(self, start: _Indices, count: _Indices) -> Iterator[tuple[_Indices, _Indices]]:
        """Every place in ``start`` with every row of its bucket, in slices."""
        places = np.flatnonzero(count)
        start, count = start[places], count[places]
        ends = np.cumsum(count)
        begin = 0
        while begin < len(places):
            done = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + _SLICE, side="right")))
            some, sizes = slice(begin, end), count[begin:end]
            within = np.arange(ends[end - 1] - done) - np.repeat(ends[some] - sizes - done, sizes)
            yield (
                np.repeat(places[some], sizes),
                self.order[np.repeat(start[some], sizes) + within],
            )
            begin = end


def _codes(words: Words, number: int, chunks: int) -> _Indices:
    """Every ``chunks``-th bit from ``number`` on as one integer: neighbours are correlated."""
    octets = words.view(np.uint8)
    codes = np.zeros(len(words), np.intp)
    for bit in range(number, _BITS, chunks):
        codes <<= 1
        codes |= (octets[:, bit >> 3] >> (7 - (bit & 7))) & 1
    return codes


def _radii(bits: int, chunks: int) -> list[int]:
    """How far two hashes within ``bits`` are apart in one of the chunks at least.

    If they were farther in each, they would be farther as a whole: with r = bits // chunks it is
    r in one of the first bits % chunks + 1, or r - 1 in one of the others.
    """
    radius, rest = divmod(bits, chunks)
    radii = [radius] * (rest + 1) + [radius - 1] * (chunks - rest - 1)
    return [r for r in radii if r >= 0]


def _flips(width: int, radius: int) -> Iterator[int]:
    for flipped in range(radius + 1):
        for places in itertools.combinations(range(width), flipped):
            yield sum(1 << place for place in places)


def _exact_candidates(rows: Words, others: Words, chunks: int) -> int:
    """Pairs that agree in a whole chunk, counted once for each such chunk."""
    total = 0
    for number in range(chunks):
        some, counts = np.unique(_codes(rows, number, chunks), return_counts=True)
        codes, other_counts = np.unique(_codes(others, number, chunks), return_counts=True)
        _, here, there = np.intersect1d(some, codes, assume_unique=True, return_indices=True)
        total += int(counts[here] @ other_counts[there])
    return total


def _cheapest(bits: int, queries: int, table: int, agreement: float) -> int:
    """Number of chunks with which the search takes the least time; 0: no index.

    ``agreement``: how probable it is that two hashes agree in a bit.
    """

    def seconds(chunks: int) -> float:
        if not chunks:
            return queries * table * _DENSE
        total = 0.0
        for number, radius in enumerate(_radii(bits, chunks)):
            width = len(range(number, _BITS, chunks))
            ways = [math.comb(width, flipped) for flipped in range(radius + 1)]
            near = sum(
                count * agreement ** (width - flipped) * (1 - agreement) ** flipped
                for flipped, count in enumerate(ways)
            )
            total += sum(ways) * (_ROUND + queries * _LOOKUP)
            total += queries * table * float(near) * _CANDIDATE
            total += 2**width * 1e-8 + (queries + table) * width * 1e-8
        return total

    chunks: int = min([0, *range(_FEWEST_CHUNKS, _MOST_CHUNKS + 1)], key=seconds)
    return chunks
