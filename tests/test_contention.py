"""Slow-downs are those measured, lie between them in between, and are at least 1."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from calibrate.cost_records import Together
from calibrate.costs.remeasure import pairs_at_once
from calibrate.costs.slow_downs import MOST_SLOW, slow_downs
from engine.configuration import Configuration
from engine.models.specs import ModelSpec
from engine.runtime.pair import Pair
from sim.costs.contention import FREE, Contention

slow = st.floats(1.0, 3.0)
GRID = [(n, b) for n in (1, 5) for b in (1, 4)]


@given(st.lists(st.tuples(slow, slow), min_size=4, max_size=4), st.integers(1, 300), st.integers(1, 9))
def test_between_the_pairs_that_were_measured(
    found: list[tuple[float, float]], tokens: int, branches: int
) -> None:
    contention = Contention(tuple((*pair, *both) for pair, both in zip(GRID, found, strict=True)))
    for pair, both in zip(GRID, found, strict=True):
        assert contention.slow_downs(*pair) == pytest.approx(both)
    for mine, column in zip(
        contention.slow_downs(min(tokens, 5), min(branches, 4)), zip(*found, strict=True), strict=True
    ):
        assert min(column) - 1e-9 <= mine <= max(column) + 1e-9
    line = min(tokens, 5)
    assert contention.slow_downs(line, 1)[0] == pytest.approx(
        found[0][0] + (line - 1) / 4 * (found[2][0] - found[0][0])
    )


@given(st.lists(st.tuples(slow, slow), min_size=4, max_size=4), st.integers(5, 300), st.integers(4, 40))
def test_beyond_them_what_is_added_stays_what_it_is(
    found: list[tuple[float, float]], tokens: int, branches: int
) -> None:
    """Of work that takes as much longer as it has more rows."""
    contention = Contention(tuple((*pair, *both) for pair, both in zip(GRID, found, strict=True)))
    for mine, edge in zip(contention.slow_downs(tokens, branches), found[3], strict=True):
        assert (mine - 1.0) * tokens * branches == pytest.approx((edge - 1.0) * 5 * 4)
    stated = Contention.stated(1.5, 2.0)
    assert stated.slow_downs(tokens, branches) == stated.slow_downs(1, 1) == (1.5, 2.0)


def test_ratios_of_medians_never_speed_up() -> None:
    together = Together(
        target_tokens=1,
        branches=1,
        context=9,
        target_alone=(1.0, 2.0, 9.0),
        target_together=(3.0, 3.0, 3.0),
        draft_alone=(2.0,),
        draft_together=(1.0,),
    )
    assert Contention.of([together]).slow_downs(1, 1) == (1.5, 1.0)


@given(st.floats(0.1, 9.0), st.floats(0.1, 9.0), slow, slow, st.integers(1, 8))
def test_rounds_in_which_one_waits_tell_what_held_while_both_computed(
    target: float, draft: float, target_slow: float, draft_slow: float, steps: int
) -> None:
    """A round by its closed form: until the first is done both are slowed, and then the other is not."""
    shared = min(target * target_slow, draft * draft_slow)
    both = [
        shared + alone - shared / slowed for alone, slowed in ((target, target_slow), (draft, draft_slow))
    ]
    together = Together(
        target_tokens=1,
        branches=1,
        context=9,
        target_alone=(target,),
        target_together=(both[0],),
        draft_alone=(draft / steps,),
        draft_together=(both[1] / steps,),
        steps=steps,
    )
    assert slow_downs([together]) == [pytest.approx((target_slow, draft_slow), rel=1e-6)]


def noisy(rng: np.random.Generator, target: float, draft: float, slow: tuple[float, float]) -> Together:
    """Six rounds of a target's forward and four steps of a draft, timings of which scatter by a tenth."""
    shared = min(target * slow[0], 4 * draft * slow[1])
    both = [shared + alone - shared / times for alone, times in zip((target, 4 * draft), slow, strict=True)]

    def timed(seconds: float) -> tuple[float, ...]:
        return tuple((seconds * rng.normal(1.0, 0.1, 6)).tolist())

    return Together(
        target_tokens=1,
        branches=1,
        context=9,
        target_alone=timed(target),
        target_together=timed(both[0]),
        draft_alone=timed(draft),
        draft_together=timed(both[1] / 4),
        steps=4,
    )


def test_what_a_small_draft_does_to_an_expensive_target_is_told_by_all_pairs() -> None:
    """Of 300 fours of which one covers a tenth of the target's forward: none is absurd any more, and all are nearer.

    By themselves one in five of those has a slow-down of more than 2, where it is 1.1.
    """
    rng = np.random.default_rng(0)
    alone, shared = [], []
    for _ in range(300):
        four = [noisy(rng, 0.1, draft, (1.1, 1.2)) for draft in (0.0025, 0.010, 0.010, 0.020)]
        alone.append([slow_downs([one])[0][0] for one in four])
        shared.append([target for target, _ in slow_downs(four)])
    assert np.mean(np.array(alone)[:, 0] > 2.0) > 0.2
    assert np.mean(np.array(shared)[:, 0] > 2.0) < 0.02
    error, before = (np.abs(np.log(np.array(some) / 1.1)).mean(axis=0) for some in (shared, alone))
    assert np.all(error < before)


def test_pairs_that_are_known_well_keep_what_they_are() -> None:
    made = [
        Together(
            target_tokens=tokens,
            branches=1,
            context=9,
            target_alone=(1.0, 1.0),
            target_together=(slower, slower),
            draft_alone=(1.0, 1.0),
            draft_together=(1.5 * slower, 1.5 * slower),
        )
        for tokens, slower in ((1, 1.1), (5, 2.0))
    ]
    assert slow_downs(made) == [pytest.approx((1.1, 1.65), rel=1e-4), pytest.approx((2.0, 3.0), rel=1e-4)]
    assert slow_downs([]) == []


@pytest.mark.parametrize("steps", [0, 4])
def test_no_slow_down_is_beyond_belief(steps: int) -> None:
    """Noise may leave nothing of the time in which a model was undisturbed."""
    together = Together(
        target_tokens=1,
        branches=1,
        context=9,
        target_alone=(1.0,),
        target_together=(3.0,),
        draft_alone=(0.001,),
        draft_together=(0.1,),
        steps=steps,
    )
    assert slow_downs([together]) == [pytest.approx((MOST_SLOW if steps else 3.0, MOST_SLOW))]


def test_nothing_measured_or_stated_is_free() -> None:
    assert FREE.none
    assert Contention.stated(1.0, 1.0).none
    assert not Contention.stated(1.0, 1.1).none
    assert FREE.slow_downs(3, 3) == (1.0, 1.0)


def test_what_computes_beside_the_target_is_what_has_a_device_of_its_own() -> None:
    """Each pair once, and none where models take turns or nobody drafts with a model."""
    spec = ModelSpec(source="t")
    pair = Pair(spec, {"a": spec, "b": spec}, cores=(0, 1))
    chosen = [
        Configuration(policy="autoregressive", placement="at-once"),
        Configuration(policy="speculative", draft="a", placement="in-turn"),
        Configuration(policy="pearl", draft="b", placement="threads"),
        Configuration(policy="pearl", placement="at-once"),
        Configuration(policy="specbranch", draft="a", placement="at-once"),
        Configuration(policy="prompt-lookup", placement="at-once"),
    ]
    assert pairs_at_once(pair, chosen) == [("threads", "b"), ("at-once", "a")]
