"""Policies that ask about the load, served: texts are exact whatever the answers were, and both worlds run the same."""

from collections.abc import Sequence
from functools import cache

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from table_engine import (
    Room,
    alone,
    assert_all_slots_are_free,
    requests_of,
    table_engine,
    tight_rooms,
    wide_rooms,
    without_times,
)
from table_pair import PROMPT, VOCABULARY, certain, players, tables

from engine.configuration import Configuration
from engine.kernels.ranking import ranked
from engine.models.sampling import Sampling
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget, Discipline
from engine.runtime.serving import Serving, devices_of
from engine.service_record import Batch, Model
from sim.acceptance.sources import REACH, IndependentAcceptance, TraceAcceptance
from sim.costs.forward_cost import LinearForwardCost
from sim.scripts.live import Play
from sim.scripts.script import write_script
from sim.world.requests import Arrival
from sim.world.serving import serve

BY_LOAD = Configuration(policy="length-by-load", lengths_by_load="1-2:4/3-4:2/5-:0")
CUT = Configuration(policy="length-by-load", lengths_by_load="1:3/2-:2", min_confidence=0.4)
ECHO = Configuration(policy="echo", draft_length=5, gates="1:0.3/3:0.1", tree_width=3, batch_nodes=9)
WIDE = Configuration(policy="echo", draft_length=2, gates="1:0.6", tree_width=4, batch_nodes=30)
SCARCE = Configuration(policy="echo", draft_length=4, gates="2:0.2", batch_nodes=3)
AWARE = (BY_LOAD, CUT, ECHO, WIDE, SCARCE)
COSTS: dict[Model, LinearForwardCost] = {
    "target": LinearForwardCost(10.0, 0.25),
    "draft": LinearForwardCost(2.0, 0.125),
}


def judged(batch: Batch) -> int:
    return batch.rows - len(batch.requests)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(requests_of(AWARE), st.integers(0, 4)), min_size=1, max_size=7),
    st.integers(0, 5),
    st.sampled_from([0.2, 2.0]),
    st.sampled_from(["ready", "lockstep"]),
    tight_rooms,
    st.booleans(),
    st.sampled_from([None, 1, 3]),
)
def test_texts_are_those_of_each_alone(
    arriving: list[tuple[Request, int]],
    seed: int,
    spread: float,
    discipline: Discipline,
    room: Room,
    apart: bool,
    users: int | None,
) -> None:
    """Whatever the answers were; by one device or two, in an open loop or a closed one, within any budget of rows."""
    target, draft = tables(seed, spread)
    wanted = [request for request, _ in arriving]
    budget = Budget(room.rows, room.sequences, max(request.slots for request in wanted) + 3)
    engine = table_engine(target, draft, budget, discipline, room.chunks)
    Serving(engine, wanted, [late / 1e3 for _, late in arriving], users).run(devices_of(apart))
    assert engine.idle
    assert not engine.failures
    seats = players(target, draft)
    for number, request in enumerate(wanted):
        run, expected = engine.runs[number], alone(seats, request)
        assert (run.tokens, run.ending, run.warning) == (expected.tokens, expected.ending, None)
    assert_all_slots_are_free(engine)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(2, 14), st.integers(0, 9)), min_size=1, max_size=8),
    st.integers(0, 5),
    st.integers(1, 12),
    st.sampled_from(["ready", "lockstep"]),
    st.booleans(),
)
def test_a_forward_never_judges_more_nodes_than_the_budget(
    wanted: list[tuple[int, int]], seed: int, nodes: int, discipline: Discipline, apart: bool
) -> None:
    engine = table_engine(*tables(seed, 0.3), Budget(64, 8), discipline)
    settings_ = ECHO.model_copy(update={"batch_nodes": nodes})
    made = [
        Request(PROMPT[:1], settings_, tokens, sampling=Sampling(temperature=1.0, seed=own))
        for tokens, own in wanted
    ]
    Serving(engine, made, [0.0] * len(made)).run(devices_of(apart))
    counts = [judged(batch) for batch in engine.batches if batch.model == "target"]
    assert max(counts) <= nodes
    if discipline == "lockstep" and nodes <= len(wanted):  # each of all could use one
        assert counts[0] == nodes


def test_a_round_is_as_the_load_is() -> None:
    """By tokens that are all accepted: 5 requests draft nothing, 4 two tokens each, and whoever is left four."""
    engine = table_engine(certain(3), certain(3), discipline="lockstep")
    for tokens in (1, 4, 4, 9, 14):
        engine.add(Request(PROMPT[:1], BY_LOAD, tokens))
    engine.run()
    rounds = [[r.verified for r in engine.runs[number].rounds] for number in range(5)]
    # The first ends with a round of 5, two with the next one of 4, and one with the next of 2.
    assert rounds == [[0], [0, 2], [0, 2], [0, 2, 4], [0, 2, 4, 4]]


@cache
def pair(seed: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    return tables(seed, spread)


def recorded(target: torch.Tensor, draft: torch.Tensor, request: Request) -> TraceAcceptance:
    """What a calibration would record of a request's text, as far as a draft can go behind it."""
    path = alone(players(target, draft), request).tokens

    def see(text: Sequence[int]) -> tuple[list[int], list[float]]:
        before = text[-2] if len(text) > 1 else 0
        ((tokens, chances),) = ranked(draft[before, text[-1]][None], VOCABULARY)
        return tokens, chances

    def go_on(text: Sequence[int], count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        written, shares = list(text), list[float]()
        for _ in range(count):
            tokens, chances = see(written)
            written.append(tokens[0])
            shares.append(chances[0])
        return tuple(written[len(text) :]), tuple(shares)

    texts = [[*request.prompt, *path[:place]] for place in range(len(path) + 1)]
    seen = [see(text) for text in texts[:-1]]
    _, beyond = go_on(texts[-1], 2 * REACH)
    ahead = (*[1.0] * len(path), *beyond)
    return TraceAcceptance(
        path,
        tuple(tuple(tokens) for tokens, _ in seen),
        tuple(tuple(chances) for _, chances in seen),
        tuple(go_on([*text, tokens[0]], 20) for text, (tokens, _) in zip(texts, seen, strict=False)),
        (ahead,) * VOCABULARY,
        VOCABULARY,
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*AWARE, Configuration(policy="speculative", draft_length=3)]),
            st.integers(1, 25),
            st.integers(1, 8),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=6,
    ),
    st.tuples(st.integers(0, 5), st.sampled_from([0.2, 0.7, 2.0])),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from(["ready", "lockstep"]),
    wide_rooms,
)
def test_the_engine_runs_the_same_batches(
    wanted: list[tuple[Configuration, int, int, int]],
    tables_of: tuple[int, float],
    temperature: float,
    discipline: Discipline,
    room: Room,
) -> None:
    """Each forward has the rows of the same requests, where lines are accepted as they happen to be."""
    target, draft = pair(*tables_of)
    budget = Budget(room.rows, room.sequences)
    engine = table_engine(target, draft, budget, discipline, room.chunks)
    arrivals = []
    for configuration, tokens, prompt, seed in wanted:
        sampling = Sampling(temperature=temperature, seed=seed)
        request = Request((PROMPT * 2)[:prompt], configuration, tokens, sampling=sampling)
        engine.add(request)
        source, before = recorded(target, draft, request), (0,) * prompt
        script = write_script(configuration, source, before)
        play = Play(configuration, source, before) if script.questions else None
        assert (play is None) == (configuration.policy == "speculative")
        arrivals.append(Arrival(script, slots=request.slots, play=play))
    engine.run()
    served = serve(arrivals, COSTS, budget, discipline, shared=True, chunks=room.chunks)
    assert not engine.failures
    assert without_times(engine.batches) == without_times(served.batches)
    for number, run in enumerate(served.runs):
        theirs = engine.runs[number]
        assert run.tokens == theirs.tokens
        assert run.rounds[:-1] == theirs.rounds[:-1]
        assert [(j.model, j.round, j.forwards, j.tokens) for j in run.jobs] == [
            (j.model, j.round, j.forwards, j.tokens) for j in theirs.jobs
        ]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.sampled_from([*AWARE]),
    st.sampled_from(["ready", "lockstep"]),
    st.booleans(),
    st.sampled_from([0.0, 0.5]),
    st.none() | st.integers(1, 3),
)
def test_what_is_simulated_ends_and_is_accounted_for(
    tokens: list[int],
    configuration: Configuration,
    discipline: Discipline,
    shared: bool,
    hand_over: float,
    users: int | None,
) -> None:
    """All rows that jobs read are those of batches, in an open loop and a closed one, also with a hand-over."""
    arrivals = []
    for seed, count in enumerate(tokens):
        source = IndependentAcceptance.draw(count, 0.6, seed)
        script = write_script(configuration, source, (0,) * 3)
        arrivals.append(Arrival(script, 5.0 * seed, play=Play(configuration, source, (0,) * 3)))
    served = serve(
        arrivals,
        COSTS,
        Budget(40, 4),
        discipline,
        shared,
        users=users,
        chunks=True,
        hand_over=hand_over,
    )
    assert [request.tokens for request in served.requests] == tokens
    assert [sum(r.emitted for r in run.rounds) for run in served.runs] == tokens
    assert sum(batch.rows for batch in served.batches) == sum(
        job.tokens for run in served.runs for job in run.jobs
    )
    for request, run in zip(served.requests, served.runs, strict=True):
        assert request.began < request.first_token <= request.ended
        first = max(job.end for job in run.jobs if job.round == 0)
        assert request.first_token - request.arrived == pytest.approx(first + hand_over)


def test_a_request_that_shares_with_nobody_follows_its_script() -> None:
    for configuration in AWARE:
        source = IndependentAcceptance.draw(30, 0.6, 1)
        script = write_script(configuration, source, (0,) * 4)
        live = serve(
            [Arrival(script, play=Play(configuration, source, (0,) * 4))], COSTS, discipline="lockstep"
        )
        plain = serve([Arrival(script)], COSTS, discipline="lockstep")
        assert live.arrivals[0].script == script
        assert live.batches == plain.batches
