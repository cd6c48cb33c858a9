"""Policies that ask about the load: answers are shared as is said, texts are exact, and both worlds run the same."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError
from table_pair import END, PROMPT, VOCABULARY, TableDecoder, players, tables
from test_batching import alone

from engine.configuration import Configuration
from engine.kernels.ranking import ranked
from engine.models.cached_model import CachedModel
from engine.models.sampling import Sampling
from engine.policies.echo import stretch
from engine.policies.load import Alone, Load, LoadQuestion, NodeShares
from engine.policies.settings import Settings
from engine.runtime.batching import BatchEngine, Request
from engine.runtime.scheduler import Budget, Discipline, Forward, Model, Scheduler
from engine.runtime.serving import Serving, devices_of
from engine.runtime.worker_process import Hosted
from engine.runtime.workload import slots_needed
from engine.service_record import Batch
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

questions = st.lists(st.builds(LoadQuestion, st.integers(0, 9), st.just(20)), min_size=1, max_size=12)


@given(questions, st.lists(st.integers(0, 11)))
def test_nodes_are_shared_evenly_and_none_is_left_that_somebody_could_use(
    wanted: list[LoadQuestion], released: list[int]
) -> None:
    """However often they ask; requests whose nodes are judged begin anew."""
    shares, has = NodeShares(), dict.fromkeys(range(len(wanted)), 0)
    for judged in (*[[one] for one in released], []):
        for request in judged:
            shares.release(request)
            has[request] = 0
        before = sum(has[request] for request in has)
        answers = dict(shares.answer(list(enumerate(wanted)), running=40))
        assert {load.running for load in answers.values()} == {40}
        given_now = {request: load.nodes for request, load in answers.items()}
        for request, nodes in given_now.items():
            assert 0 <= nodes <= wanted[request].nodes
            # Who has fewer than another wanted no more.
            assert nodes == wanted[request].nodes or nodes >= max(given_now.values()) - 1
            has[request] += nodes
        assert before + sum(given_now.values()) == min(20, before + sum(q.nodes for q in wanted))


asked_together = st.dictionaries(
    st.integers(0, 6), st.builds(LoadQuestion, st.integers(0, 5), st.integers(0, 25)), min_size=1, max_size=5
)


@given(st.lists(st.tuples(asked_together, st.sets(st.integers(0, 6), max_size=3)), max_size=5))
def test_nodes_are_handed_out_one_at_a_time_by_turns(
    rounds: list[tuple[dict[int, LoadQuestion], set[int]]],
) -> None:
    """Whether there is room for all or not; `has` and `last` are what a plain count of it has."""
    shares, has, last = NodeShares(), dict.fromkeys(range(7), 0), -1
    for asked, judged in rounds:
        had = dict(has)
        turns = sorted(asked, key=lambda request: (request <= last, request))
        while someone := [
            r for r in turns if has[r] - had[r] < asked[r].nodes and (sum(has.values()) < asked[r].budget)
        ]:
            level = min(has[r] - had[r] for r in someone)
            last = next(r for r in someone if has[r] - had[r] == level)
            has[last] += 1
        answers = dict(shares.answer(list(asked.items()), running=7))
        assert {r: load.nodes for r, load in answers.items()} == {r: has[r] - had[r] for r in asked}
        for request in judged:
            shares.release(request)
            has[request] = 0


def test_what_is_over_goes_to_others_each_time() -> None:
    """Of 12 requests that want one node each of 8, each has 2 of every 3 rounds."""
    shares, had = NodeShares(), [0] * 12
    for _ in range(30):
        for request, load in shares.answer([(r, LoadQuestion(1, 8)) for r in range(12)], running=12):
            had[request] += load.nodes
            shares.release(request)
    assert had == [20] * 12


def test_a_text_alone_has_the_whole_budget() -> None:
    alone_ = Alone()
    assert alone_.answer(LoadQuestion()) == Load(1, 0)
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 5)
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 3)
    alone_.verified()
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 5)


def scheduler(discipline: Discipline, requests: int = 3) -> Scheduler[None]:
    made: Scheduler[None] = Scheduler(discipline=discipline)
    for request in range(requests):
        made.arrive(request, 1)
    assert made.admit() == list(range(requests))
    return made


def test_in_lockstep_all_are_answered_together_and_what_is_spare_last() -> None:
    made = scheduler("lockstep")
    made.ask(0, LoadQuestion(2, 5))
    made.submit(Forward(1, "draft", 1, 1, None))
    assert made.answers() == []
    made.next_batch(["draft"])
    made.ask(1, LoadQuestion(2, 5, spare=True))
    made.finish()
    assert made.answers() == []  # the third has not said what it waits for
    made.submit(Forward(2, "target", 1, 1, None))
    assert made.next_batch(["target"]) == []
    assert made.answers() == [(0, Load(3, 2))]
    assert made.answers() == []  # it may go deeper yet
    made.ask(0, LoadQuestion(9, 5, spare=True))
    assert made.answers() == [(1, Load(3, 2)), (0, Load(3, 1))]  # turns begin behind who had the last one
    for request in (0, 1):
        made.submit(Forward(request, "target", 3, 3, None))
    assert len(made.next_batch(["target"])) == 3
    made.finish()
    for request in range(3):  # what was judged is free again
        made.ask(request, LoadQuestion(1, 5))
    assert made.answers() == [(request, Load(3, 1)) for request in range(3)]


def test_ready_answers_whoever_asks_and_a_request_that_leaves_gives_its_nodes_back() -> None:
    made = scheduler("ready")
    made.ask(1, LoadQuestion(4, 5))
    assert made.answers() == [(1, Load(3, 4))]
    made.ask(0, LoadQuestion(4, 5))
    made.ask(2, LoadQuestion(4, 5))
    made.leave(1)
    made.leave(2)
    assert made.answers() == [(0, Load(1, 4))]


def judged(batch: Batch) -> int:
    return batch.rows - len(batch.requests)


requests = st.builds(
    Request,
    st.lists(st.integers(0, VOCABULARY - 2), min_size=1, max_size=9),
    st.sampled_from(AWARE),
    st.integers(1, 14),
    st.sampled_from([(), (END,)]),
    st.builds(Sampling, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9)),
)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(requests, st.integers(0, 4)), min_size=1, max_size=7),
    st.integers(0, 5),
    st.sampled_from([0.2, 2.0]),
    st.sampled_from(["ready", "lockstep"]),
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.booleans()),
    st.booleans(),
    st.sampled_from([None, 1, 3]),
)
def test_texts_are_those_of_each_alone(
    arriving: list[tuple[Request, int]],
    seed: int,
    spread: float,
    discipline: Discipline,
    room: tuple[int, int, bool],
    apart: bool,
    users: int | None,
) -> None:
    """Whatever the answers were; by one device or two, in an open loop or a closed one, within any budget of rows."""
    rows, sequences, chunks = room
    target, draft = tables(seed, spread)
    wanted = [request for request, _ in arriving]
    engine = BatchEngine(
        Hosted(CachedModel(TableDecoder(target))),
        Hosted(CachedModel(TableDecoder(draft))),
        Budget(rows, sequences, max(request.slots for request in wanted) + 3),
        discipline,
        chunks,
    )
    Serving(engine, wanted, [late / 1e3 for _, late in arriving], users).run(devices_of(apart))
    assert engine.idle
    assert not engine.failures
    seats = players(target, draft)
    for number, request in enumerate(wanted):
        run, expected = engine.runs[number], alone(seats, request)
        assert (run.tokens, run.ending, run.warning) == (expected.tokens, expected.ending, None)
    assert all(cache.pool.free == cache.pool.size for cache in engine.caches.values())


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
    target, draft = tables(seed, 0.3)
    engine = BatchEngine(
        Hosted(CachedModel(TableDecoder(target))),
        Hosted(CachedModel(TableDecoder(draft))),
        Budget(64, 8),
        discipline,
    )
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
    target = certain()
    one, other = (Hosted(CachedModel(TableDecoder(target))) for _ in range(2))
    engine = BatchEngine(one, other, discipline="lockstep")
    for tokens in (1, 4, 4, 9, 14):
        engine.add(Request(PROMPT[:1], BY_LOAD, tokens))
    engine.run()
    rounds = [[r.verified for r in engine.runs[number].rounds] for number in range(5)]
    # The first ends with a round of 5, two with the next one of 4, and one with the next of 2.
    assert rounds == [[0], [0, 2], [0, 2], [0, 2, 4], [0, 2, 4, 4]]


def certain() -> torch.Tensor:
    table = torch.full((VOCABULARY, VOCABULARY, VOCABULARY), -9.0)
    for token in range(VOCABULARY):
        table[:, token, (token + 1) % 3] = 9.0
    return table


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


def without_times(batch: Batch) -> Batch:
    return batch._replace(start=0.0, end=0.0)


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
    st.tuples(st.integers(2, 30), st.integers(1, 5), st.booleans()),
)
def test_the_engine_runs_the_same_batches(
    wanted: list[tuple[Configuration, int, int, int]],
    tables_of: tuple[int, float],
    temperature: float,
    discipline: Discipline,
    room: tuple[int, int, bool],
) -> None:
    """Each forward has the rows of the same requests, where lines are accepted as they happen to be."""
    rows, sequences, chunks = room
    target, draft = pair(*tables_of)
    budget = Budget(rows, sequences)
    engine = BatchEngine(
        Hosted(CachedModel(TableDecoder(target))),
        Hosted(CachedModel(TableDecoder(draft))),
        budget,
        discipline,
        chunks,
    )
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
    served = serve(arrivals, COSTS, budget, discipline, shared=True, chunks=chunks)
    assert not engine.failures
    assert [without_times(batch) for batch in engine.batches] == list(map(without_times, served.batches))
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


@pytest.mark.parametrize(
    ("said", "lengths"),
    [
        ("1-4: 4, 5-12: 2, 13-: 0", ((1, 4, 4), (5, 12, 2), (13, None, 0))),
        ("1-:3", ((1, None, 3),)),
        ("1:5/2-:1", ((1, 1, 5), (2, None, 1))),
    ],
)
def test_lengths_by_load_are_read(said: str, lengths: tuple[Any, ...]) -> None:
    made = Settings(policy="length-by-load", lengths_by_load=said)
    assert made.lengths == lengths
    assert Settings(policy="length-by-load", lengths_by_load=made.lengths_by_load) == made
    for first, last, length in lengths:
        assert {made.length_at(running) for running in (first, last or first + 99)} == {length}


@pytest.mark.parametrize(
    "said", ["", "4", "1-4:4", "2-:1", "1-4:4/6-:0", "1-4:4/4-:0", "1-4:4/5-3:1/6-:0", "1-:65"]
)
def test_lengths_by_load_have_no_gap(said: str) -> None:
    with pytest.raises(ValidationError, match="from 1 on without a gap"):
        Settings(policy="length-by-load", lengths_by_load=said)


@pytest.mark.parametrize("said", ["", "1", "0:0.2", "4:0.2/1:0.3", "1:1.5", "65:0.1", "1:x"])
def test_gates_are_shares_at_rising_depths(said: str) -> None:
    with pytest.raises(ValidationError, match="depths in rising order"):
        Settings(policy="echo", gates=said)


@given(st.integers(1, 20), st.lists(st.integers(1, 20), min_size=1, unique=True))
def test_gates_lie_within_a_draft(length: int, depths: list[int]) -> None:
    said = "/".join(f"{depth}:0.5" for depth in sorted(depths))
    stretches = Settings(policy="echo", draft_length=length, gates=said).gated_stretches
    ends = [sum(levels for levels, _ in stretches[: i + 1]) for i in range(len(stretches))]
    assert ends == [*sorted(depth for depth in depths if depth < length), length]


@given(st.integers(1, 9), st.integers(1, 8))
def test_a_stretch_is_a_line_with_candidates_beside_its_last_token(levels: int, width: int) -> None:
    parents, ranks = stretch(levels, width)
    assert parents.first_line == tuple(range(levels))
    assert ranks[:levels] == (0,) * levels
    assert ranks[levels:] == tuple(range(1, width))
    assert {parents[node] for node in range(levels - 1, len(ranks))} == {levels - 2}


def test_a_request_has_room_for_its_longest_draft() -> None:
    plain = Configuration(policy="speculative", draft_length=4)
    longer = Configuration(policy="length-by-load", lengths_by_load="1-2:20/3-:0")
    assert slots_needed(longer, 10, 10) == slots_needed(plain.model_copy(update={"draft_length": 20}), 10, 10)
    assert slots_needed(BY_LOAD, 10, 10) == slots_needed(plain, 10, 10)


def test_questions_are_waited_for() -> None:
    """As jobs are: a policy that goes on without an answer, or asks twice, is told."""
    from engine.policies.protocol import Session, Steps

    def hasty(session: Session, settings: Settings) -> Steps:
        session.load(LoadQuestion())
        yield (session.load(LoadQuestion()),)

    def deaf(session: Session, settings: Settings) -> Steps:
        session.load(LoadQuestion())
        return
        yield ()

    source = IndependentAcceptance.draw(3, 0.5, 0)
    for policy in (hasty, deaf):
        with pytest.raises(RuntimeError, match="has to wait"):
            write_script(Settings(policy="odd"), source, (0,), policy)
