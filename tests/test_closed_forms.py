"""The simulator meets the closed forms for independent acceptance, constant durations and no jitter."""

import math
from collections.abc import Sequence

import pytest
from closed_forms import parallel_tokens_per_round, speculative_tokens_per_round
from one_text import Setting, simulate

from engine.policies.settings import Settings
from engine.record import Run
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.stated import StatedCosts

# Chains start anew with each path, so a path is long against the start that the closed forms leave out.
PATHS, TOKENS = 10, 1_000
COSTS = StatedCosts(draft_step_ms=5, target_forward_ms=17, hand_over_ms=1)


def run(acceptance: float, **settings: object) -> list[Run]:
    chosen = Settings.model_validate(settings)
    return [
        simulate(chosen, IndependentAcceptance.draw(TOKENS, acceptance, s), Setting(COSTS))
        for s in range(PATHS)
    ]


def emitted(runs: Sequence[Run]) -> list[int]:
    return [r.emitted for run in runs for r in run.rounds]


def seconds(runs: Sequence[Run]) -> float:
    return sum(run.seconds for run in runs)


def tokens_per_round(runs: Sequence[Run]) -> float:
    return sum(emitted(runs)) / len(emitted(runs))


def five_sigma(runs: Sequence[Run]) -> float:
    """Five standard errors of tokens per round; rounds of one chain are correlated, hence the factor 2.

    The last term is a round for each path's start and one for its end.
    """
    counts, mean = emitted(runs), tokens_per_round(runs)
    variance = sum((n - mean) ** 2 for n in counts) / len(counts)
    return 5 * 2 * math.sqrt(variance / len(counts)) + 2 * PATHS * mean / len(counts)


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 3, 6])
def test_speculative(acceptance: float, length: int) -> None:
    runs = run(acceptance, policy="speculative", draft_length=length)
    expected = speculative_tokens_per_round(acceptance, length)
    assert tokens_per_round(runs) == pytest.approx(expected, abs=five_sigma(runs))
    assert seconds(runs) == pytest.approx(len(emitted(runs)) * (length * 0.005 + 0.017 + 2 * 0.001))


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize("branches", [1, 2, 4])
def test_parallel(acceptance: float, length: int, branches: int) -> None:
    runs = run(
        acceptance,
        policy="specbranch",
        draft_length=length,
        branches=branches,
        adaptive_branches=False,
    )
    hit = 1.0 - (1.0 - acceptance) ** branches
    expected = parallel_tokens_per_round(acceptance, length, hit)
    assert tokens_per_round(runs) == pytest.approx(expected, abs=five_sigma(runs))
    assert seconds(runs) == pytest.approx(len(emitted(runs)) * (max(length * 0.005, 0.017) + 0.001))


def test_pearl_is_specbranch_with_one_branch_and_no_cut() -> None:
    one_branch = run(0.7, policy="specbranch", draft_length=5, branches=1, adaptive_branches=False)
    assert run(0.7, policy="pearl", draft_length=5) == one_branch


def test_autoregressive_is_one_forward_a_token() -> None:
    runs = run(0.7, policy="autoregressive")
    assert len(emitted(runs)) == PATHS * TOKENS
    assert seconds(runs) == pytest.approx(PATHS * TOKENS * 0.018)
