"""Slow-downs are those measured, lie between them in between, and are at least 1."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from calibrate.artifact import Together
from sim.contention import FREE, Contention

slow = st.floats(1.0, 3.0)
GRID = [(n, b) for n in (1, 5) for b in (1, 4)]


@given(st.lists(st.tuples(slow, slow), min_size=4, max_size=4), st.integers(1, 300), st.integers(1, 9))
def test_between_the_pairs_that_were_measured(
    found: list[tuple[float, float]], tokens: int, branches: int
) -> None:
    contention = Contention(tuple((*pair, *both) for pair, both in zip(GRID, found, strict=True)))
    for pair, both in zip(GRID, found, strict=True):
        assert contention.slow_downs(*pair) == pytest.approx(both)
    for mine, column in zip(contention.slow_downs(tokens, branches), zip(*found, strict=True), strict=True):
        assert min(column) - 1e-9 <= mine <= max(column) + 1e-9
    assert contention.slow_downs(tokens, 1)[0] == pytest.approx(
        found[0][0] + min(1.0, (tokens - 1) / 4) * (found[2][0] - found[0][0])
    )


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
    assert Contention.of([together]).slow_downs(7, 2) == (1.5, 1.0)


def test_nothing_measured_or_stated_is_free() -> None:
    assert FREE.none
    assert Contention.stated(1.0, 1.0).none
    assert not Contention.stated(1.0, 1.1).none
    assert FREE.slow_downs(3, 3) == (1.0, 1.0)
