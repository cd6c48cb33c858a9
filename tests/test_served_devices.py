"""A device for each model, in virtual time: the engine's forwards begin and end when the simulator's do.

The engine's own scheduler, policies and caches write over tables, each forward takes what it costs by the simulator's
own formula, and the clock is turned from one event to the next. So what is left between a prediction and a measurement
on separate devices is what forwards take, and no order of theirs: prompts are read in the same chunks by both models,
and a first token is there when it is in the simulation.
"""

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from table_engine import Room, table_engine, wide_rooms
from table_pair import PROMPT, certain
from test_serving import Costs, script

from engine.configuration import Configuration
from engine.runtime.batching import BatchEngine, Running
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget
from engine.service_record import Batches, Model, ServedRequest
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.forward_cost import LinearForwardCost
from sim.world.requests import Arrival
from sim.world.serving import serve

# No sum of these is another sum of these, so that no two events fall together by chance.
COSTS: Costs = {
    "target": LinearForwardCost(10.0003137, 0.2507113, 0.5011719, 0.0623171),
    "draft": LinearForwardCost(2.0010733, 0.1253977, 0.0703119, 0.0110513),
}
DEVICES: tuple[Model, ...] = ("target", "draft")


@dataclass
class Clock:
    """Virtual seconds; the next calls of it may tell other ones first."""

    now: float = 0.0
    first: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.first.pop() if self.first else self.now


def tokens_of(running: Running) -> tuple[int, int, int]:
    """Rows, cache tokens and attended tokens of a forward, as the simulator counts them."""
    forwards = running.forwards
    return (
        sum(forward.rows for forward in forwards),
        sum(forward.cache_tokens for forward in forwards),
        sum(forward.rows * (forward.cache_tokens - forward.rows) for forward in forwards),
    )


def serve_in_virtual_time(
    engine: BatchEngine, requests: Sequence[Request], at: Sequence[float], clock: Clock
) -> tuple[Batches, list[ServedRequest]]:
    """As `engine.runtime.serving` does with two devices; forwards take what they cost, and nothing else any time.

    But who arrives is let in at once, as he is in the simulator, and not when a device next comes by. Nothing could run
    of him before that; what is asked for meanwhile is only asked for before him, which matters where a budget is full.
    """
    order = itertools.count()
    events: list[tuple[float, int, tuple[Running, float] | int]] = []
    for number, when in enumerate(at):
        heapq.heappush(events, (when, next(order), number))
    idle = set(DEVICES)
    while events:
        clock.now, _, event = heapq.heappop(events)
        if isinstance(event, int):
            engine.add(requests[event], event, clock.now)
            assert engine.next(()) is None
        else:
            running, began = event
            clock.first = [began]
            engine.execute(running)
            idle.add(running.model)
        for model in DEVICES:
            if model in idle and (running_now := engine.next((model,))) is not None:
                rows, cache, attended = tokens_of(running_now)
                seconds = COSTS[model](rows, len(running_now.forwards), cache, attended)
                idle.discard(model)
                heapq.heappush(events, (clock.now + seconds, next(order), (running_now, clock.now)))
    assert engine.idle
    return engine.batches, [engine.served[number] for number in sorted(engine.served)]


policies = st.sampled_from(["autoregressive", "speculative", "pearl", "specbranch"])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(policies, st.integers(1, 5), st.integers(1, 20), st.integers(1, 16), st.floats(0.0, 90.0)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([0.0, 1.0]),
    wide_rooms,
)
def test_the_engine_runs_the_same_batches_at_the_same_times(
    wanted: list[tuple[str, int, int, int, float]],
    acceptance: float,
    room: Room,
) -> None:
    """Of requests whose lines are all accepted, or all rejected; each has its first token when it is told."""
    target = certain(3)
    draft = target if acceptance else -target
    budget, clock, arrivals, requests = Budget(room.rows, room.sequences), Clock(), [], []
    # Rounded, and apart from each other, so that nothing depends on who of two that come together is seen first.
    at = [round(when, 3) + place / 7e4 for place, (*_, when) in enumerate(wanted)]
    for (policy, length, tokens, prompt, _), when in zip(wanted, at, strict=True):
        settings_ = Configuration(policy=policy, draft_length=length)
        request = Request((PROMPT * 2)[:prompt], settings_, tokens)
        requests.append(request)
        path = IndependentAcceptance.draw(tokens, acceptance, 0)
        arrivals.append(Arrival(script(settings_, path, prompt), when, request.slots, prompt))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", clock)
        engine = table_engine(target, draft, budget, "ready", room.chunks, epoch=0.0)
        batches, served = serve_in_virtual_time(engine, requests, at, clock)
    told = serve(arrivals, COSTS, budget, chunks=room.chunks)
    assert not engine.failures
    assert [(b.model, b.requests, b.rows, b.unread) for b in batches] == [
        (b.model, b.requests, b.rows, b.unread) for b in told.batches
    ]
    assert [b.start for b in batches] == pytest.approx([b.start for b in told.batches])
    assert [b.end for b in batches] == pytest.approx([b.end for b in told.batches])
    assert [r.first_token for r in served] == pytest.approx([r.first_token for r in told.requests])
    assert [r.ended for r in served] == pytest.approx([r.ended for r in told.requests])
