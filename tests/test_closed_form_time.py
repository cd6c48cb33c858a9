"""Closed forms of waits are what the simulation finds event by event, whatever is waited for."""

from array import array

import hypothesis.strategies as st
import numpy as np
import pytest
from artifacts import artifact
from hypothesis import given

from engine.configuration import Configuration
from scenarios.what_if import Link, WhatIf
from sim.costs.contention import FREE, Contention
from sim.costs.durations import Timings
from sim.scripts.work import DRAFT, DRAFT_COLUMNS, TARGET, TARGET_COLUMNS, Jobs, Script, Scripts
from sim.world.closed_form_time import total_seconds
from sim.world.replay import Replay
from sim.world.simulation import play_all

Asked = tuple[int, float, float, float, int]  # model, seconds before, at full speed and after, width

MEASURED = Contention(((1, 1, 1.1, 1.3), (1, 4, 1.2, 1.25), (5, 1, 1.0, 1.4), (5, 4, 1.3, 1.6)))

seconds = st.floats(0.0, 3.0)
job = st.tuples(st.sampled_from([TARGET, DRAFT]), seconds, seconds, seconds, st.integers(1, 8))
one_each = st.tuples(
    seconds, seconds, seconds, seconds, seconds, seconds, st.integers(1, 8), st.booleans()
).map(lambda t: [(TARGET, *t[:3], t[6]), (DRAFT, *t[3:6], 9 - t[6])][:: 1 if t[7] else -1])
usual = st.lists(st.lists(job, min_size=1, max_size=1) | one_each, min_size=1, max_size=6)
any_waits = st.lists(st.lists(job, min_size=1, max_size=4), min_size=1, max_size=6)
contentions = st.sampled_from([FREE, Contention.stated(1.5, 1.2), MEASURED])


def as_scripts(texts: list[list[list[Asked]]]) -> tuple[Scripts, Timings]:
    """Scripts that wait for these jobs, and how long they take."""
    scripts, times = [], []
    for waits in texts:
        models, target, draft = bytearray(), array("q"), array("q")
        for model, before, busy, after, width in (asked for wait in waits for asked in wait):
            models.append(model)
            if model == TARGET:
                target.extend({"tokens": width}.get(name, 0) for name in TARGET_COLUMNS)
            else:
                columns = {"tokens": 1, "forwards": 2, "read": 1 + width}
                draft.extend(columns.get(name, 0) for name in DRAFT_COLUMNS)
            times.append((before, busy, after))
        counts = array("q", [len(wait) for wait in waits])
        scripts.append(Script((0,), (), counts, 1, Jobs(bytes(models), target, draft), array("q")))
    return Scripts(scripts, range(len(scripts))), Timings(*np.array(times).T)


def by_events(scripts: Scripts, given: Timings, contention: Contention, shared: bool) -> list[float]:
    return [played.seconds for played in play_all(scripts, given, contention, shared)]


@given(st.lists(usual, min_size=1, max_size=3), contentions, st.booleans())
def test_usual_waits(texts: list[list[list[Asked]]], contention: Contention, shared: bool) -> None:
    scripts, times = as_scripts(texts)
    found = total_seconds(scripts, times, contention, shared)
    assert found == pytest.approx(by_events(scripts, times, contention, shared), abs=1e-9)


@given(st.lists(any_waits, min_size=1, max_size=3), contentions, st.booleans())
def test_waits_for_anything(texts: list[list[list[Asked]]], contention: Contention, shared: bool) -> None:
    scripts, times = as_scripts(texts)
    found = total_seconds(scripts, times, contention, shared)
    assert found == pytest.approx(by_events(scripts, times, contention, shared), abs=1e-9)


@pytest.mark.parametrize("placement", ["at-once", "in-turn"])
@pytest.mark.parametrize("policy", ["autoregressive", "speculative", "pearl", "specbranch"])
@pytest.mark.parametrize("link", [None, Link(latency_ms=3.0, megabits_per_second=1000.0)])
def test_a_search_sees_the_seconds_of_whole_runs(policy: str, placement: str, link: Link | None) -> None:
    """And the same counts of tokens."""
    configuration = Configuration.model_validate(
        {"policy": policy, "draft": "int4", "draft_length": 3, "branches": 3, "placement": placement}
    )
    world = Replay(artifact(prompts=4), WhatIf(link=link))
    for run, tally in zip(world.runs(configuration), world.tallies(configuration), strict=True):
        assert tally.seconds == pytest.approx(run.seconds, rel=1e-12)
        assert tally.drafted == sum(r.drafted for r in run.rounds)
        assert (tally.rollback, tally.hedge) == (
            sum(r.rollback for r in run.rounds),
            sum(r.hedge for r in run.rounds),
        )
