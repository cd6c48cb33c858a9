"""Variances of few samples, told together: the law they are fitted by, and errors of the limits that come of it."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from reports.verify.criteria import Sampled, Sides, median_error, tail_error
from reports.verify.looks import ERROR
from reports.verify.shared_scatter import variance_law, with_shared_scatter

Floats = NDArray[np.float64]
COUNT = 20


def sampled(each: Floats) -> Sides:
    """Errors whose true value is 0, of samples [configurations, samples]."""
    samples = each.shape[1]
    rows = (each - each.mean(axis=1, keepdims=True)) / math.sqrt(samples * (samples - 1))
    source = Sampled(rows, np.zeros_like(rows), samples - 1.0)
    return Sides(each.mean(axis=1), np.zeros(len(each)), (source,))


@pytest.mark.parametrize(("spread", "freedom"), [(4.0, 2), (12.0, 2), (12.0, 5)])
def test_the_law_of_variances_is_found_again(spread: float, freedom: int) -> None:
    """Of 4,000 variances: their middle within a tenth, and what it is worth within a third."""
    rng = np.random.default_rng(0)
    true = 0.02**2 * spread / rng.chisquare(spread, 4000)
    shared, worth = variance_law(true * rng.chisquare(freedom, 4000) / freedom, float(freedom))
    assert shared == pytest.approx(0.02**2, rel=0.1)
    assert worth == pytest.approx(spread, rel=1 / 3)


def test_equal_variances_are_told_as_one() -> None:
    rng = np.random.default_rng(1)
    _, worth = variance_law(0.02**2 * rng.chisquare(2, 4000) / 2.0, 2.0)
    assert worth > 100


@pytest.mark.parametrize("samples", [3, 5])
@pytest.mark.parametrize("common", [0.0, 0.02, 0.06])
def test_limits_of_few_samples_hold_what_they_claim(samples: int, common: float) -> None:
    """95% intervals over 400 verifications of 20 errors each, own scatter unequal: 92% or more hold the truth.

    Welch's approximation is some two points short where what is common has two degrees of freedom.
    """
    rng = np.random.default_rng(2)
    held = []
    for _ in range(400):
        own = 0.02 * np.sqrt(8.0 / rng.chisquare(8.0, COUNT))
        each = own[:, None] * rng.standard_normal((COUNT, samples)) + common * rng.standard_normal(samples)
        held += [e.low <= 0.0 <= e.high for e in with_shared_scatter(sampled(each)).estimates()]
    assert np.mean(held) > 0.92


@pytest.mark.parametrize("samples", [3, 5])
@pytest.mark.parametrize("common", [0.0, 0.02, 0.06])
def test_loads_beyond_their_bounds_seldom_pass(samples: int, common: float) -> None:
    """In 200 verifications of 20 errors half of which, or three of which, are barely beyond their bound: 2.5%."""
    rng = np.random.default_rng(5)
    beyond = {"median": (COUNT // 2, 0.05), "tail": (3, 0.12)}
    wrong = dict.fromkeys(beyond, 0)
    for _ in range(200):
        own = 0.02 * np.sqrt(8.0 / rng.chisquare(8.0, COUNT))
        each = own[:, None] * rng.standard_normal((COUNT, samples)) + common * rng.standard_normal(samples)
        for name, (count, bound) in beyond.items():
            true = np.where(np.arange(COUNT) < count, math.log1p(bound + 1e-4), 0.0)
            sides = with_shared_scatter(sampled(true[:, None] + each))
            find = median_error if name == "median" else tail_error
            wrong[name] += find(sides, bound, lambda parts: ERROR / parts).outcome == "held"
    assert max(wrong.values()) <= binom.ppf(0.999, 200, ERROR)


def test_limits_are_narrower_where_nothing_is_common() -> None:
    """Of three samples by a third and more, in the median: 4.3 standard errors of one's own become some two."""
    rng = np.random.default_rng(3)
    sides = sampled(0.02 * rng.standard_normal((COUNT, 3)))
    alone, together = (
        np.median([e.high - e.low for e in one.estimates()]) for one in (sides, with_shared_scatter(sides))
    )
    assert together < alone / 1.5


def test_few_or_unscattered_configurations_are_left_as_they_are() -> None:
    rng = np.random.default_rng(4)
    few, short = sampled(rng.standard_normal((3, 3))), sampled(rng.standard_normal((COUNT, 2)))
    still = sampled(np.zeros((COUNT, 3)))
    assert with_shared_scatter(few) is few
    assert with_shared_scatter(short) is short
    assert with_shared_scatter(still) is still
