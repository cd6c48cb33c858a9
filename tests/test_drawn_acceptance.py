"""Drawn draft tokens replayed on a recorded text: what is accepted, and how often."""

import hypothesis.strategies as st
import numpy as np
import pytest
from artifacts import draft_trace
from hypothesis import given

from engine.policies.words import DraftLimits
from sim.acceptance import TraceAcceptance, agreement, off_path_runs
from sim.drawn_acceptance import DrawnAcceptance

LENGTH = 400
RNG = np.random.default_rng(0)
PATH = RNG.integers(0, 1000, size=LENGTH).astype(np.int32)
SEEN = draft_trace(PATH, 0.6, RNG)
TRACE = TraceAcceptance.of(PATH, SEEN, off_path_runs([SEEN]), [0])
TARGET = RNG.uniform(0.05, 1.0, size=LENGTH).astype(np.float32)


def source(seed: int = 0) -> DrawnAcceptance:
    return DrawnAcceptance.of(TRACE, SEEN.true_chance, TARGET, seed)


def test_a_token_is_right_as_often_as_lossless_verification_accepts_it() -> None:
    """Over 300 seeds, the mean of each of 40 places lies within 5 standard errors of min(1, q / p)."""
    seeds = range(300)
    for place in range(0, LENGTH, 10):
        chance = min(1.0, float(SEEN.true_chance[place]) / float(TARGET[place]))
        hits = sum(
            source(seed).write(place, (), 0, DraftLimits(1, drawn_from=0)).branches[0].tokens[0]
            == PATH[place]
            for seed in seeds
        )
        error = max((chance * (1.0 - chance) / len(seeds)) ** 0.5, 1e-9)
        assert abs(hits / len(seeds) - chance) <= 5 * error


def test_places_are_independent_draws() -> None:
    """How far a line goes has the law of a product of chances."""
    length, seeds = 4, range(2000)
    reached = np.zeros(length)
    for seed in seeds:
        (branch,) = source(seed).write(7, (), 0, DraftLimits(length, drawn_from=0)).branches
        reached[: agreement(TRACE.path, 7, branch.tokens)] += 1
    chances = np.minimum(1.0, SEEN.true_chance[7 : 7 + length] / TARGET[7 : 7 + length]).cumprod()
    errors = np.sqrt(chances * (1.0 - chances) / len(seeds))
    assert (np.abs(reached / len(seeds) - chances) <= 5 * errors + 1e-9).all()


@given(st.integers(0, LENGTH - 1), st.integers(1, 8), st.integers(1, 4), st.integers(0, 50))
def test_branch_points_are_the_recorded_candidates(position: int, length: int, count: int, seed: int) -> None:
    limits = DraftLimits(length, branches=count, adaptive=False, drawn_from=1)
    draft = source(seed).write(position, (), 0, limits)
    assert [b.tokens[0] for b in draft.branches] == list(TRACE.tokens[position][:count])
    for branch in draft.branches:
        right = agreement(TRACE.path, position, branch.tokens)
        assert all(token < 0 for token in branch.tokens[max(1, right) :])


@given(st.integers(0, LENGTH - 1), st.integers(1, 8))
def test_nothing_drawn_is_the_trace_itself(position: int, length: int) -> None:
    limits = DraftLimits(length, branches=3)
    assert source().write(position, (), 0, limits) == TRACE.write(position, (), 0, limits)


def test_redrafting_a_place_draws_anew() -> None:
    place = next(i for i in range(50, LENGTH) if 0.3 < SEEN.true_chance[i] / TARGET[i] < 0.7)
    limits = DraftLimits(8, drawn_from=0)
    firsts = {source(seed).write(place, (), 0, limits).branches[0].tokens[0] for seed in range(40)}
    assert len(firsts) == 2
    several = [source(1)._accepts(place, place - back, 0, 0) for back in range(40)]
    assert 0.1 < np.mean(several) < 0.9


def test_what_is_certain_is_accepted() -> None:
    sure = DrawnAcceptance.of(TRACE, np.ones(LENGTH, np.float32), np.ones(LENGTH, np.float32), 0)
    (branch,) = sure.write(3, (), 0, DraftLimits(6, drawn_from=0)).branches
    assert branch.tokens == pytest.approx(tuple(PATH[3:9]))
