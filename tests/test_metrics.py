"""Metrics are ratios of sums, and their intervals shrink and cover as they should."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from engine.metrics import measure, ratio_of_sums, speed, speed_up, student
from engine.policies.tree import Round
from engine.record import Job, Run


def run(tokens: int, seconds: float, shared: bool = False) -> Run:
    rounds = tuple(
        Round(drafted=4, verified=2, accepted=1, emitted=1, rollback=1, hedge=2) for _ in range(tokens)
    )
    jobs = (Job("target", 0, 0.0, seconds / 2, 1, 1), Job("draft", 0, seconds / 2, seconds * 0.75, 1, 1))
    return Run("engine", tuple(range(tokens)), rounds, jobs, seconds, seconds / 4, shared, "token-limit")


def test_rates_follow_their_definitions() -> None:
    metrics = measure([run(10, 2.0), run(30, 4.0)])
    assert metrics.tokens_per_second == pytest.approx(40 / 6)
    assert metrics.mean_accepted_length == 1.0
    assert metrics.rollback_rate == pytest.approx(40 / (160 - 80))
    assert metrics.hedge_rate == pytest.approx(0.5)
    assert (metrics.target_idle, metrics.draft_idle) == pytest.approx((0.5, 0.75))
    assert metrics.first_token_seconds == pytest.approx(0.75)
    shared = measure([run(10, 2.0, shared=True)])
    assert shared.target_idle == shared.draft_idle == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.1, 10)), min_size=2, max_size=8), st.floats(0.2, 5))
def test_a_uniform_gain_is_certain(sizes: list[tuple[int, float]], gain: float) -> None:
    baseline = [run(n, s) for n, s in sizes]
    faster = [run(n, s / gain) for n, s in sizes]
    found = speed_up(faster, baseline)
    assert found.value == pytest.approx(gain)
    assert found.low == pytest.approx(gain, rel=1e-3)
    assert found.high == pytest.approx(gain, rel=1e-3)


def test_repeats_of_a_text_are_one_observation() -> None:
    runs = [run(10, 1.0), run(20, 1.0), run(10, 1.0), run(20, 1.0)]
    once, twice = speed(runs[:2]), speed(runs, texts=[0, 1, 0, 1])
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert speed(runs).high < twice.high
    assert math.isnan(speed(runs[:1]).low)


def test_the_interval_covers() -> None:
    """About 95 in 100 intervals hold the true ratio; 400 draws leave a standard error near 1%."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        below = rng.gamma(20, 1, size=40)
        above = 2.0 * below + rng.normal(0, 2, size=40)
        found = ratio_of_sums(above.tolist(), below.tolist())
        held += found.low <= 2.0 <= found.high
    assert 0.91 <= held / 400 <= 0.98


@pytest.mark.parametrize("count", [3, 5])
def test_the_interval_covers_for_few_texts(count: int) -> None:
    """95 in 100 where the normal law's 1.96 errors would cover clearly fewer; the standard error is half a percent."""
    rng = np.random.default_rng(0)
    held = short = 0
    for _ in range(2000):
        below = rng.gamma(20, 1, size=count)
        found = ratio_of_sums((2.0 * below + rng.normal(0, 2, size=count)).tolist(), below.tolist())
        held += found.low <= 2.0 <= found.high
        short += abs(found.value - 2.0) <= (found.high - found.value) * 1.96 / student(count - 1)
    assert 0.93 <= held / 2000 <= 0.97
    assert short / 2000 < 0.90


def test_students_t() -> None:
    """By the closed forms: one degree of freedom is Cauchy's law, two have a square root's."""
    assert student(1) == pytest.approx(math.tan(math.pi * 0.475))
    assert student(2) == pytest.approx(0.95 * math.sqrt(2.0 / (1.0 - 0.95**2)))
    assert student(math.inf) == pytest.approx(1.959964, rel=1e-6)
    assert math.isnan(student(0))
