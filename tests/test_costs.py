"""Costs: exact on the measured grid, linear inside it, counted outside it, and drawn from the cells' samples."""

from dataclasses import replace

import numpy as np
import pytest
from artifacts import artifact, cells, replay
from hypothesis import given
from hypothesis import strategies as st

from calibrate.cost_records import Cell, DraftCosts
from engine.configuration import Configuration
from engine.errors import CalibrationError
from scenarios.what_if import WhatIf
from sim.costs.durations import Operations, StartUp
from sim.costs.measured import BLOCK, CalibratedCosts, Table, offset
from sim.costs.stated import StatedCosts
from sim.world.replay import Replay

GRID = cells(0.04, (1, 2, 4, 8), None)
MEASURED = artifact().costs
STEADY = WhatIf(jitter=False)


def operations(*pairs: tuple[int, int], text: int = 0) -> Operations:
    """Of tokens and context, in one text."""
    tokens, context = np.array(pairs).T
    return Operations(tokens, context, np.full_like(tokens, text))


def at(tokens: int, context: int, table: Table | None = None) -> tuple[float, int]:
    """A time, and how many uses lay outside."""
    table = table or Table.of("forwards", GRID, 1.0, None)
    before = table.outside
    (seconds,) = table.seconds(operations((tokens, context)))
    return float(seconds), table.outside - before


def plane(tokens: float, context: float) -> float:
    """What the grid's cells lie on."""
    return 0.04 * (1.0 + 0.02 * (tokens - 1) + 0.2 * context / 384)


@pytest.mark.parametrize(("tokens", "context"), [(1, 0), (8, 384), (2, 384), (3, 0), (6, 100), (7, 383)])
def test_inside_the_grid(tokens: int, context: int) -> None:
    assert at(tokens, context) == pytest.approx((plane(tokens, context), 0))


@pytest.mark.parametrize(("tokens", "context"), [(9, 0), (1, 385), (30, 1000)])
def test_outside_the_grid_goes_on_and_is_counted(tokens: int, context: int) -> None:
    table = Table.of("forwards", GRID, 1.0, None)
    for _ in range(3):
        seconds, outside = at(tokens, context, table)
        assert seconds == pytest.approx(plane(tokens, context))
        assert outside == 1


def test_beyond_the_grid_never_gets_cheaper() -> None:
    falling = (
        Cell(rows=1, cache_tokens=0, seconds=(0.02,)),
        Cell(rows=2, cache_tokens=0, seconds=(0.01,)),
    )
    assert at(50, 0, Table.of("forwards", falling, 1.0, None)) == (0.01, 1)


def test_a_ragged_grid_uses_the_contexts_that_reach_the_tokens() -> None:
    ragged = (*GRID, Cell(rows=256, cache_tokens=0, seconds=(0.3,)))
    table = Table.of("forwards", ragged, 1.0, None)
    assert at(256, 0, table) == (0.3, 0)
    assert at(4, 200, table) == pytest.approx((plane(4, 200), 0))
    assert at(256, 10, table) == (0.3, 1)


def block(seed: int, text: int = 0, tokens: int = 1) -> list[float]:
    """Times of a table's cell, or of another with three times the median, in all places of a block."""
    cells = [
        Cell(rows=1, cache_tokens=0, seconds=(0.01, 0.02, 0.05)),
        Cell(rows=2, cache_tokens=0, seconds=(0.06,)),
    ]
    table = Table.of("forwards", cells, 1.0, [seed])
    seconds: list[float] = table.seconds(operations(*((tokens, c) for c in range(BLOCK)), text=text)).tolist()
    return seconds


def test_factors_are_the_samples_of_all_cells_over_their_medians() -> None:
    times = block(3)
    assert set(np.round(times, 9)) == {0.01, 0.02, 0.05}
    assert np.mean(times) == pytest.approx(0.02 * (0.5 + 1.0 + 2.5 + 1.0) / 4, rel=0.05)
    assert times == block(3)
    assert times != block(4)
    assert block(3, tokens=2) == pytest.approx([3.0 * time for time in times])


def test_a_text_of_its_own_begins_elsewhere_among_the_same_factors() -> None:
    here, there = block(3), block(3, text=1)
    begin = int(offset(np.array([1]))[0])
    assert begin > 0
    assert there == here[begin:] + here[:begin]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 900)), min_size=1, max_size=40))
def test_many_operations_cost_and_count_what_each_does(pairs: list[tuple[int, int]]) -> None:
    """Whatever was asked for before, and however far the table had to grow for it."""
    table = Table.of("forwards", GRID, 1.0, [5])
    together = table.seconds(operations(*pairs))
    alone = [at(*pair, Table.of("forwards", GRID, 1.0, [5])) for pair in pairs]
    assert together.tolist() == [seconds for seconds, _ in alone]
    assert table.outside == sum(outside for _, outside in alone)
    assert table.seconds(operations(*reversed(pairs))).tolist() == together.tolist()[::-1]


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="no measurement of branch steps"):
        Table.of("branch steps", [], 1.0, None)
    with pytest.raises(CalibrationError, match="did not measure draft 'x' in placement 'at-once'"):
        CalibratedCosts.of(MEASURED.at("at-once"), "x", STEADY, 0)
    with pytest.raises(CalibrationError, match="no placement"):
        replay(artifact(placements=["in-turn"]), Configuration(policy="pearl"))


def test_a_job_costs_its_parts() -> None:
    made = artifact(jitter=False, slow_downs=(1.0, 1.0))
    run = replay(made, Configuration(policy="pearl", draft="int4", draft_length=3), what_if=STEADY)[0]
    costs = CalibratedCosts.of(made.costs.at("at-once"), "int4", STEADY, 0)
    prompt = made.recorded.prompts[0].tokens
    target = next(job for job in run.jobs if job.model == "target")
    assert target.tokens == prompt
    assert target.end - target.start == pytest.approx(costs.target_forward(operations((prompt, 0)))[0])
    draft = next(job for job in run.jobs if job.model == "draft")
    first = operations((prompt, 0))
    steps = np.sum(costs.branch_step(operations((1, prompt), (1, prompt + 1))))
    assert draft.end - draft.start == pytest.approx(float(np.sum(costs.draft_forward(first)) + steps))
    assert run.first_token_seconds == pytest.approx(max(target.end, draft.end) + costs.hand_over(first)[0])


def test_speeds_overheads_and_jitter_of_what_ifs() -> None:
    measured = MEASURED.at("at-once")
    plain = CalibratedCosts.of(measured, "int4", STEADY, 0)
    fast = CalibratedCosts.of(
        measured, "int4", WhatIf(target_speed=2, draft_speed=4, jitter=False, contention=False), 0
    )
    three, two = operations((3, 50)), operations((2, 50), (1, 51))
    assert fast.target_forward(three) == pytest.approx(plain.target_forward(three) / 2)
    assert fast.draft_forward(three) == pytest.approx(plain.draft_forward(three) / 4)
    assert fast.branch_step(two) == pytest.approx(plain.branch_step(two) / 4)
    assert plain.contention.slow_downs(3, 1) == pytest.approx((1.05, 1.1))
    assert fast.contention.none
    bare = CalibratedCosts.of(measured, "int4", WhatIf(overheads=False), 0)
    assert bare.hand_over(three) == [0.0]
    assert bare.fork(three) == 0.0
    assert bare.target_forward(three) == plain.target_forward(three)
    varied = CalibratedCosts.of(measured, "int4", WhatIf(), 0)
    places = operations(*((1, context) for context in range(40)))
    assert len(set(varied.target_forward(places).tolist())) > 9


def test_a_burst_takes_longer_behind_a_pause() -> None:
    """In full behind a whole one, by parts behind shorter ones, and held beyond the longest burst."""
    start = StartUp(np.array([1, 4]), np.array([0.002, 0.005]), pause=0.04)
    forwards, idle = np.array([1, 2, 4, 9, 4, 4]), np.array([1.0, np.inf, 0.04, 0.5, 0.02, -1.0])
    assert start.extra(forwards, idle) == pytest.approx([0.002, 0.003, 0.005, 0.005, 0.0025, 0.0])


@pytest.mark.parametrize(
    ("chosen", "starts"),
    [
        (Configuration(policy="speculative", draft="int4", draft_length=3, placement="at-once"), True),
        (Configuration(policy="speculative", draft="int4", draft_length=3, placement="in-turn"), False),
        (Configuration(policy="pearl", draft="int4", draft_length=40, placement="at-once"), False),
    ],
    ids=lambda value: value.label() if isinstance(value, Configuration) else "",
)
def test_a_draft_that_waits_starts_slowly(chosen: Configuration, starts: bool) -> None:
    """Bursts that take 7 ms more than steady steps lengthen each draft job behind a pause, and no other."""
    plain = artifact(jitter=False, slow_downs=(1.0, 1.0))
    step = next(
        cell.seconds[0]
        for cell in plain.costs.at("at-once").drafts["int4"].branch
        if (cell.rows, cell.cache_tokens) == (1, 32)
    )
    burst = tuple(Cell(rows=n, cache_tokens=32, seconds=(n * step + 0.007,)) for n in (1, 8))
    at_once, in_turn = plain.costs.placements
    drafts = at_once.drafts | {"int4": at_once.drafts["int4"].model_copy(update={"burst": burst})}
    placements = at_once.model_copy(update={"drafts": drafts}), in_turn
    slow = replace(plain, costs=plain.costs.model_copy(update={"placements": placements}))
    for before, after in zip(*(replay(made, chosen, what_if=STEADY) for made in (plain, slow)), strict=True):
        jobs = sum(job.model == "draft" for job in before.jobs)
        if starts:
            assert after.seconds - before.seconds == pytest.approx(0.007 * jobs)
        else:
            # The first job counts as one behind a pause, and hand-overs are short ones.
            assert after.seconds - before.seconds <= 0.007 + 0.0002 * jobs
    bare = WhatIf(overheads=False, jitter=False)
    assert replay(plain, chosen, what_if=bare) == replay(slow, chosen, what_if=bare)


def test_stated_costs_under_a_what_if() -> None:
    stated = StatedCosts(
        draft_step_ms=4,
        target_forward_ms=40,
        hand_over_ms=1,
        fork_ms=2,
        draft_slow_down=1.2,
        target_slow_down=1.1,
    )
    changed = stated.under(WhatIf(draft_speed=2, target_speed=4, contention=False, overheads=False))
    assert changed.draft_step_ms == 2
    assert changed.target_forward_ms == 10
    assert changed.contention.none
    assert (changed.hand_over_ms, changed.fork_ms) == (0.0, 0.0)
    assert stated.under(WhatIf()) == stated


def test_replays_tell_what_they_extrapolated() -> None:
    world = Replay(artifact(tokens=30, prompt_tokens=380), STEADY)
    world.runs(Configuration(policy="autoregressive"))
    assert world.notes() != ()
    assert "target forwards" in world.notes()[0]
    inside = Replay(artifact(tokens=30), STEADY)
    inside.runs(Configuration(policy="specbranch", draft_length=4, branches=4))
    assert inside.notes() == ()


def test_the_same_seed_gives_the_same_runs() -> None:
    made = artifact()
    one, two, other = (
        replay(made, Configuration(policy="specbranch", branches=3), seed=s) for s in (1, 1, 2)
    )
    assert one == two
    assert one != other


def test_no_fork_measured_counts_as_free() -> None:
    made = artifact(jitter=False)
    placements = tuple(
        costs.model_copy(
            update={
                "drafts": {
                    name: DraftCosts(forward=d.forward, branch=d.branch, fork=(), together=d.together)
                    for name, d in costs.drafts.items()
                }
            }
        )
        for costs in made.costs.placements
    )
    costs = CalibratedCosts.of(placements[0], "int4", STEADY, 0)
    assert costs.fork(operations((4, 50))) == 0.0
