"""A forward's time as a function of rows, sequences and cache tokens, against truths that are known."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from calibrate.artifact import load_artifact
from calibrate.cost_records import Cell, Key
from calibrate.costs.forward_fit import ForwardFit, Side, Terms
from calibrate.costs.measurement import (
    BATCHED_CONTEXTS,
    BATCHED_TOKENS,
    CHUNKED,
    FORWARD_CONTEXTS,
    SHORTEST_PROMPT,
    TARGET_TOKENS,
    TOGETHER,
)
from calibrate.costs.measurement import SEQUENCES as SEQUENCES_OF_BATCHES
from engine.errors import CalibrationError
from scenarios.shipped import REFERENCE

ROWS, SEQUENCES, CACHE = (1, 2, 4, 8, 32), (1, 2, 4), (0, 400, 4000)
GRID = [place for place in itertools.product(ROWS, SEQUENCES, CACHE) if place[0] >= place[1]]

steps = st.lists(st.floats(0.0, 0.02), min_size=len(ROWS), max_size=len(ROWS))
truths = st.tuples(
    st.floats(0.005, 0.05), steps, st.floats(0.0, 2e-5), st.floats(0.0, 5e-7), st.floats(0.0, 2e-3)
)
Truth = tuple[float, list[float], float, float, float]


def true_seconds(truth: Truth, rows: int, sequences: int, cache_tokens: int) -> float:
    first, more, per_cache_token, per_attended, per_sequence = truth
    base = first + sum(more[1 : ROWS.index(rows) + 1])
    seen = rows * cache_tokens / sequences
    return base + per_cache_token * cache_tokens + per_attended * seen + per_sequence * (sequences - 1)


def cells(truth: Truth, noise: np.ndarray) -> list[Cell]:
    """A cell at each place of the grid, whose time is off by a share."""
    return [
        Cell(rows=r, sequences=s, cache_tokens=c, seconds=(true_seconds(truth, r, s, c) * (1.0 + share),))
        for (r, s, c), share in zip(GRID, noise, strict=True)
    ]


@given(truths)
def test_a_truth_of_this_form_is_found(truth: Truth) -> None:
    fit = ForwardFit.of(cells(truth, np.zeros(len(GRID))))
    assert fit.few.terms == fit.many.terms == pytest.approx((*truth[2:], 0.0), abs=1e-9)
    assert fit.residual < 1e-6
    for place in GRID:
        assert fit.seconds(*place) == pytest.approx(true_seconds(truth, *place), rel=1e-6)


@given(truths, st.integers(0, 999), st.floats(0.001, 0.03))
def test_noise_moves_it_little(truth: Truth, seed: int, share: float) -> None:
    """What is left is at most the noise, since the truth would leave it, and so the fit is no farther from the truth
    than twice that; f never falls."""
    noise = np.random.default_rng(seed).uniform(-share, share, len(GRID))
    made = cells(truth, noise)
    fit = ForwardFit.of(made)
    for side in (fit.few, fit.many):
        assert list(side.base) == sorted(side.base)
    found = fit.seconds(*np.array(GRID).T)
    measured = np.array([cell.seconds[0] for cell in made])
    assert np.array(fit.residuals) == pytest.approx(found / measured - 1.0, abs=1e-9)
    true = np.array([true_seconds(truth, *place) for place in GRID])
    left = np.sqrt(np.mean((true / measured - 1.0) ** 2))
    assert fit.residual <= left + 1e-9
    assert np.sqrt(np.mean(((found - true) / measured) ** 2)) <= 2.0 * left + 1e-9


@given(truths, st.integers(1, 32), st.integers(32, 500))
def test_more_rows_never_take_less(truth: Truth, inside: int, beyond: int) -> None:
    """Between the measured counts and beyond them, of one kernel."""
    fit = ForwardFit.of(cells(truth, np.zeros(len(GRID))))
    found = fit.seconds(sorted({1, inside, 32, beyond}), 1, 0)
    assert (np.diff(found) >= -1e-12).all()


def timed(truth: Truth, row: float, head: float, key: Key) -> Cell:
    """A cell as a calibration has it, of a truth in which `head` is what a scored row takes, as a share of a `row`."""
    first, _, cache, attended, each = truth
    took = first + row * (key.rows + head * (key.rows - key.unscored))
    took += key.context * (cache * key.sequences + attended * key.rows) + each * (key.sequences - 1)
    return Cell(
        rows=key.rows,
        sequences=key.sequences,
        cache_tokens=key.context * key.sequences,
        unscored=key.unscored,
        seconds=(took,),
    )


LINES = [Key("forward", n, c) for n, c in itertools.product(TARGET_TOKENS, FORWARD_CONTEXTS)]
LINES += [Key("forward", n, 0) for n in (SHORTEST_PROMPT, 60, 128, 129, 184)]
BATCHES = [
    Key("batched", *place)
    for place in itertools.product(BATCHED_TOKENS, BATCHED_CONTEXTS, SEQUENCES_OF_BATCHES)
]
CHUNKS = [Key("chunked", tokens, BATCHED_CONTEXTS[0], texts) for texts, tokens in CHUNKED]
CHUNKS.append(Key("prompts", TOGETHER[1], BATCHED_CONTEXTS[0], TOGETHER[0]))
heads = st.floats(0.0, 0.5)
rows_of = st.floats(1e-4, 2e-3)


@settings(max_examples=25)
@given(truths, rows_of, heads, st.integers(200, 600), st.integers(1, 6))
def test_prompts_that_are_read_together_take_what_their_rows_do(
    truth: Truth, row: float, head: float, rows: int, sequences: int
) -> None:
    """As calibrations measured them before they had prompts beside other rows, and did not note what is scored.

    All rows of a batch are, for a share more, of a prompt the last alone. So the widest batch takes about as long as a
    longer prompt, and f is level between them; yet beyond the longest prompt that was measured each row takes what a
    row does.
    """
    made = [timed(truth, row, head, key).model_copy(update={"unscored": 0}) for key in LINES + BATCHES]
    found = ForwardFit.of(made).seconds(rows, sequences, 0)
    true = truth[0] + row * (rows + head * sequences) + truth[4] * (sequences - 1)
    assert found == pytest.approx(true, rel=0.15)


@settings(max_examples=25)
@given(truths, rows_of, heads, st.integers(18, 700), st.integers(1, 16), st.integers(0, 256))
def test_what_a_calibration_times_tells_what_prompts_take_beside_other_rows(
    truth: Truth, row: float, head: float, rows: int, sequences: int, context: int
) -> None:
    """Scored rows apart from read ones, and so a forward of any prompts and other rows, also beyond what was timed."""
    fit = ForwardFit.of([timed(truth, row, head, key) for key in LINES + BATCHES + CHUNKS])
    assert fit.residual < 1e-6
    key = Key("chunked", rows, context, sequences)
    found = fit.seconds(key.rows, sequences, context * sequences, scored=key.rows - key.unscored)
    assert found == pytest.approx(timed(truth, row, head, key).seconds[0], rel=1e-3)


@settings(max_examples=25)
@given(truths, truths, rows_of, heads, st.floats(1.2, 3.0))
def test_another_kernel_of_prompts_has_terms_of_its_own(
    few: Truth, many: Truth, row: float, head: float, dearer: float
) -> None:
    """Beyond 128 rows, as where PyTorch reads them: these cells tell what a sequence and a scored row take there."""
    made = [
        timed(few, row, head, key) if key.rows <= 128 else timed(many, dearer * row, head, key)
        for key in LINES + BATCHES + CHUNKS
    ]
    fit = ForwardFit.of(made)
    found = fit.seconds(
        [cell.rows for cell in made],
        [cell.sequences for cell in made],
        [cell.cache_tokens for cell in made],
        scored=[cell.rows - cell.unscored for cell in made],
    )
    assert found == pytest.approx([cell.seconds[0] for cell in made], rel=0.02)


def test_prompts_alone_are_no_kernel_of_their_own() -> None:
    """Whatever they take: they would say that further requests take nothing."""
    made = [
        Cell(rows=n * texts, sequences=texts, cache_tokens=c * texts, seconds=(0.01 + 1e-3 * (texts - 1),))
        for n, texts, c in itertools.product((1, 2, 4), (1, 4), (0, 100))
    ]
    fit = ForwardFit.of([*made, Cell(rows=100, sequences=1, cache_tokens=0, seconds=(0.005,))])
    assert fit.knee < 16
    assert fit.many.terms.sequence > 0.0


@given(truths)
def test_one_sequence_says_nothing_of_further_ones(truth: Truth) -> None:
    made = [cell for cell in cells(truth, np.zeros(len(GRID))) if cell.sequences == 1]
    fit = ForwardFit.of(made)
    assert fit.few.terms.sequence == fit.many.terms.sequence == 0.0
    assert fit.few.terms[:2] == pytest.approx(truth[2:4], abs=1e-9)
    assert fit.seconds(4, 1, 400) == pytest.approx(true_seconds(truth, 4, 1, 400), rel=1e-6)


@given(truths)
def test_as_many_rows_everywhere_say_nothing_of_what_each_sees(truth: Truth) -> None:
    """All that the cache takes is k's then, and of as many rows it is right."""
    made = [c for c in cells(truth, np.zeros(len(GRID))) if (c.rows, c.sequences) == (4, 1)]
    fit = ForwardFit.of(made)
    assert fit.few.terms.attended == 0.0
    for cell in made:
        assert fit.seconds(4, 1, cell.cache_tokens) == pytest.approx(cell.seconds[0], rel=1e-6)


def test_what_is_read_of_several_texts_is_the_sum_of_what_each_row_sees() -> None:
    side = Side((1, 9), (1.0, 2.0), Terms(attended=0.25))
    fit = ForwardFit(side, side, 0, ())
    assert fit.seconds(9, 3, 600) == fit.seconds(9, 3, 600, attended=9 * 200)
    assert fit.seconds(9, 3, 600, attended=7 * 500 + 2 * 50) - fit.seconds(9, 3, 600) == 0.25 * 1800


@given(truths, truths, st.sampled_from(ROWS[1:-1]))
def test_another_kernel_of_many_rows_is_found(few: Truth, many: Truth, knee: int) -> None:
    """All of its terms are others; then nothing is left of the difference, also where it is the faster one."""
    made = []
    for place in GRID:
        seconds = true_seconds(few if place[0] <= knee else many, *place)
        made.append(Cell(rows=place[0], sequences=place[1], cache_tokens=place[2], seconds=(seconds,)))
    fit = ForwardFit.of(made)
    for cell in made:
        place = cell.rows, cell.sequences, cell.cache_tokens
        assert fit.seconds(*place) == pytest.approx(cell.seconds[0], rel=1e-4)
        assert fit.seconds(*place) == pytest.approx(
            fit.seconds(cell.rows, 1, 0) + by_terms(fit.side(cell.rows).terms, cell), rel=1e-9
        )


def by_terms(terms: Terms, cell: Cell) -> float:
    seen = cell.rows * cell.cache_tokens / cell.sequences
    return (
        terms.cache_token * cell.cache_tokens + terms.attended * seen + terms.sequence * (cell.sequences - 1)
    )


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
            assert fit.few.terms.cache_token + fit.few.terms.attended > 0.0
