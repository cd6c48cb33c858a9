"""What came of a load: figures of its samples, the accepted length, and which configuration is the best baseline."""

from collections.abc import Sequence
from itertools import product

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.configuration import Configuration
from engine.runtime.workload import Arrivals
from engine.service_metrics import ServiceMetrics, Timeline, estimates, measure_service
from engine.service_record import Batch, Batches, ServedRequest, Service
from scenarios.served import Batching
from sim.sweeps.served_outcome import (
    END_TO_END,
    THROUGHPUT,
    ServedOutcome,
    best_autoregressive,
    gain,
    objective_at,
)

ALONE = Configuration(policy="autoregressive", placement="in-turn")
USERS, RATE = Arrivals(users=2), Arrivals(rate=1.0)
COURSE = Timeline(1.0, (0.0,), (1.0,), ((1.0,),), ((1.0,),))
seconds = st.lists(st.floats(0.5, 8.0), min_size=2, max_size=4)


def metrics(took: float, tokens: int = 10) -> ServiceMetrics:
    """Of one request that took so many seconds."""
    request = ServedRequest(0.0, 0.0, took / 2, took, 1, tokens)
    return measure_service(
        Service([request], Batches.of([Batch("target", 0.0, took, (0,), 1)]), (("target",),))
    )


def outcome(
    took: Sequence[float], configuration: Configuration = ALONE, arrivals: Arrivals = USERS, rounds: int = 5
) -> ServedOutcome:
    samples = [metrics(each) for each in took]
    return ServedOutcome.of(configuration, Batching(), arrivals, samples, COURSE, rounds)


@given(seconds, st.integers(1, 40))
def test_figures_are_those_of_the_samples(took: list[float], rounds: int) -> None:
    found = outcome(took, rounds=rounds)
    assert found.figures == estimates(found.samples)
    assert found.accepted_length == pytest.approx(10 * len(took) / rounds)


@given(st.lists(st.tuples(st.floats(0.5, 8.0), st.floats(0.5, 8.0)), min_size=2, max_size=4))
def test_a_gain_is_above_one_where_the_rival_takes_longer(pairs: list[tuple[float, float]]) -> None:
    """By tokens/s in a closed loop, by times to the end in an open one; each sample is held against its own."""
    for arrivals in (USERS, RATE):
        mine, theirs = (outcome(its, arrivals=arrivals) for its in zip(*pairs, strict=True))
        objective = objective_at(arrivals)
        found = gain(mine, theirs, objective)
        if arrivals is USERS:
            assert objective is THROUGHPUT
            ratio = sum(1 / a for a, _ in pairs) / sum(1 / b for _, b in pairs)
        else:
            assert objective is END_TO_END
            ratio = sum(b for _, b in pairs) / sum(a for a, _ in pairs)
        assert found.value == pytest.approx(ratio)
        assert found.low <= found.value <= found.high
        if abs(ratio - 1.0) > 1e-9:
            assert (objective.worth(mine) > objective.worth(theirs)) == (ratio > 1.0)


def test_the_baseline_is_the_best_that_does_not_speculate() -> None:
    at_once = ALONE.model_copy(update={"placement": "at-once"})
    fast = Configuration(policy="prompt-lookup")
    for arrivals, (slow, quick) in product((USERS, RATE), ((ALONE, at_once), (at_once, ALONE))):
        found = [
            outcome([4.0], slow, arrivals),
            outcome([2.0], quick, arrivals),
            outcome([1.0], fast, arrivals),
        ]
        assert best_autoregressive(found) is found[1]
        assert best_autoregressive(found[2:]) is None
