"""Which visits count, and when a cell is known well enough."""

import math
from collections import Counter
from statistics import fmean

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from calibrate.cost_records import PROMPT, STEP, Cell, Key
from calibrate.costs.sampling_plan import (
    BETWEEN,
    DISTURBED,
    MOST,
    WANTED,
    SamplingPlan,
    add_lap,
    due_in,
    without_drift,
)
from calibrate.intervals import half_width, uncertainty
from engine.runtime.waiting import DISTURBING

KEYS = [Key("forward", n, 0) for n in (1, 2, 5)]
END = ["", 0, 0, 1, []]  # of a lap, before the last time of the reference operation, and waiting


def plan(references: list[float]) -> SamplingPlan:
    """Laps over the same cells; `references` are the times of the reference operation, one more than visits."""
    made = SamplingPlan("in-turn", "target", KEYS)
    found = [[*KEYS[i % 3], [0.01 + i, 0.01 + i], r, 0.0] for i, r in enumerate(references[:-1])]
    add_lap(made, [*found, [*END, references[-1], 0.0]])
    return made


@given(st.lists(st.floats(0.001, 0.1), min_size=4, max_size=40))
def test_every_sample_is_kept_or_kept_apart(references: list[float]) -> None:
    made = plan(references)
    kept, apart = made.sifted()
    assert sorted(v.seconds for v in [*kept, *apart]) == sorted(v.seconds for v in made.visits)  # in one lap
    assert len(apart) <= MOST * len(made.visits)
    cells = made.cells("forward")
    assert [(c.rows, c.cache_tokens) for c in cells] == [(key.tokens, key.context) for key in KEYS]
    assert sum(len(c.seconds) + len(c.excluded) for c in cells) == 2 * len(made.visits)


def test_only_what_was_slow_on_both_sides_is_apart() -> None:
    slow = 0.01 * DISTURBED * 1.01
    made = plan([0.01, 0.01, slow, 0.01, 0.01, slow, slow, 0.01, 0.01, 0.01])
    assert [v.seconds[0] for v in made.sifted()[1]] == [pytest.approx(5.01)]


def crowded_plan(waited: list[float]) -> SamplingPlan:
    """A lap over the same cells, of an even machine; `waited`: for what share of each visit threads had no core."""
    made = SamplingPlan("in-turn", "target", KEYS)
    add_lap(made, [*([*KEYS[i % 3], [0.01 + i], 0.01, w] for i, w in enumerate(waited)), [*END, 0.01, 0.0]])
    return made


def test_what_something_else_took_the_cores_from_is_apart() -> None:
    made = crowded_plan([0.0, 0.0, DISTURBING, 0.0, DISTURBING * 1.01, 0.0])
    assert [v.seconds[0] for v in made.sifted()[1]] == [pytest.approx(4.01)]
    assert made.cells("forward")[1].excluded == pytest.approx([4.01])


def test_a_machine_that_others_use_all_the_time_is_taken_as_it_is() -> None:
    assert crowded_plan([0.0, 0.1, 0.1, 0.0, 0.1, 0.0]).sifted()[1] == []


def test_a_machine_that_is_slow_half_of_the_time_is_taken_as_it_is() -> None:
    made = plan([0.01] * 6 + [0.02] * 6)
    assert made.sifted()[1] == []


@given(st.floats(0.001, 1.0), st.integers(2, 30))
def test_equal_visits_are_known_for_sure(seconds: float, visits: int) -> None:
    assert half_width([[seconds, seconds]] * visits) == pytest.approx(0.0, abs=1e-12)


def test_one_visit_says_nothing_of_its_spread() -> None:
    assert math.isinf(half_width([[1.0, 1.0]]))
    assert math.isinf(uncertainty(Cell(rows=1, cache_tokens=0, seconds=(1.0, 1.0), visits=(2,))))


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 2,000 cells of 5 visits each, whose visits share a slow-down: within 5 standard errors of 95%."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        shared = rng.normal(1.0, 0.05, size=5)
        visits = [[s + rng.normal(0.0, 0.01) for _ in range(2)] for s in shared]
        hits += abs(np.mean(visits) - 1.0) <= half_width(visits)
    assert abs(hits / 2000 - 0.95) < 5 * (0.95 * 0.05 / 2000) ** 0.5


def test_what_is_wide_stays_open() -> None:
    made = SamplingPlan("in-turn", "target", KEYS)
    for wobble in (1.0, 1.0 + 4 * WANTED, 1.0):
        add_lap(made, [[*key, [0.01 * wobble], 0.01, 0.0] for key in KEYS[1:2]] + [[*END, 0.01, 0.0]])
        add_lap(made, [[*key, [0.01], 0.01, 0.0] for key in (*KEYS[:1], *KEYS[2:])] + [[*END, 0.01, 0.0]])
    assert made.open() == KEYS[1:2]


@given(st.lists(st.floats(0.005, 0.02), min_size=2, max_size=6), st.integers(0, 100))
def test_laps_of_another_pace_are_put_at_their_mean(steps: list[float], seed: int) -> None:
    """Forwards that take longer by what the lap's steps do are as long in every lap; other work is left alone."""
    rng = np.random.default_rng(seed)
    keys = [*KEYS, Key("branch", 2, 32), Key("burst", 4, 32)]
    more = dict(zip(keys, (0.0, 0.001, 0.004, 0.002, 0.0), strict=True))
    made = SamplingPlan("in-turn", "draft", [*keys, Key("draw", 1, 0)])
    for step in steps:
        lap = [[*key, [(4 if key[0] == "burst" else 1) * step + more[key]] * 2, 0.01, 0.0] for key in keys]
        drawn = float(rng.uniform(0.001, 0.002))
        add_lap(made, [*lap, ["draw", 1, 0, 1, [drawn, drawn], 0.01, 0.0], [*END, 0.01, 0.0]])
        assert made.visits[-1].seconds == made.sifted()[0][-1].seconds == (drawn, drawn)
    mean = float(np.mean(steps))
    for visit in made.sifted()[0]:
        if visit.key in more:
            forwards = 4 if visit.key[0] == "burst" else 1
            assert visit.seconds == pytest.approx([forwards * mean + more[visit.key]] * 2)
    assert set(made.open()) <= {Key("draw", 1, 0)}


@given(
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6),
    st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0)), min_size=6, max_size=6),
)
def test_no_sample_takes_less_than_no_time(steps: list[float], samples: list[tuple[float, float]]) -> None:
    """However much slower a lap's steps were, and however much the two samples of a visit differ."""
    made = SamplingPlan("in-turn", "draft", KEYS)
    for step, pair in zip(steps, samples, strict=False):
        add_lap(made, [[*KEYS[0], [step], 0.01, 0.0], [*KEYS[2], list(pair), 0.01, 0.0], [*END, 0.01, 0.0]])
    found = without_drift(made.visits)
    assert all(second > 0.0 for visit in found for second in visit.seconds)
    for before, after in zip(made.visits, found, strict=True):
        one, other = before.seconds[0] / before.seconds[-1], after.seconds[0] / after.seconds[-1]
        assert one == pytest.approx(other)


def test_a_step_that_something_else_disturbed_is_no_pace() -> None:
    """The other cells of its lap stay what they were."""
    made = SamplingPlan("in-turn", "target", KEYS)
    for step, waited in ((0.01, 0.0), (0.02, 2.0 * DISTURBING), (0.01, 0.0)):
        add_lap(made, [[*STEP, [step], 0.01, waited], [*KEYS[1], [0.012], 0.01, 0.0], [*END, 0.01, 0.0]])
    kept, apart = made.sifted()
    assert [visit.seconds for visit in kept if visit.key == KEYS[1]] == [pytest.approx((0.012,))] * 3
    assert [visit.seconds for visit in apart] == [(0.02,)]


def test_what_decoding_consists_of_and_what_tells_the_pace_is_visited_more_often() -> None:
    line, branches, long = Key("forward", 5, 384), Key("branch", 2, 32), Key("forward", 18, 0)
    made = SamplingPlan("in-turn", "target", [STEP, PROMPT, line, branches, long, Key("fork", 2, 32)])
    visits = Counter(due_in(made, 0))
    assert visits == {STEP: 4, PROMPT: 2, line: 3, branches: 3, long: 1, Key("fork", 2, 32): 1}
    # From the third lap on what is known is left out, and what tells the pace is not, while there is anything to time.
    for _ in range(2):
        add_lap(made, [*([*key, [0.01, 0.01], 0.01, 0.0] for key in (STEP, PROMPT, line)), [*END, 0.01, 0.0]])
    assert Counter(due_in(made, 2)) == {STEP: 4, PROMPT: 2, branches: 3, long: 1}
    made.keys = [STEP, PROMPT, line]
    assert due_in(made, 2) == []


def test_laps_without_a_step_are_as_they_were() -> None:
    made = SamplingPlan("in-turn", "target", KEYS)
    for seconds in (0.01, 0.02):
        add_lap(made, [[*KEYS[1], [seconds], 0.01, 0.0], [*END, 0.01, 0.0]])
    assert without_drift(made.visits) == made.visits


@given(st.lists(st.floats(0.8, 1.6), min_size=1, max_size=12))
def test_costs_are_of_the_mean_mood_of_all_sittings(moods: list[float]) -> None:
    """One whole lap while the machine is as it is first, then sittings over the pace alone: each counts the same."""
    made = SamplingPlan("in-turn", "target", KEYS)
    base = {key: 0.01 + 0.002 * key[1] for key in (*KEYS, PROMPT)}
    for lap, mood in enumerate(moods):
        keys = KEYS if lap == 0 else BETWEEN
        add_lap(made, [*([*key, [base[key] * mood] * 2, 0.01, 0.0] for key in keys), [*END, 0.01, 0.0]])
    mean = fmean(moods)
    step, *others = made.cells("forward")
    assert fmean(step.seconds) == pytest.approx(base[STEP] * mean)
    assert step.visits == (2,) * (1 + BETWEEN.count(STEP) * (len(moods) - 1))
    for cell in others:
        # As much longer or shorter as a step is, by `share_of_step`; here, a longer operation.
        took = base[Key("forward", cell.rows, 0)]
        assert fmean(cell.seconds) == pytest.approx(took * moods[0] + base[STEP] * (mean - moods[0]))
