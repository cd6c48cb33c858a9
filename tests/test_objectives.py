"""Objectives against plain arithmetic, bounds, and the Pareto front by its definition."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from artifacts import artifact
from hypothesis import given

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from sim.search.objectives import OBJECTIVES, Bounds, Occupancy, compare, cost, front, within

SECONDS = st.lists(st.floats(0.1, 10.0), min_size=6, max_size=6)
TOKENS = (10, 20, 30, 10, 20, 30)


@dataclass(frozen=True)
class Known:
    configuration: Configuration
    rollback_rate: float
    hedge_rate: float
    devices: int


@given(SECONDS, SECONDS)
def test_the_better_one_has_the_lower_cost(mine: list[float], theirs: list[float]) -> None:
    for objective in OBJECTIVES:
        found = compare(objective, mine, theirs, TOKENS, (2, 1))
        costs = cost(objective, mine, TOKENS, 2), cost(objective, theirs, TOKENS, 1)
        if objective != "tokens-per-device-second":
            assert cost(objective, mine, TOKENS, 1) == costs[0]
        assert found.value == pytest.approx(costs[1] / costs[0])


@given(SECONDS)
def test_equals_are_equal_for_sure(mine: list[float]) -> None:
    for objective in OBJECTIVES:
        found = compare(objective, mine, mine, TOKENS)
        assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_one_slow_prompt_of_ten_decides_the_tail_and_not_the_sum() -> None:
    steady, tail = [1.05] * 10, [1.0] * 9 + [1.4]
    assert compare("tokens-per-second", tail, steady, [10] * 10).value > 1.0
    assert compare("p95-token-seconds", tail, steady, [10] * 10).value < 1.0


def test_a_placement_counts_what_it_occupies() -> None:
    counts = Occupancy.of(artifact())
    alone, drafting = Configuration(policy="autoregressive"), Configuration(policy="pearl")
    assert (counts.devices(alone), counts.devices(drafting)) == (1, 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 4)), min_size=1, max_size=12))
def test_bounds_keep_what_they_say(entries: list[tuple[float, float, int]]) -> None:
    known = [Known(Configuration(policy="pearl", draft_length=i + 1), *e) for i, e in enumerate(entries)]
    bounds = Bounds(rollback_rate=0.5, devices=2)
    fit = [k for k in known if k.rollback_rate <= 0.5 and k.devices <= 2]
    if fit:
        assert within(known, bounds) == fit
    else:
        with pytest.raises(ConfigurationError, match="the nearest, PEARL"):
            within(known, bounds)
    assert within(known, Bounds()) == known


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=30))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True)) and a != b

    found = front(points)
    assert found
    for index, point in enumerate(points):
        beaten = any(dominates(other, point) for other in points)
        assert beaten == (index not in found)
    outside = np.setdiff1d(range(len(points)), found)
    assert all(any(dominates(points[i], points[j]) for i in found) for j in outside)
