"""Devices: one job at a time, and closed-form arithmetic of jobs that slow each other while they overlap."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sim.costs.contention import Contention
from sim.scripts.work import DRAFT, TARGET
from sim.world.devices import Devices, Handle

Plan = list[tuple[float, int, float]]  # when each job is submitted, to which model, its seconds at full speed


def run(plan: Plan, shared: bool = False, slow_downs: tuple[float, float] = (1.0, 1.0)) -> list[Handle]:
    devices = Devices(shared, Contention.stated(*slow_downs))
    handles = [devices.submit(at, model, seconds) for at, model, seconds in plan]
    devices.finish()
    return handles


def spans(handles: list[Handle]) -> list[tuple[float, float]]:
    return [(handle.start, handle.end) for handle in handles]


@pytest.mark.parametrize("slow_downs", [(1.0, 1.0), (1.5, 2.0)])
def test_a_device_serves_one_job_at_a_time(slow_downs: tuple[float, float]) -> None:
    plan: Plan = [(0.0, TARGET, 2.0), (1.0, TARGET, 3.0), (9.0, TARGET, 1.0)]
    assert spans(run(plan, slow_downs=slow_downs)) == [(0.0, 2.0), (2.0, 5.0), (9.0, 10.0)]


def test_a_shared_device_serves_both_models_in_the_order_asked() -> None:
    plan: Plan = [(0.0, TARGET, 2.0), (0.0, DRAFT, 3.0), (1.0, TARGET, 1.0)]
    assert spans(run(plan, shared=True, slow_downs=(2.0, 2.0))) == [(0.0, 2.0), (2.0, 5.0), (5.0, 6.0)]


def test_a_short_job_inside_a_long_one() -> None:
    # The draft's 2 s last 3; meanwhile the target does 3 / 1.25 of its 10 s, the rest at full speed.
    handles = run([(0.0, TARGET, 10.0), (4.0, DRAFT, 2.0)], slow_downs=(1.25, 1.5))
    assert handles[1].end == pytest.approx(4.0 + 3.0)
    assert handles[0].end == pytest.approx(4.0 + 3.0 + (10.0 - 4.0 - 3.0 / 1.25))


def test_jobs_that_start_together() -> None:
    handles = run([(0.0, TARGET, 4.0), (0.0, DRAFT, 1.0), (0.0, DRAFT, 1.0)], slow_downs=(2.0, 1.5))
    # Two draft jobs in a row last 3 s, in which the target does 1.5 of its 4 s.
    assert spans(handles)[1:] == [(0.0, 1.5), (1.5, 3.0)]
    assert handles[0].end == pytest.approx(3.0 + 2.5)


def test_jobs_that_end_together() -> None:
    handles = run([(0.0, TARGET, 2.0), (0.0, DRAFT, 2.0)], slow_downs=(1.5, 1.5))
    assert [handle.end for handle in handles] == pytest.approx([3.0, 3.0])


jobs = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from([TARGET, DRAFT]), st.floats(0, 3)), min_size=1, max_size=12
)


@given(jobs, st.floats(1, 3), st.floats(1, 3))
def test_total_time_lies_between_none_and_full_contention(
    plan: list[tuple[float, int, float]], target: float, draft: float
) -> None:
    plan = sorted(plan, key=lambda job: job[0])

    def last(handles: list[Handle]) -> float:
        return max(handle.end for handle in handles)

    slow = {TARGET: target, DRAFT: draft}
    always = [(at, model, seconds * slow[model]) for at, model, seconds in plan]
    mine = run(plan, slow_downs=(target, draft))
    assert last(run(plan)) - 1e-9 <= last(mine) <= last(run(always)) + 1e-9
    for handle, (at, model, seconds) in zip(mine, plan, strict=True):
        assert handle.start >= at - 1e-9
        assert seconds - 1e-9 <= handle.end - handle.start <= seconds * slow[model] + 1e-9


def test_a_pair_of_jobs_slows_down_by_what_both_do() -> None:
    """Until one ends; then the next pair's slow-downs hold."""
    measured = ((1, 1, 2.0, 1.5), (5, 1, 1.25, 1.0))
    devices = Devices(contention=Contention(measured))
    target = [devices.submit(0.0, TARGET, 2.0, width=n) for n in (1, 5)]
    draft = devices.submit(0.0, DRAFT, 4.0)
    devices.finish()
    # The first forward takes 4 s, in which the draft does 4 / 1.5 of its 4 s; beside the second it does the rest.
    assert target[0].end == pytest.approx(4.0)
    assert draft.end == pytest.approx(4.0 + (4.0 - 4.0 / 1.5))
    beside = draft.end - 4.0
    assert target[1].end == pytest.approx(4.0 + beside + (2.0 - beside / 1.25))
