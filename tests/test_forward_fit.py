"""A forward's time as a function of rows, sequences and cache tokens, against truths that are known."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from calibrate.artifact import load_artifact
from calibrate.cost_records import Cell
from calibrate.costs.forward_fit import ForwardFit
from engine.errors import CalibrationError
from scenarios.shipped import REFERENCE

ROWS, SEQUENCES, CACHE = (1, 2, 4, 8, 32), (1, 2, 4), (0, 400, 4000)
GRID = [place for place in itertools.product(ROWS, SEQUENCES, CACHE) if place[0] >= place[1]]
FARTHEST = max(ROWS), max(SEQUENCES), max(CACHE)

steps = st.lists(st.floats(0.0, 0.02), min_size=len(ROWS), max_size=len(ROWS))
truths = st.tuples(st.floats(0.005, 0.05), steps, st.floats(0.0, 2e-5), st.floats(0.0, 2e-3))
Truth = tuple[float, list[float], float, float]


def true_seconds(truth: Truth, rows: int, sequences: int, cache_tokens: int) -> float:
    first, more, per_cache_token, per_sequence = truth
    base = first + sum(more[1 : ROWS.index(rows) + 1])
    return base + per_cache_token * cache_tokens + per_sequence * (sequences - 1)


def cells(truth: Truth, noise: np.ndarray) -> list[Cell]:
    """A cell at each place of the grid, whose time is off by a share."""
    return [
        Cell(rows=r, sequences=s, cache_tokens=c, seconds=(true_seconds(truth, r, s, c) * (1.0 + share),))
        for (r, s, c), share in zip(GRID, noise, strict=True)
    ]


@given(truths)
def test_a_truth_of_this_form_is_found(truth: Truth) -> None:
    fit = ForwardFit.of(cells(truth, np.zeros(len(GRID))))
    assert (fit.per_cache_token, fit.per_sequence) == pytest.approx(truth[2:], abs=1e-9)
    assert fit.residual < 1e-6
    for place in GRID:
        assert fit.seconds(*place) == pytest.approx(true_seconds(truth, *place), rel=1e-6)


@given(truths, st.integers(0, 999), st.floats(0.001, 0.03))
def test_noise_moves_it_little(truth: Truth, seed: int, share: float) -> None:
    """k and c are off by no more than what the noise of the longest time is over their range; f never falls; and what
    is left is at most the noise, of which the fit is the nearest."""
    noise = np.random.default_rng(seed).uniform(-share, share, len(GRID))
    made = cells(truth, noise)
    fit = ForwardFit.of(made)
    longest = true_seconds(truth, *FARTHEST)
    assert abs(fit.per_cache_token - truth[2]) <= 2.0 * share * longest / (max(CACHE) - min(CACHE))
    assert abs(fit.per_sequence - truth[3]) <= 2.0 * share * longest / (max(SEQUENCES) - min(SEQUENCES))
    assert list(fit.base) == sorted(fit.base)
    found = fit.seconds(*np.array(GRID).T)
    measured = np.array([cell.seconds[0] for cell in made])
    assert np.array(fit.residuals) == pytest.approx(found / measured - 1.0, abs=1e-9)
    true = np.array([true_seconds(truth, *place) for place in GRID])
    assert fit.residual <= np.sqrt(np.mean((true / measured - 1.0) ** 2)) + 1e-9


@given(truths, st.integers(1, 32), st.integers(32, 500))
def test_more_rows_never_take_less(truth: Truth, inside: int, beyond: int) -> None:
    """Between the measured counts and beyond them."""
    fit = ForwardFit.of(cells(truth, np.zeros(len(GRID))))
    found = fit.seconds(sorted({1, inside, 32, beyond}), 1, 0)
    assert (np.diff(found) >= -1e-12).all()


@given(truths)
def test_one_sequence_says_nothing_of_further_ones(truth: Truth) -> None:
    made = [cell for cell in cells(truth, np.zeros(len(GRID))) if cell.sequences == 1]
    fit = ForwardFit.of(made)
    assert fit.per_sequence == 0.0
    assert fit.per_cache_token == pytest.approx(truth[2], abs=1e-9)
    assert fit.seconds(4, 1, 400) == pytest.approx(true_seconds(truth, 4, 1, 400), rel=1e-6)


def test_what_cells_do_not_tell_apart_is_refused() -> None:
    """As many rows as sequences everywhere: each may be what takes the time."""
    made = [Cell(rows=n, sequences=n, cache_tokens=c, seconds=(0.01 * n,)) for n in (1, 2, 4) for c in (0, 9)]
    with pytest.raises(CalibrationError, match="do not tell rows, sequences and cache tokens apart"):
        ForwardFit.of(made)
    with pytest.raises(CalibrationError, match="no cells"):
        ForwardFit.of([])


def test_the_shipped_forwards_are_nearly_of_this_form() -> None:
    """To 2.5% in the root mean square (docs/design.md, "Costs of a batch"), with a cache that costs something."""
    for costs in load_artifact(REFERENCE).costs.placements:
        for made in (costs.target, *(draft.forward for draft in costs.drafts.values())):
            fit = ForwardFit.of(made)
            assert fit.residual < 0.025
            assert fit.per_cache_token > 0.0
