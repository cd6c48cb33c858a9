"""Metrics of served requests: of a service that one can work out by hand, and what holds of all."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine import service_metrics
from engine.runtime.workload import Limits
from engine.service_metrics import fairness, measure_service, timeline
from engine.service_record import MODELS, Batch, Batches, ServedRequest, Service

# Two requests: one of 3 tokens that runs at once, and one of 1 token that waits for a second.
HAND = Service(
    [ServedRequest(1.0, 1.0, 2.0, 6.0, 10, 3), ServedRequest(1.0, 2.0, 4.0, 4.0, 5, 1)],
    Batches.of(
        [
            Batch("target", 1.0, 2.0, (0,), 10),
            Batch("draft", 1.0, 1.5, (0,), 10),
            Batch("target", 2.0, 4.0, (0, 1), 6),
            Batch("target", 5.0, 6.0, (0,), 1),
        ]
    ),
    (("target",), ("draft",)),
)


def test_by_hand() -> None:
    found = measure_service(HAND, Limits(first_token_seconds=2.0, token_seconds=1.0))
    assert (found.requests, found.tokens, found.seconds) == (2, 4, 5.0)
    assert (found.tokens_per_second, found.tokens_per_device_second) == (0.8, 0.4)
    assert (found.first_token.median, found.first_token.mean) == (2.0, 2.0)  # 1 and 3
    assert found.token.mean == 2.0  # of the first alone: 4 seconds for 2 tokens
    assert found.end_to_end.mean == 4.0
    assert found.end_to_end.p95 == pytest.approx(3 + 2 * 0.95)
    assert (found.waiting.mean, found.queue, found.longest_queue) == (0.5, 0.2, 1)
    assert found.running == (5.0 + 2.0) / 5.0
    # The first is too slow from token to token, the second to its first one.
    assert (found.goodput, found.good) == (0.0, 0.0)
    target, draft = found.devices
    assert (target.busy, draft.busy) == (0.8, 0.1)
    assert target.forwards == 3
    assert target.batch == pytest.approx((1 + 2 * 2 + 1) / 4)
    assert target.rows == pytest.approx((10 + 2 * 6 + 1) / 4)


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=20), st.floats(0.1, 10.0))
def test_fairness_is_one_of_equals_and_a_share_of_one_who_has_all(speeds: list[float], times: float) -> None:
    found, count = fairness(speeds), len(speeds)
    assert 1.0 / count - 1e-9 <= found <= 1.0 + 1e-9
    assert fairness([speed * times for speed in speeds]) == pytest.approx(found)
    assert fairness(speeds[:1] * count) == pytest.approx(1.0)
    assert fairness([*speeds[:1], *[0.0] * (count - 1)]) == pytest.approx(1.0 / count)
    assert fairness([1.0, 3.0]) == pytest.approx(16.0 / 20.0)
    assert math.isnan(fairness([]))


batches = st.lists(
    st.builds(
        Batch,
        st.sampled_from(MODELS),
        st.floats(0.0, 9.0),
        st.floats(9.0, 10.0),
        st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(tuple),
        st.integers(1, 64),
        st.frozensets(st.integers(0, 9), max_size=2),
    ),
    max_size=8,
)


@given(batches, st.integers(-9, 9), st.integers(-9, 9))
def test_columns_hold_the_forwards_that_were_noted(noted: list[Batch], start: int, stop: int) -> None:
    columns = Batches.of(noted)
    assert list(columns) == noted
    assert columns == noted
    assert columns[start:stop] == noted[start:stop]
    assert (len(columns), columns[-1:]) == (len(noted), noted[-1:])
    assert all(columns[place] == batch for place, batch in enumerate(noted))
    with pytest.raises(IndexError):
        columns[len(noted)]
    if noted:
        columns.note(*noted[0])
        assert columns != noted


@given(
    st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0.0, 1.0), st.integers(1, 4)), min_size=1, max_size=9)
)
def test_figures_are_the_same_however_many_forwards_are_looked_at_together(
    ran: list[tuple[float, float, int]],
) -> None:
    forwards, now = Batches(), 0.0
    for number, (took, pause, count) in enumerate(ran):
        model = MODELS[number % 2]
        forwards.note(model, now, now + took, range(count), 3 * count)
        now += took + pause
    service = Service([ServedRequest(0.0, 0.0, now, now, 1, 2)] * 4, forwards, (MODELS,))
    whole, over_time = measure_service(service), timeline(service, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_metrics, "BLOCK", 2)
        (device,), course = measure_service(service).devices, timeline(service, 5)
    (before,) = whole.devices
    assert (device.forwards, before.forwards) == (len(ran), len(ran))
    seconds = sum(took for took, *_ in ran)
    assert before.busy == pytest.approx(seconds / now)
    assert before.batch == pytest.approx(sum(took * count for took, _, count in ran) / seconds)
    assert (device.busy, device.batch, device.rows) == pytest.approx((before.busy, before.batch, before.rows))
    assert course.busy[0] == pytest.approx(over_time.busy[0])
    assert course.batch[0] == pytest.approx(over_time.batch[0])


def test_each_limit_counts_and_none_is_none() -> None:
    assert measure_service(HAND).good == 1.0
    assert measure_service(HAND, Limits(first_token_seconds=2.0)).good == 0.5
    assert measure_service(HAND, Limits(token_seconds=1.0)).good == 0.5
    assert measure_service(HAND, Limits(token_seconds=2.0)).goodput == 2 / 5


def test_over_time() -> None:
    """In five stretches of a second."""
    found = timeline(HAND, 5)
    assert found.seconds == 1.0
    assert found.queue == pytest.approx([1, 0, 0, 0, 0])
    assert found.running == pytest.approx([1, 2, 2, 1, 1])
    assert found.busy[0] == pytest.approx([1, 1, 1, 0, 1])
    assert found.busy[1] == pytest.approx([0.5, 0, 0, 0, 0])
    assert found.batch[0] == pytest.approx([1, 2, 2, 0, 1])
    assert found.batch[1] == pytest.approx([1, 0, 0, 0, 0])


def request(times: list[float], tokens: int) -> ServedRequest:
    arrived, began, first, ended = sorted(times)
    return ServedRequest(arrived, began, first, ended, 1, tokens)


moments = st.lists(st.floats(0, 50), min_size=4, max_size=4)
requests = st.builds(request, moments, st.integers(1, 50))


@given(st.lists(requests, min_size=1, max_size=20), st.integers(1, 9))
def test_littles_law(served: list[ServedRequest], stretches: int) -> None:
    """The mean number of requests that wait, or run, is their rate times the mean time that they do (Little 1961).

    The numbers are those over time, and the times are those of each request.
    """
    if max(r.ended for r in served) - min(r.arrived for r in served) < 1e-6:
        return
    service = Service(served, Batches(), (("target",),))
    found, over_time = measure_service(service), timeline(service, stretches)
    rate = found.requests / found.seconds
    waiting, running = (sum(its) / stretches for its in (over_time.queue, over_time.running))
    assert min(*over_time.queue, *over_time.running) >= -1e-6
    assert waiting == pytest.approx(rate * found.waiting.mean, rel=1e-6, abs=1e-6)
    assert waiting + running == pytest.approx(rate * found.end_to_end.mean, rel=1e-6, abs=1e-6)
    assert found.queue == pytest.approx(waiting, rel=1e-6, abs=1e-6)
    assert found.running == pytest.approx(running, rel=1e-6, abs=1e-6)
