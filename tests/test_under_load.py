"""Exact under load: whatever else is served, and however, a request's text and rounds are those that it has alone."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from table_engine import (
    LONGEST_PREDICTED,
    Room,
    alone,
    assert_all_slots_are_free,
    assert_equal,
    table_engine,
    tight_rooms,
)
from table_pair import END, PROMPT, TableDecoder, before, players, tables
from table_pair import VOCABULARY as TABLE_TOKENS
from test_batching import CONFIGURATIONS, hosts, requests
from tiny_models import PROMPTS, TOKENS

from engine.configuration import Configuration
from engine.errors import ConfigurationError, WorkerFailed
from engine.models.sampling import GREEDY, Sampling
from engine.runtime.batching import BatchEngine, Request
from engine.runtime.scheduler import Budget, Discipline
from engine.runtime.serving import Serving, devices_of

TREE = Configuration(policy="tree", draft_length=3, tree_nodes=6)
PARALLEL = CONFIGURATIONS[4:]


def serve(engine: BatchEngine, wanted: Sequence[Request], apart: bool = True, **how: Any) -> Serving:
    serving = Serving(engine, wanted, **{"at": [0.0] * len(wanted), **how})
    serving.run(devices_of(apart))
    return serving


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(requests, st.integers(0, 4)), min_size=1, max_size=7),
    st.integers(0, 5),
    st.sampled_from([0.2, 2.0]),
    st.sampled_from(["ready", "lockstep"]),
    tight_rooms,
    st.booleans(),
    st.sampled_from([None, 1, 3]),
)
def test_requests_that_arrive_by_the_clock_are_written_as_each_alone(
    arriving: list[tuple[Request, int]],
    seed: int,
    spread: float,
    discipline: Discipline,
    room: Room,
    apart: bool,
    users: int | None,
) -> None:
    """Of any policies and lengths, by one device or two, in an open loop or a closed one, within any budget."""
    target, draft = tables(seed, spread)
    seats = players(target, draft, longest=LONGEST_PREDICTED)
    wanted = [request for request, _ in arriving]
    budget = Budget(room.rows, room.sequences, max(request.slots for request in wanted) + 3)
    engine = table_engine(target, draft, budget, discipline, room.chunks)
    at = [late / 1e3 for _, late in arriving]
    serving = serve(engine, wanted, apart, at=at, users=users)
    assert engine.idle
    assert not engine.failures
    for number, request in enumerate(wanted):
        assert_equal(engine.runs[number], alone(seats, request))
    assert_all_slots_are_free(engine)
    service = serving.service(devices_of(apart))
    for its, late in zip(service.requests, at, strict=True):
        assert its.arrived <= its.began <= its.first_token <= its.ended
        if users is None:
            assert its.arrived == pytest.approx(late, abs=1e-9)
    for models in service.devices:
        forwards = [batch for batch in service.batches if batch.model in models]
        assert all(after.start >= before.end for before, after in pairwise(forwards))
    changes = sorted((at, change) for r in service.requests for at, change in ((r.began, 1), (r.ended, -1)))
    running = [sum(change for _, change in changes[:end]) for end in range(1, len(changes) + 1)]
    assert max(running) <= min(room.sequences, users or room.sequences)


def test_a_user_asks_again_when_he_has_his_answer() -> None:
    """Two users of five requests: each but the first two arrives as another one ends, a moment of thinking later."""
    engine = table_engine(tables(0)[0])
    wanted = [Request(PROMPT, CONFIGURATIONS[0], tokens) for tokens in (3, 9, 2, 4, 5)]
    serving = serve(engine, wanted, False, at=[0.0, 0.0, 0.002, 0.002, 0.002], users=2)
    served = serving.service(devices_of(False)).requests
    ends = sorted(request.ended for request in served)
    assert [request.arrived for request in served[:2]] == [0.0, 0.0]
    assert [request.arrived - 0.002 for request in served[2:]] == pytest.approx(ends[:3], abs=1e-9)


def test_nobody_is_served_before_he_arrives_and_devices_wait_for_him() -> None:
    """Also where nothing else is left to do; times are counted from when he came."""
    engine = table_engine(tables(0)[0])
    wanted = [Request(PROMPT, CONFIGURATIONS[0], 2)] * 2
    serving = serve(engine, wanted, False, at=[0.0, 0.2])
    second = serving.service(devices_of(False)).requests[1]
    assert second.arrived == pytest.approx(0.2, abs=1e-9)
    assert second.began >= second.arrived
    assert min(batch.start for batch in engine.batches if 1 in batch.requests) >= second.arrived


@pytest.mark.parametrize("discipline", ["ready", "lockstep"])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("path", ["lean", "general"])
def test_float32_texts_of_two_devices_are_those_of_each_alone(
    path: str, sampling: Sampling, discipline: Discipline
) -> None:
    """Of real caches that grow, and are moved within, while the other model's thread computes."""
    configurations = [*(c for c in CONFIGURATIONS if not c.hrad), TREE]
    wanted = [
        Request(prompt, configuration, TOKENS - i, (2,), sampling.model_copy(update={"seed": i}))
        for i, (prompt, configuration) in enumerate(zip(PROMPTS * 2, configurations * 2, strict=False))
    ]
    expected = []
    for request in wanted:
        one = BatchEngine(hosts(0, path), hosts(5, path))
        number = one.add(request)
        one.run()
        expected.append(one.runs[number])
    assert {run.ending for run in expected} == {"end-of-text", "token-limit"} or sampling.greedy
    engine = BatchEngine(hosts(0, path), hosts(5, path), Budget(24, 5, 500), discipline, chunks=True)
    serve(engine, wanted, at=[i / 500 for i in range(len(wanted))])
    for number, run in enumerate(expected):
        assert_equal(engine.runs[number], run)
    assert_all_slots_are_free(engine)
    for model in ("target", "draft"):
        assert max(len(batch.requests) for batch in engine.batches if batch.model == model) > 1


@pytest.mark.parametrize("policy", ["pearl", "specbranch"])
def test_the_draft_writes_for_all_while_the_target_verifies_for_all(policy: str) -> None:
    """The first forward of each model waits until the other's has begun, and both are of all requests."""
    target, draft = tables(seed=1)
    both = threading.Barrier(2, timeout=30)

    def meet(call: int) -> None:
        if call == 0:
            both.wait()

    engine = table_engine(before(TableDecoder(target), meet), before(TableDecoder(draft), meet))
    serve(engine, [Request(PROMPT, Configuration(policy=policy, draft_length=3), 9)] * 3)
    assert not any(run.warning for run in engine.runs.values())
    assert [len(batch.requests) for batch in sorted(engine.batches, key=lambda b: b.start)[:2]] == [3, 3]


@pytest.mark.usefixtures("own_faults")
@pytest.mark.parametrize("error", [ValueError("no more"), MemoryError()], ids=["fails", "lacks memory"])
@pytest.mark.parametrize("last", [0, 1, 7])
@pytest.mark.parametrize("apart", [True, False], ids=["at once", "in turn"])
def test_all_go_on_when_the_draft_dies(apart: bool, last: int, error: Exception) -> None:
    """Those that it writes for, those that wait for it, and those that come later; none asks it again."""
    target, draft = tables(seed=1)

    def fail(call: int) -> None:
        calls.append(call)
        if call >= last:
            raise error

    calls: list[int] = []
    engine = table_engine(target, before(TableDecoder(draft), fail), Budget(rows=5, sequences=4), chunks=True)
    policies = ("speculative", "pearl", "specbranch", "adaedl", "echo", "length-by-load")
    wanted = [
        Request(
            PROMPT[i % 3 :],
            Configuration(policy=policies[i % len(policies)], draft_length=3, gates="1:0.1"),
            12,
            (END,),
            Sampling(temperature=1.0, seed=i),
        )
        for i in range(11)
    ]
    serve(engine, wanted, apart)
    assert not engine.failures
    for number, request in enumerate(wanted):
        run = engine.runs[number]
        assert (
            run.tokens == alone(players(target, draft), replace(request, settings=CONFIGURATIONS[0])).tokens
        )
        assert run.warning is None or "the target went on alone after" in run.warning
    assert any(run.warning for run in engine.runs.values())
    assert calls == list(range(last + 1))
    assert_all_slots_are_free(engine)


@pytest.mark.parametrize("apart", [True, False], ids=["at once", "in turn"])
@pytest.mark.parametrize("configuration", [CONFIGURATIONS[0], CONFIGURATIONS[2], *PARALLEL[:2]])
def test_a_request_that_is_cancelled_while_it_is_computed_changes_no_other(
    configuration: Configuration, apart: bool
) -> None:
    """One in the middle of a forward of each model, one that waits to run; users send what is next all the same."""
    target, draft = tables(seed=2)
    cancelled: list[int] = []

    def cancel(call: int) -> None:
        for number in {1: [1], 2: [0, 5]}.get(call, []):
            engine.cancel(number)
            cancelled.append(number)

    engine = table_engine(before(TableDecoder(target), cancel), draft, Budget(sequences=3))
    wanted = [
        Request(PROMPT[i % 3 :], configuration, 11, sampling=Sampling(temperature=1.0, seed=i))
        for i in range(6)
    ]
    serve(engine, wanted, apart)
    assert sorted(engine.runs) == [number for number in range(6) if number not in cancelled]
    for number, run in engine.runs.items():
        assert_equal(run, alone(players(target, draft), wanted[number]))
    assert_all_slots_are_free(engine)


def test_where_the_cache_is_full_requests_wait_and_none_is_lost() -> None:
    """Each needs all slots, so that they are served one by one, in their order."""
    engine = BatchEngine(hosts(0, "lean"), hosts(5, "lean"))
    wanted = [Request(PROMPTS[0], c, TOKENS) for c in CONFIGURATIONS if not c.hrad]
    one = Budget(slots=max(request.slots for request in wanted))
    expected = []
    for request in wanted:
        number = engine.add(request)
        engine.run()
        expected.append(engine.runs[number])
    full = BatchEngine(hosts(0, "lean"), hosts(5, "lean"), one)
    served = serve(full, wanted).service(devices_of(True)).requests
    for number, run in enumerate(expected):
        assert_equal(full.runs[number], run)
    assert [request.ended for request in served] == sorted(request.ended for request in served)
    assert max(len(batch.requests) for batch in full.batches) <= 2


@pytest.mark.usefixtures("own_faults")
@pytest.mark.parametrize("apart", [True, False], ids=["at once", "in turn"])
def test_a_target_that_fails_ends_the_requests_of_that_forward_alone(apart: bool) -> None:
    target, draft = tables(seed=1)

    def fail(call: int) -> None:
        if call == 2:
            raise ValueError("once")

    engine = table_engine(before(TableDecoder(target), fail), draft, Budget(sequences=2))
    wanted = [Request(PROMPT, c, 9) for c in (CONFIGURATIONS[4], CONFIGURATIONS[0], *CONFIGURATIONS[:2])]
    serve(engine, wanted, apart)
    assert set(engine.failures) | set(engine.runs) == set(range(4))
    assert engine.failures
    assert all(isinstance(error, WorkerFailed) for error in engine.failures.values())
    for number, run in engine.runs.items():
        assert_equal(run, alone(players(target, draft), wanted[number]))
    assert_all_slots_are_free(engine)


@pytest.mark.parametrize("model", [0, 1])
def test_what_no_forward_may_raise_ends_the_service_and_is_raised(model: int) -> None:
    """On either device; the other one does not wait for ever."""

    class Odd(BaseException):
        pass

    def fail(call: int) -> None:
        if call == 3:
            raise Odd

    decoders = [TableDecoder(table) for table in tables(seed=1)]
    before(decoders[model], fail)
    engine = table_engine(decoders[0], decoders[1])
    with pytest.raises(Odd):
        serve(engine, [Request(PROMPT, PARALLEL[0], 30)] * 3)


def test_what_never_fits_is_refused_before_a_token_is_written() -> None:
    engine = BatchEngine(hosts(0, "lean"), budget=Budget(slots=40))
    wanted = [Request(PROMPTS[0], CONFIGURATIONS[0], tokens) for tokens in (3, 90)]
    with pytest.raises(ConfigurationError, match=r"needs .* slots of the cache, and there are 40"):
        serve(engine, wanted, False)
    assert not engine.batches
    with pytest.raises(ConfigurationError, match="there is no policy 'none'"):
        serve(engine, [Request(PROMPTS[0], Configuration(policy="none"), 3)], False)


def test_it_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.runtime.serving.TELL_SECONDS", 0.0)
    heard: list[tuple[int, int]] = []
    engine = table_engine(tables(0)[0])
    wanted = [Request([token % TABLE_TOKENS], CONFIGURATIONS[0], 4) for token in range(3)]
    serve(engine, wanted, False, users=1, tell=lambda *news: heard.append(news))
    assert [written for _, written in heard] == list(range(1, 13))
    assert [ended for ended, _ in heard] == [written // 4 for written in range(1, 13)]
