"""When to look, and what each look may spend: against published bounds, and by simulation of the looks' law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from reports.verify.looks import ERROR, Look, Looks, level_at, plan_looks, spent


def test_bounds_are_the_published_ones() -> None:
    """Four even looks, 5% on two sides, O'Brien and Fleming's shape: Lan and DeMets's bounds as tables have them."""
    bounds = [-ndtri(level_at((6, 12, 18, 24)[:k], 24)) for k in (1, 2, 3, 4)]
    assert bounds == pytest.approx([4.3326, 2.9631, 2.3590, 2.0141], abs=5e-4)


@given(st.integers(2, 200), st.integers(1, 6))
def test_a_plan_ends_with_all_prompts(most: int, looks: int) -> None:
    planned = plan_looks(most, looks)
    assert planned[-1] == most
    assert planned[0] >= 2
    assert list(planned) == sorted(set(planned))
    assert len(planned) <= looks


def test_one_look_spends_everything() -> None:
    assert level_at((24,), 24) == pytest.approx(ERROR)
    assert spent(1.0) == pytest.approx(ERROR)
    assert level_at((7,), 24, last=True) == pytest.approx(ERROR)


def test_a_last_look_spends_what_is_left() -> None:
    assert level_at((6, 12, 14), 24) < level_at((6, 12, 14), 24, last=True) <= ERROR
    # The time was over right behind a look: the same prompts are looked at again, with all that is left.
    assert level_at((6, 12, 12), 24, last=True) == pytest.approx(level_at((6, 12), 24, last=True))


@pytest.mark.parametrize("counts", [(6, 12, 18, 24), (6, 12, 15), (4, 7, 10, 13)])
def test_looks_together_cross_as_often_as_planned(counts: tuple[int, ...]) -> None:
    """Of 200,000 sums of standard normal numbers, those that cross at some look: within 4 standard errors."""
    most, error = counts[-1] if counts[-1] != 15 else 24, 0.025
    sums = np.random.default_rng(1).standard_normal((200_000, counts[-1])).cumsum(axis=1)
    crossed = np.zeros(len(sums), dtype=bool)
    for k, count in enumerate(counts, 1):
        level = level_at(counts[:k], most, error, last=k == len(counts))
        crossed |= sums[:, count - 1] / np.sqrt(count) > -ndtri(level)
    assert crossed.mean() == pytest.approx(error, abs=4.0 * np.sqrt(error / len(sums)))


def test_what_was_decided_stays_so() -> None:
    first = Look(prompts=6, spent=1e-5, forecast={"regret": "undecided"}, model={"regret": "held"})
    second = Look(prompts=12, spent=1e-3, forecast={"regret": "broken"}, model={"regret": "broken"})
    looks = Looks(planned=(6, 12), taken=(first, second))
    assert looks.decided_before("model") == {"regret": ("held", 6)}
    assert looks.decided_before("forecast") == {"regret": ("broken", 12)}
    assert (first.decided, second.decided) == (False, True)
