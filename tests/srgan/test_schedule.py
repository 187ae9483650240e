from __future__ import annotations

import itertools

import pytest

from srgan.schedule import learning_rate, steps_for_budget
from srgan.training_config import StageConfig


def rates(stage: StageConfig, steps: int) -> list[float]:
    return [learning_rate(stage, step, steps) for step in range(steps)]


def test_the_warm_up_is_a_line_and_the_cosine_ends_near_zero() -> None:
    found = rates(StageConfig(learning_rate=1e-3, warmup_steps=10, decay="cosine"), 100)
    assert found[0] == pytest.approx(1e-4)
    assert max(found) == found[9] == pytest.approx(1e-3)
    assert found[55] == pytest.approx(0.505e-3)
    assert 0 < found[-1] < 2e-5
    assert all(a > b for a, b in itertools.pairwise(found[10:]))


def test_halve_is_half_after_each_quarter() -> None:
    found = rates(StageConfig(learning_rate=1.0, decay="halve"), 8)
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_drops_are_where_the_paper_has_them_at_any_length() -> None:
    """SRGAN: 1e5 steps at 1e-4, 1e5 at 1e-5. ESRGAN: half at 50k, 100k, 200k and 300k of 400k."""
    srgan = StageConfig(learning_rate=1e-4, decay="drops", drops=(0.5,), drop_factor=0.1)
    for steps in (200_000, 20):
        assert learning_rate(srgan, steps // 2 - 1, steps) == pytest.approx(1e-4)
        assert learning_rate(srgan, steps // 2, steps) == pytest.approx(1e-5)
    esrgan = StageConfig(learning_rate=1e-4, decay="drops", drops=(0.125, 0.25, 0.5, 0.75))
    at = {step: learning_rate(esrgan, step, 400_000) for step in (49_999, 50_000, 300_000)}
    assert at == pytest.approx({49_999: 1e-4, 50_000: 5e-5, 300_000: 6.25e-6})


def test_a_drop_during_the_warm_up_comes_after_it() -> None:
    stage = StageConfig(learning_rate=1.0, warmup_steps=5, decay="drops", drops=(0.2,))
    assert rates(stage, 10)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 0.5])


def test_a_budget_becomes_steps() -> None:
    assert steps_for_budget(60, 0.5, 50, 1000) == 170
    assert steps_for_budget(-1, 0.5, 50, 1000) == 50
    assert steps_for_budget(1e9, 0.5, 50, 1000) == 1000
