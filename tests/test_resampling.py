"""The paired bootstrap: what it must cover, and what it must leave alone."""

import math

import numpy as np
import pytest

from reports.resampling import between, draw_prompts, ratio, statistic


def test_every_resample_has_as_many_prompts() -> None:
    draws = draw_prompts(7, seed=1, resamples=50)
    assert draws.shape == (50, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert (draws == draw_prompts(7, seed=1, resamples=50)).all()
    assert (draws != draw_prompts(7, seed=2, resamples=50)).any()


def test_a_ratio_that_all_prompts_share_is_certain() -> None:
    below = [1.0, 5.0, 2.5]
    found = ratio([3.0 * b for b in below], below, draw_prompts(3, seed=0))
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_one_prompt_or_an_undefined_resample_gives_no_interval() -> None:
    assert math.isnan(ratio([1.0], [2.0], draw_prompts(1, seed=0)).low)
    found = ratio([1.0, 1.0], [2.0, 0.0], draw_prompts(2, seed=0))
    assert found.value == 1.0
    assert math.isnan(found.low)
    assert math.isnan(between(1.0, []).high)


def test_a_statistic_is_taken_of_every_resample() -> None:
    rows = np.arange(1001.0)[:, None] * np.ones(3)
    found = statistic(lambda x: x.max(axis=-1), np.array([1.0, 2.0, 3.0]), rows)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 25.0, 975.0))


def test_the_interval_of_a_ratio_covers() -> None:
    """About 95 in 100 intervals hold the true ratio; 300 draws leave a standard error near 1.3%."""
    rng = np.random.default_rng(0)
    draws = draw_prompts(40, seed=0, resamples=500)
    held = 0
    for _ in range(300):
        below = rng.gamma(20, 1, size=40)
        found = ratio((2.0 * below + rng.normal(0, 2, size=40)).tolist(), below.tolist(), draws)
        held += found.low <= 2.0 <= found.high
    assert 0.90 <= held / 300 <= 0.99
