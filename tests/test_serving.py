"""Requests that share simulated devices: closed forms, the rounds of each alone, and the engine's own batches."""

import itertools
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
import simpy
from hypothesis import given, settings
from one_text import Setting, simulate
from table_engine import Room, table_engine, wide_rooms, without_times
from table_pair import PROMPT, certain

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.policies.settings import Settings
from engine.record import Run
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget, Discipline
from engine.service_metrics import measure_service, timeline
from engine.service_record import Model
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.contention import Contention
from sim.costs.forward_cost import ForwardCost, LinearForwardCost
from sim.costs.stated import StatedCosts
from sim.scripts.script import write_script
from sim.scripts.work import Script
from sim.world.contending import ContendingDevices
from sim.world.requests import Arrival
from sim.world.served_runs import Served
from sim.world.serving import serve

Costs = dict[Model, LinearForwardCost]
DISCIPLINES: tuple[Discipline, Discipline] = ("ready", "lockstep")
ALONE = Settings(policy="autoregressive")
COSTS: Costs = {"target": LinearForwardCost(10.0, 0.25, 0.5, 0.0625), "draft": LinearForwardCost(2.0, 0.125)}
CONSTANT: Costs = {"target": LinearForwardCost(10.0), "draft": LinearForwardCost(2.0)}

policies = st.sampled_from(
    [
        ALONE,
        Settings(policy="speculative", draft_length=3),
        Settings(policy="pearl", draft_length=4),
        Settings(policy="specbranch", draft_length=5, branches=3, adaptive_branches=False),
        Settings(policy="specbranch", draft_length=4, branches=2, redraft=True, min_confidence=0.4),
    ]
)
paths = st.builds(IndependentAcceptance.draw, st.integers(1, 40), st.floats(0.0, 1.0), st.integers(0, 2**31))
requests = st.tuples(policies, paths, st.integers(1, 20), st.floats(0.0, 200.0))


def script(policy: Settings, path: IndependentAcceptance, prompt: int = 1) -> Script:
    return write_script(policy, path, (0,) * prompt)


def autoregressive(tokens: int, prompt: int = 1) -> Script:
    return script(ALONE, IndependentAcceptance.draw(tokens, 0.5, 0), prompt)


def work(run: Run) -> list[tuple[str, int, int, int]]:
    return [(job.model, job.round, job.forwards, job.tokens) for job in run.jobs]


@given(
    st.lists(requests, min_size=1, max_size=5),
    st.sampled_from(["ready", "lockstep"]),
    st.booleans(),
    st.integers(1, 12),
)
def test_rounds_are_those_of_each_alone_and_devices_do_one_thing_at_a_time(
    wanted: list[tuple[Settings, IndependentAcceptance, int, float]],
    discipline: Discipline,
    shared: bool,
    rows: int,
) -> None:
    arrivals = [Arrival(script(policy, path, prompt), at) for policy, path, prompt, at in wanted]
    served = serve(arrivals, COSTS, Budget(rows, 3), discipline, shared)
    costs = StatedCosts(draft_step_ms=2, target_forward_ms=10)
    for (policy, path, prompt, at), run, began in zip(wanted, served.runs, served.began, strict=True):
        alone = simulate(policy, path, Setting(costs, prompt=(0,) * prompt))
        assert (run.tokens, run.rounds, work(run)) == (alone.tokens, alone.rounds, work(alone))
        assert began >= at
        assert 0 < run.first_token_seconds <= run.seconds
        assert all(0 <= job.start < job.end <= run.seconds for job in run.jobs)
    for model in ("target", "draft"):
        forwards = [batch for batch in served.batches if shared or batch.model == model]
        assert all(after.start >= before.end for before, after in pairwise(forwards))
    assert sum(len(batch.requests) for batch in served.batches) == sum(
        job.forwards for run in served.runs for job in run.jobs
    )


@given(st.lists(requests, min_size=1, max_size=4), st.sampled_from(["ready", "lockstep"]), st.booleans())
def test_what_is_written_late_is_served_as_what_was_written_before(
    wanted: list[tuple[Settings, IndependentAcceptance, int, float]], discipline: Discipline, shared: bool
) -> None:
    early = [Arrival(script(policy, path, prompt), at) for policy, path, prompt, at in wanted]
    late = [
        Arrival(partial(script, policy, path, prompt), at, prompt_tokens=1)
        for policy, path, prompt, at in wanted
    ]
    before = serve(early, COSTS, Budget(20, 3), discipline, shared)
    drafts = "draft" in {model for models in before.devices for model in models}
    after, brief = (
        serve(late, COSTS, Budget(20, 3), discipline, shared, drafts=drafts, kept=kept)
        for kept in (True, False)
    )
    assert after.batches == before.batches
    for served in (after, brief):
        figures = repr((measure_service(served), timeline(served)))  # since what is not there is not equal
        assert figures == repr((measure_service(before), timeline(before)))
        assert (served.requests, served.devices, served.rounds) == (
            before.requests,
            before.devices,
            before.rounds,
        )
    assert after.runs == before.runs
    assert before.rounds == sum(len(run.rounds) for run in before.runs)
    with pytest.raises(RuntimeError, match="kept"):
        brief.runs  # noqa: B018
    with pytest.raises(RuntimeError, match="not kept"):
        list(brief.batches)


@given(policies, paths, st.integers(1, 20), st.sampled_from(["ready", "lockstep"]))
def test_one_request_takes_the_sum_of_its_forwards(
    policy: Settings, path: IndependentAcceptance, prompt: int, discipline: Discipline
) -> None:
    """Or, where both models compute at once, as in the world of one request."""
    arrival = Arrival(script(policy, path, prompt))
    alone = simulate(
        policy, path, Setting(StatedCosts(draft_step_ms=2000, target_forward_ms=10000), prompt=(0,) * prompt)
    )
    ready = serve([arrival], CONSTANT)
    assert ready.runs[0].seconds == pytest.approx(alone.seconds)
    assert ready.runs[0].first_token_seconds == pytest.approx(alone.first_token_seconds)
    turns = serve([arrival], COSTS, discipline=discipline, shared=True)
    assert turns.runs[0].seconds == pytest.approx(sum(batch.end - batch.start for batch in turns.batches))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.sampled_from(["ready", "lockstep"]))
def test_autoregressive_requests_that_share_forwards_take_what_the_longest_takes(
    tokens: list[int], discipline: Discipline
) -> None:
    """With n requests left, a forward takes what n rows of n texts take: the sum over forwards is exact."""
    served = serve([Arrival(autoregressive(count)) for count in tokens], COSTS, discipline=discipline)
    left = [sum(count >= forward for count in tokens) for forward in range(1, max(tokens) + 1)]
    assert [len(batch.requests) for batch in served.batches] == left
    each = [COSTS["target"](n, n, n * forward) for forward, n in enumerate(left, 1)]
    for run, count in zip(served.runs, tokens, strict=True):
        assert run.seconds == pytest.approx(sum(each[:count]))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20))
def test_a_budget_of_rows_makes_as_many_forwards_as_it_takes(requests: int, rows: int, tokens: int) -> None:
    """Ready, those that waited go on with those that just ran, and all forwards but the last are full; in lockstep, all
    get their next token before any gets another.
    """
    arrivals = [Arrival(autoregressive(tokens))] * requests
    ready, lockstep = (serve(arrivals, CONSTANT, Budget(rows), how) for how in DISCIPLINES)
    assert len(ready.batches) == max(tokens, -(-requests * tokens // rows))
    assert len(lockstep.batches) == tokens * -(-requests // rows)
    assert max(batch.rows for batch in ready.batches) == min(rows, requests)


def test_a_request_waits_for_slots_and_sequences() -> None:
    """Three requests of 4 tokens, of which two fit: the third begins when both end."""
    arrivals = [Arrival(autoregressive(4), slots=4)] * 3
    for budget in (Budget(sequences=2), Budget(slots=11)):
        served = serve(arrivals, CONSTANT, budget)
        assert [run.seconds for run in served.runs] == [40.0, 40.0, 80.0]
        assert served.began == [0.0, 0.0, 40.0]
    with pytest.raises(ConfigurationError, match="needs 4 slots"):
        serve(arrivals, CONSTANT, Budget(slots=3))


def test_lockstep_drafts_for_all_and_then_verifies_all() -> None:
    """Rounds take g draft steps and one forward, as one request's do, however many requests there are."""
    policy = Settings(policy="speculative", draft_length=3)
    arrivals = [Arrival(script(policy, IndependentAcceptance.draw(12, 1.0, 0)))] * 4
    served = serve(arrivals, CONSTANT, discipline="lockstep")
    assert [batch.model for batch in served.batches] == (["draft"] * 3 + ["target"]) * 3
    assert all(batch.requests == (0, 1, 2, 3) for batch in served.batches)
    assert [run.seconds for run in served.runs] == [3 * (3 * 2.0 + 10.0)] * 4


@given(
    st.lists(requests, min_size=1, max_size=6),
    st.sampled_from(["ready", "lockstep"]),
    st.booleans(),
    st.integers(1, 12),
    st.none() | st.integers(1, 4),
    st.sampled_from([0.0, 0.5]),
)
def test_nothing_is_lost_and_nobody_overtakes(
    wanted: list[tuple[Settings, IndependentAcceptance, int, float]],
    discipline: Discipline,
    shared: bool,
    rows: int,
    users: int | None,
    hand_over: float,
) -> None:
    """With prompts in chunks, in open and closed loops: all tokens are written, and all rows read, within the budget.

    Requests begin in the order of their arrivals, and rounds stay those of each alone.
    """
    arrivals = [Arrival(script(policy, path, prompt), at) for policy, path, prompt, at in wanted]
    served = serve(
        arrivals,
        COSTS,
        Budget(rows, 3),
        discipline,
        shared,
        users=users,
        chunks=True,
        hand_over=hand_over,
    )
    assert [request.tokens for request in served.requests] == [len(path.path) for _, path, *_ in wanted]
    for request in served.requests:
        assert request.arrived <= request.began < request.first_token <= request.ended
    order = sorted(range(len(wanted)), key=lambda number: served.requests[number].arrived)
    assert served.began == sorted(served.began) or [served.began[number] for number in order] == sorted(
        served.began
    )
    for number, (policy, path, prompt, _) in enumerate(wanted):
        alone = simulate(
            policy, path, Setting(StatedCosts(draft_step_ms=2, target_forward_ms=10), prompt=(0,) * prompt)
        )
        assert work(served.runs[number]) == work(alone)
    read = sum(batch.rows for batch in served.batches)
    assert read == sum(job.tokens for run in served.runs for job in run.jobs)
    chunked = {batch.requests for batch in served.batches if batch.unread}
    assert all(batch.rows <= rows or len(batch.requests) == 1 for batch in served.batches)
    assert all(batch.rows == rows for batch in served.batches if batch.unread) or not chunked
    running = sorted((at, change) for r in served.requests for at, change in ((r.began, 1), (r.ended, -1)))
    assert max(itertools.accumulate(change for _, change in running)) <= min(3, users or 3)


@given(st.integers(2, 60), st.integers(2, 12))
def test_a_prompt_is_read_in_chunks_beside_what_is_written(prompt: int, rows: int) -> None:
    """Another request writes a token with each chunk, which has all rows but that one."""
    arrivals = [Arrival(autoregressive(100)), Arrival(autoregressive(2, prompt), 15.0)]
    served = serve(arrivals, CONSTANT, Budget(rows), shared=True, chunks=True)
    chunks = -(-prompt // (rows - 1))
    assert served.requests[1].began == 15.0
    assert served.requests[1].first_token == 20.0 + 10.0 * chunks
    assert served.requests[0].ended == 1000.0
    assert [len(batch.unread) for batch in served.batches[: chunks + 2]] == [0, 0, *[1] * (chunks - 1), 0]


@given(st.integers(2, 60), st.integers(2, 12))
def test_of_a_prompt_the_last_row_alone_is_scored(prompt: int, rows: int) -> None:
    """Whatever it is read beside; of chunks before the last one no row is."""
    scored: list[tuple[int, int]] = []

    def target(rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0) -> float:
        scored.append((sequences, rows - unscored))
        return 10.0

    arrivals = [Arrival(autoregressive(100)), Arrival(autoregressive(2, prompt), 15.0)]
    costs: dict[Model, ForwardCost] = {"target": target, "draft": CONSTANT["draft"]}
    serve(arrivals, costs, Budget(rows), shared=True, chunks=True)
    chunks = -(-prompt // (rows - 1))
    assert scored[: chunks + 3] == [(1, 1), (1, 1), *[(2, 1)] * (chunks - 1), (2, 2), (2, 2)]


def test_users_ask_again_when_they_have_their_answer() -> None:
    """Two users, five requests of 3 forwards, each of which begins a second after the answer before it."""
    served = serve([Arrival(autoregressive(3), at=1.0)] * 5, CONSTANT, users=2)
    assert [request.arrived for request in served.requests] == [1.0, 1.0, 32.0, 32.0, 63.0]
    assert [request.ended for request in served.requests] == [31.0, 31.0, 62.0, 62.0, 93.0]


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_a_hand_over_delays_results_as_in_the_world_of_one_request(discipline: Discipline) -> None:
    policy, path = Settings(policy="pearl", draft_length=3), IndependentAcceptance.draw(30, 0.7, 0)
    costs = StatedCosts(draft_step_ms=2000, target_forward_ms=10000, hand_over_ms=500)
    served = serve([Arrival(script(policy, path))], CONSTANT, hand_over=0.5)
    assert served.runs[0].seconds == pytest.approx(simulate(policy, path, Setting(costs)).seconds)


@given(
    st.lists(st.tuples(policies, paths, st.integers(1, 20)), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(4, 24),
    st.sampled_from(DISCIPLINES),
    st.floats(0.001, 3.0),
)
def test_a_hand_over_parts_nobody(
    wanted: list[tuple[Settings, IndependentAcceptance, int]],
    users: int,
    rows: int,
    discipline: Discipline,
    hand_over: float,
) -> None:
    """One device hands over before it takes the next forward, so that whoever was in one may be in the next."""
    arrivals = [Arrival(script(policy, path, prompt)) for policy, path, prompt in wanted]
    with_it, without = (
        serve(
            arrivals,
            COSTS,
            Budget(rows, 4),
            discipline,
            shared=True,
            users=users,
            chunks=True,
            hand_over=seconds,
        )
        for seconds in (hand_over, 0.0)
    )
    assert [(b.model, b.requests, b.rows) for b in with_it.batches] == [
        (b.model, b.requests, b.rows) for b in without.batches
    ]


def test_ready_devices_overlap_what_lockstep_does_in_turn() -> None:
    """Drafts of a later request run while the target verifies for an earlier one."""
    policy = Settings(policy="speculative", draft_length=3)
    arrivals = [
        Arrival(script(policy, IndependentAcceptance.draw(40, 0.7, seed)), at)
        for seed, at in ((0, 0.0), (1, 5.0))
    ]
    ready, lockstep = (serve(arrivals, CONSTANT, discipline=how) for how in DISCIPLINES)

    def overlap(served: Served) -> float:
        return sum(
            max(0.0, min(a.end, b.end) - max(a.start, b.start))
            for a in served.batches
            for b in served.batches
            if (a.model, b.model) == ("target", "draft")
        )

    assert overlap(lockstep) == 0.0
    assert overlap(ready) > 0.0


slow = st.floats(1.0, 4.0)


@given(policies, paths, st.integers(1, 20), slow, slow, st.sampled_from([0.0, 0.5]))
def test_a_request_alone_is_slowed_as_in_the_world_of_one_request(
    policy: Settings,
    path: IndependentAcceptance,
    prompt: int,
    target: float,
    draft: float,
    hand_over: float,
) -> None:
    """Where both models compute at once; in lockstep, and on one device, they never do."""
    stated = StatedCosts(
        draft_step_ms=2000,
        target_forward_ms=10000,
        hand_over_ms=hand_over * 1e3,
        target_slow_down=target,
        draft_slow_down=draft,
    )
    arrivals, contention = [Arrival(script(policy, path, prompt))], Contention.stated(target, draft)
    served = serve(arrivals, CONSTANT, discipline="ready", hand_over=hand_over, contention=contention)
    alone = simulate(policy, path, Setting(stated, prompt=(0,) * prompt))
    assert served.runs[0].seconds == pytest.approx(alone.seconds)
    assert [job.end - job.start for job in served.runs[0].jobs] == pytest.approx(
        [job.end - job.start for job in alone.jobs]
    )
    turns = serve(arrivals, CONSTANT, discipline="lockstep", hand_over=hand_over, contention=contention)
    alike = serve(arrivals, CONSTANT, discipline="lockstep", hand_over=hand_over)
    assert [run.seconds for run in turns.runs] == pytest.approx([run.seconds for run in alike.runs])


@given(slow, slow, st.floats(0.1, 9.0), st.floats(0.1, 9.0), st.floats(0.0, 9.0))
def test_two_forwards_that_meet_do_their_work_at_the_speeds_of_the_pair(
    target_slow: float, draft_slow: float, target: float, draft: float, later: float
) -> None:
    """Of the seconds that each takes from its begin to its end, those that both share count one over the slow-down."""
    env = simpy.Environment()
    devices = ContendingDevices(env, Contention(((4, 2, target_slow, draft_slow),)))
    ends: dict[Model, float] = {}

    def run(model: Model, at: float, seconds: float, rows: int) -> Generator[simpy.Event, None, None]:
        yield env.timeout(at)
        yield devices.compute(model, seconds, rows)
        ends[model] = env.now

    env.process(run("target", 0.0, target, 4))
    env.process(run("draft", later, draft, 2))
    env.run()
    shared = max(0.0, min(ends.values()) - later) if ends["target"] > later else 0.0
    assert (ends["target"] - shared) + shared / target_slow == pytest.approx(target)
    assert (ends["draft"] - later - shared) + shared / draft_slow == pytest.approx(draft)


def test_serving_never_imports_torch() -> None:
    code = "import sys, sim.world.serving; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["autoregressive", "speculative", "pearl"]),
            st.integers(1, 6),
            st.integers(1, 25),
            st.integers(1, 8),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from(["ready", "lockstep"]),
    wide_rooms,
)
def test_the_engine_runs_the_same_batches(
    wanted: list[tuple[str, int, int, int]],
    acceptance: float,
    discipline: Discipline,
    room: Room,
) -> None:
    """Of requests whose lines are all accepted, or all rejected: each forward has the rows of the same requests."""
    target = certain(3)
    draft = target if acceptance else -target
    budget = Budget(room.rows, room.sequences)
    engine = table_engine(target, draft, budget, discipline, room.chunks)
    arrivals = []
    for policy, length, tokens, prompt in wanted:
        settings_ = Configuration(policy=policy, draft_length=length)
        request = Request((PROMPT * 2)[:prompt], settings_, tokens)
        engine.add(request)
        path = IndependentAcceptance.draw(tokens, acceptance, 0)
        arrivals.append(Arrival(script(settings_, path, prompt), slots=request.slots))
    engine.run()
    served = serve(arrivals, CONSTANT, budget, discipline, shared=True, chunks=room.chunks)
    assert not engine.failures
    assert without_times(engine.batches) == without_times(served.batches)
    for number, run in enumerate(served.runs):
        # At the end of its path the simulator does not know what else would have been accepted.
        assert run.rounds[:-1] == engine.runs[number].rounds[:-1]
        assert work(run) == work(engine.runs[number])
