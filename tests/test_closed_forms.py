"""The simulator meets the closed forms for independent acceptance, constant durations and no jitter."""

import math

import pytest

from engine.policies.settings import Settings
from sim.acceptance import IndependentAcceptance
from sim.closed_forms import parallel_tokens_per_round, speculative_tokens_per_round
from sim.costs import LinearCosts
from sim.world import SimulatedRun, simulate

TOKENS = 40_000
COSTS = LinearCosts(draft_step_ms=5, target_forward_ms=17, hand_over_ms=1)


def run(acceptance: float, **settings: object) -> SimulatedRun:
    source = IndependentAcceptance.draw(TOKENS, acceptance, seed=1)
    return simulate(Settings.model_validate(settings), source, COSTS)


def tokens_per_round(result: SimulatedRun) -> float:
    return sum(r.emitted for r in result.rounds) / len(result.rounds)


def five_sigma(result: SimulatedRun) -> float:
    """Five standard errors of tokens per round; rounds of one chain are correlated, hence the factor 2."""
    mean = tokens_per_round(result)
    variance = sum((r.emitted - mean) ** 2 for r in result.rounds) / len(result.rounds)
    return 5 * 2 * math.sqrt(variance / len(result.rounds)) + 1e-3


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 3, 6])
def test_speculative(acceptance: float, length: int) -> None:
    result = run(acceptance, policy="speculative", draft_length=length)
    expected = speculative_tokens_per_round(acceptance, length)
    assert tokens_per_round(result) == pytest.approx(expected, abs=five_sigma(result))
    seconds = len(result.rounds) * (length * 0.005 + 0.017 + 2 * 0.001)
    assert result.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize("branches", [1, 2, 4])
def test_parallel(acceptance: float, length: int, branches: int) -> None:
    result = run(
        acceptance,
        policy="specbranch",
        draft_length=length,
        branches=branches,
        adaptive_branches=False,
    )
    hit = 1.0 - (1.0 - acceptance) ** branches
    expected = parallel_tokens_per_round(acceptance, length, hit)
    assert tokens_per_round(result) == pytest.approx(expected, abs=five_sigma(result))
    assert result.seconds == pytest.approx(len(result.rounds) * (max(length * 0.005, 0.017) + 0.001))


def test_pearl_is_specbranch_with_one_branch_and_no_cut() -> None:
    one_branch = run(0.7, policy="specbranch", draft_length=5, branches=1, adaptive_branches=False)
    assert run(0.7, policy="pearl", draft_length=5) == one_branch


def test_autoregressive_is_one_forward_a_token() -> None:
    result = run(0.7, policy="autoregressive")
    assert len(result.rounds) == TOKENS
    assert result.seconds == pytest.approx(TOKENS * 0.018)
