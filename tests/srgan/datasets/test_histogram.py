from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.datasets.charts import axis, bar, columns, figure, size
from srgan.datasets.histogram import histogram

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(values, st.integers(8, 80), st.booleans(), st.booleans())
def test_every_value_is_in_a_bin(data: list[float], bins: int, log: bool, whole: bool) -> None:
    found = histogram(data, bins, log=log, whole=whole)
    assert found is not None
    assert sum(found.counts) == len(data)
    assert 1 <= len(found.counts) == len(found.edges) - 1 <= bins
    assert all(low < high for low, high in pairwise(found.edges))
    order = (found.minimum, found.p05, found.median, found.p95, found.maximum)
    assert all(low <= high + 1e-3 for low, high in pairwise(order))
    assert found.edges[0] <= found.minimum + 1e-3


@pytest.mark.parametrize("value", [0.0, 7.052355335875617e-302, -5e-324, 1e-9, 1e6])
def test_a_value_of_any_size_has_a_bin(value: float) -> None:
    found = histogram([value], 8)
    assert found is not None
    assert found.edges[0] <= value + 1e-12
    assert value < found.edges[-1]
    assert all(low < high for low, high in pairwise(found.edges))


def test_no_value_has_no_distribution() -> None:
    assert histogram([], 10) is None
    assert histogram([float("nan"), float("inf")], 10) is None


def test_edges_are_round_numbers() -> None:
    found = histogram(np.linspace(0.1, 9.8, 1000), 20)
    assert found is not None
    assert found.edges[:3] == (0.0, 0.5, 1.0)
    assert found.edges[-1] == 10.0


def test_one_value_is_one_bin() -> None:
    found = histogram([250.0] * 7, 64, whole=True)
    assert found is not None
    assert found.counts == (7,)
    assert found.minimum == found.maximum == 250


def test_an_outlier_does_not_flatten_the_rest() -> None:
    found = histogram([*np.linspace(1, 2, 999), 1000.0], 40)
    assert found is not None
    assert len(found.counts) > 15
    assert found.edges[-1] < 3
    assert found.maximum == 1000
    assert axis(found, 60).endswith("+")


def test_orders_of_magnitude_get_equal_ratios() -> None:
    found = histogram([32, 100, 1000, 4000] * 20, 10, log=True)
    assert found is not None
    ratios = [high / low for low, high in pairwise(found.edges)]
    assert max(ratios) == pytest.approx(min(ratios))
    assert found.at(found.position(500)) == pytest.approx(500)


def test_bars_are_in_proportion() -> None:
    found = histogram([1.5] * 4 + [2.5] * 8 + [3.5], 8)
    assert found is not None
    lines = columns(found, 80, 2)
    heights = {
        found.edges[n]: sum(
            " ▁▂▃▄▅▆▇█".index(line[n * (80 // len(found.counts))]) for line in lines
        )
        for n in range(len(found.counts))
    }
    assert max(heights.values()) == 16
    assert sorted(h for h in heights.values() if h) == [2, 8, 16]
    assert {c for line in columns(found, 80, 2, ascii_only=True) for c in line} <= set(" #")


@pytest.mark.parametrize(("share", "width"), [(0.0, 0), (1e-9, 1), (0.5, 10), (1.0, 20)])
def test_a_bar_for_a_share(share: float, width: int) -> None:
    assert len(bar(share, 20)) == width
    assert len(bar(share, 20, ascii_only=True)) == width


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_960, "10 kB"),
        (999_600, "1.0 MB"),
        (23e6, "23 MB"),
        (1.25e9, "1.2 GB"),
        (5e15, "5,000 TB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_figures() -> None:
    values = (0, 3.14159, 12.0, 250.4, 4000, 0.0123)
    assert [figure(v) for v in values] == ["0", "3.14", "12", "250", "4,000", "0.0123"]
