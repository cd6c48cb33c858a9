"""The paired bootstrap: what it must cover, and what it must leave alone."""

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.metrics import between
from reports.verify.resampling import draw_prompts, ratio


def test_every_resample_has_as_many_prompts_of_each_kind() -> None:
    kinds = [*"abacabc"]
    draws = draw_prompts(kinds, seed=1, resamples=50)
    assert draws.weights.shape == (50, 7)
    for kind in "abc":
        mine = draws.weights[:, [k == kind for k in kinds]].sum(axis=1)
        assert mine == pytest.approx(np.full(50, kinds.count(kind)))
    assert (draws.weights == draw_prompts(kinds, seed=1, resamples=50).weights).all()
    assert (draws.weights != draw_prompts(kinds, seed=2, resamples=50).weights).any()


def test_a_kind_of_one_prompt_makes_all_prompts_one_kind() -> None:
    alone, one = (draw_prompts([*kinds], seed=3, resamples=50).weights for kinds in ("aaab", "cccc"))
    assert (alone == one).all()
    assert alone.sum(axis=1) == pytest.approx(np.full(50, 4.0))


@pytest.mark.parametrize("kinds", ["aaaaaaaa", "aabbbccc"])
def test_a_mean_varies_as_theory_says(kinds: str) -> None:
    """Over resamples the variance of a mean is the sum over kinds of (n / N)^2 s^2 / n, s^2 with n - 1."""
    values = np.random.default_rng(2).normal(size=8)
    means = draw_prompts([*kinds], seed=4, resamples=20_000) @ values / 8
    expected = 0.0
    for kind in set(kinds):
        mine = values[[k == kind for k in kinds]]
        expected += (len(mine) / 8) ** 2 * mine.var(ddof=1) / len(mine)
    assert means.var() == pytest.approx(expected, rel=0.05)


def test_a_ratio_that_all_prompts_share_is_certain() -> None:
    below = [1.0, 5.0, 2.5]
    found = ratio([3.0 * b for b in below], below, draw_prompts([*"aaa"], seed=0))
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_one_prompt_or_an_undefined_resample_gives_no_interval() -> None:
    assert math.isnan(ratio([1.0], [2.0], draw_prompts(["a"], seed=0)).low)
    found = ratio([1.0, 1.0], [2.0, 0.0], draw_prompts([*"aa"], seed=0))
    assert found.value == 1.0
    assert math.isnan(found.low)
    assert math.isnan(between(1.0, [], 4).high)


def test_few_prompts_widen_the_percentiles() -> None:
    """As far as Student's t reaches beyond the normal law, on either side; many leave them as they are."""
    drawn = np.arange(1001.0)
    few, many = between(600.0, drawn, 4), between(600.0, drawn, 1e9)
    assert (many.low, many.high) == pytest.approx((25.0, 975.0))
    assert (600.0 - few.low) / 575.0 == pytest.approx(2.7764 / 1.9600, rel=1e-4)
    assert (few.high - 600.0) / 375.0 == pytest.approx(2.7764 / 1.9600, rel=1e-4)


def test_the_freedom_is_that_of_all_kinds() -> None:
    assert draw_prompts([*"abacabc"], seed=0, resamples=9).freedom == 4
    assert draw_prompts([*"aaab"], seed=0, resamples=9).freedom == 3
    assert draw_prompts(["a"], seed=0, resamples=9).freedom == 0


def test_the_interval_of_a_ratio_covers_for_few_prompts() -> None:
    """Of five prompts 95 in 100 intervals hold the true ratio; by percentiles alone it is clearly fewer.

    2,000 draws leave a standard error of half a percent.
    """
    rng = np.random.default_rng(0)
    draws = draw_prompts(["a"] * 5, seed=0, resamples=400)
    held = {"few": 0, "many": 0}
    for _ in range(2000):
        below = rng.gamma(20, 1, size=5)
        above = 2.0 * below + rng.normal(0, 2, size=5)
        for law, freedom in (("few", draws.freedom), ("many", 10**9)):
            found = ratio(above.tolist(), below.tolist(), replace(draws, freedom=freedom))
            held[law] += found.low <= 2.0 <= found.high
    assert 0.93 <= held["few"] / 2000 <= 0.97
    assert held["many"] / 2000 < 0.90


def test_the_interval_of_a_ratio_covers() -> None:
    """About 95 in 100 intervals hold the true ratio; 300 draws leave a standard error near 1.3%."""
    rng = np.random.default_rng(0)
    draws = draw_prompts(["a"] * 40, seed=0, resamples=500)
    held = 0
    for _ in range(300):
        below = rng.gamma(20, 1, size=40)
        found = ratio((2.0 * below + rng.normal(0, 2, size=40)).tolist(), below.tolist(), draws)
        held += found.low <= 2.0 <= found.high
    assert 0.90 <= held / 300 <= 0.99
