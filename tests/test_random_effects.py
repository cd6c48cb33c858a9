"""Several values of one thing, each brought towards that of all by how badly it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.costs.random_effects import towards_common

VALUES = st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=8)


def test_a_single_value_is_as_it_was() -> None:
    assert towards_common(np.array([0.7]), np.array([4.0])) == pytest.approx([0.7])


@given(VALUES)
def test_what_is_badly_known_is_that_of_all(values: list[float]) -> None:
    found = towards_common(np.array(values), np.full(len(values), 1e3))
    assert found == pytest.approx([np.mean(values)] * len(values))


@given(VALUES)
def test_what_is_known_well_is_as_it_was(values: list[float]) -> None:
    found = towards_common(np.array(values), np.full(len(values), 1e-12))
    assert found == pytest.approx(values, abs=1e-5)


@given(VALUES, st.floats(0.01, 10.0))
def test_none_goes_beyond_the_others_nor_past_them(values: list[float], variance: float) -> None:
    found = towards_common(np.array(values), np.full(len(values), variance))
    assert min(values) - 1e-9 <= found.min() <= found.max() <= max(values) + 1e-9
    assert np.all(np.diff(found[np.argsort(values)]) >= -1e-9)


def test_the_worse_known_one_moves_the_more() -> None:
    found = towards_common(np.array([0.0, 0.1, 0.5]), np.array([0.01, 0.01, 0.16]))
    assert abs(found[2] - 0.5) > abs(found[0] - 0.0)


@pytest.mark.parametrize("between", [0.0, 0.05, 0.2])
def test_it_is_nearer_to_the_truth_in_the_mean(between: float) -> None:
    """Of 2,000 fours that differ by so much and are known to 0.1: never worse, and better where they are alike."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0.1, between, (2000, 4))
    known = truth + rng.normal(0.0, 0.1, truth.shape)
    found = np.array([towards_common(row, np.full(4, 0.01)) for row in known])
    error, before = (np.sqrt(np.mean(np.square(some - truth))) for some in (found, known))
    assert error < 1.0 * before
    if between <= 0.05:
        assert error < 0.75 * before
