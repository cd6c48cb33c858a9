"""Right tokens in runs: shares, runs and tokens a round are those of the two-state chain."""

import itertools
import math

import pytest
from closed_forms import RoundsOfRuns, speculative_tokens_per_round
from hypothesis import given
from hypothesis import strategies as st
from one_text import Setting, simulate
from pydantic import ValidationError

from engine.policies.settings import Settings
from scenarios.stated import Bursty
from sim.acceptance.stated import draw_runs
from sim.costs.stated import StatedCosts

COSTS = StatedCosts(draft_step_ms=5, target_forward_ms=17)
CASES = [(0.7, 10 / 3), (0.7, 12.0), (0.5, 1.0), (0.9, 40.0), (0.2, 6.0)]


@pytest.mark.parametrize(("acceptance", "mean_run"), CASES)
def test_share_and_mean_run(acceptance: float, mean_run: float) -> None:
    bursty = Bursty(acceptance=acceptance, mean_run=mean_run)
    right = [token == 0 for token in draw_runs(bursty, 400_000, seed=1).path]
    runs = [len(list(run)) for good, run in itertools.groupby(right) if good]
    # A run's length is geometric: its standard deviation is below its mean. Shares vary as runs do.
    error = 5 * mean_run / math.sqrt(len(runs))
    assert sum(runs) / len(runs) == pytest.approx(mean_run, abs=max(error, 1e-4 * mean_run))
    assert sum(right) / len(right) == pytest.approx(acceptance, abs=10 / math.sqrt(len(runs)))


@pytest.mark.parametrize(("acceptance", "mean_run"), CASES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_more_candidates_take_their_share_of_what_is_left(
    acceptance: float, mean_run: float, rank: int
) -> None:
    path = draw_runs(Bursty(acceptance=acceptance, mean_run=mean_run), 400_000, seed=2).path
    wrong = [token for token in path if token > 0]
    within = sum(token <= rank for token in wrong) / len(wrong)
    expected = 1 - (1 - acceptance) ** rank
    assert within == pytest.approx(expected, abs=5 * math.sqrt(0.25 / len(wrong)))


@pytest.mark.parametrize(("acceptance", "mean_run"), CASES)
@pytest.mark.parametrize("length", [1, 3, 8])
def test_speculative_tokens_a_round(acceptance: float, mean_run: float, length: int) -> None:
    bursty = Bursty(acceptance=acceptance, mean_run=mean_run)
    settings = Settings(policy="speculative", draft_length=length)
    means = []
    for seed in range(16):
        run = simulate(settings, draw_runs(bursty, 1_500, seed), Setting(COSTS))
        # The last round is cut by the end of the text.
        means.append(sum(r.emitted for r in run.rounds[:-1]) / (len(run.rounds) - 1))
    mean = sum(means) / len(means)
    error = math.sqrt(sum((m - mean) ** 2 for m in means) / (len(means) - 1) / len(means))
    # Paths are independent, rounds of one are not; the cut last rounds take 1% at the most.
    assert mean == pytest.approx(RoundsOfRuns(bursty, length).tokens, abs=5 * error + 0.01 * mean)


@given(st.floats(0.05, 0.95), st.integers(1, 20))
def test_runs_of_independent_tokens_are_those_of_leviathan(acceptance: float, length: int) -> None:
    bursty = Bursty(acceptance=acceptance, mean_run=1 / (1 - acceptance))
    assert bursty.chances == pytest.approx((acceptance, acceptance))
    expected = speculative_tokens_per_round(acceptance, length)
    assert RoundsOfRuns(bursty, length).tokens == pytest.approx(expected)
    assert RoundsOfRuns(bursty, length).behind_right == pytest.approx(acceptance ** (length + 1))


@given(st.floats(0.05, 0.95), st.floats(1.0, 50.0))
def test_the_share_stays_as_it_is(acceptance: float, factor: float) -> None:
    least = max(1.0, acceptance / (1 - acceptance))
    right, wrong = Bursty(acceptance=acceptance, mean_run=least * factor).chances
    assert 0 <= right < 1
    assert 0 < wrong <= 1
    assert acceptance * right + (1 - acceptance) * wrong == pytest.approx(acceptance)


def test_runs_that_are_too_short_for_the_share() -> None:
    with pytest.raises(ValidationError, match="runs of them are 9 tokens long on average at the least"):
        Bursty(acceptance=0.9, mean_run=8.9)
