"""Every forward runs once, in its request's order and within the budget; none waits for ever."""

from collections import Counter
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.errors import ConfigurationError
from engine.runtime.scheduler import Budget, Discipline, Forward, Scheduler
from engine.service_record import Model

budgets = st.builds(Budget, rows=st.integers(1, 20), sequences=st.integers(1, 4), slots=st.integers(10, 30))
forwards = st.tuples(st.sampled_from(["target", "draft"]), st.integers(1, 12))
plans = st.lists(
    st.tuples(st.integers(1, 10), st.lists(forwards, min_size=1, max_size=6)), min_size=1, max_size=6
)
disciplines = st.sampled_from(["ready", "lockstep"])
WHERE: dict[bool, list[tuple[Model, ...]]] = {True: [("target", "draft")], False: [("target",), ("draft",)]}


@dataclass
class Driver:
    """Runs plans, (slots, forwards) of requests, each of which asks for a forward when the one before has ended."""

    plans: list[tuple[int, list[tuple[Model, int]]]]
    scheduler: Scheduler[int]
    log: list[list[Forward[int]]] = field(default_factory=list)
    running: set[int] = field(default_factory=set)

    def ask(self, request: int, number: int) -> None:
        """For the forward of this number or, behind the last one, for nothing more."""
        slots, wanted = self.plans[request]
        if number == len(wanted):
            self.running.remove(request)
            self.scheduler.leave(request)
        else:
            model, rows = wanted[number]
            self.scheduler.submit(Forward(request, model, rows, slots, number))

    def admit(self) -> None:
        for request in self.scheduler.admit():
            self.running.add(request)
            self.ask(request, 0)
        assert len(self.running) <= self.scheduler.budget.sequences
        assert sum(self.plans[one][0] for one in self.running) <= self.scheduler.budget.slots

    def run(self, devices: list[tuple[Model, ...]]) -> None:
        """With all arrived from the start; a device's batch ends when that of each other one has begun."""
        for request, (slots, _) in enumerate(self.plans):
            self.scheduler.arrive(request, slots)
        self.admit()
        while not self.scheduler.idle:
            begun = [batch for models in devices if (batch := self.scheduler.next_batch(models))]
            assert begun, "requests wait and nothing runs"
            for batch in begun:
                self.log.append(batch)
                for forward in batch:
                    self.ask(forward.request, forward.work + 1)
                self.scheduler.finish()
            self.admit()


def driven(
    plan: list[tuple[int, list[tuple[Model, int]]]], budget: Budget, discipline: Discipline, shared: bool
) -> Driver:
    driver = Driver(plan, Scheduler(budget, discipline))
    driver.run(WHERE[shared])
    return driver


@given(plans, budgets, disciplines, st.booleans())
def test_every_forward_runs_once_in_order_and_within_the_budget(
    plan: list[tuple[int, list[tuple[Model, int]]]], budget: Budget, discipline: Discipline, shared: bool
) -> None:
    driver = driven(plan, budget, discipline, shared)
    ran = [(forward.request, forward.work) for batch in driver.log for forward in batch]
    assert sorted(ran) == [
        (request, i) for request, (_, wanted) in enumerate(plan) for i in range(len(wanted))
    ]
    for request in range(len(plan)):
        order = [number for one, number in ran if one == request]
        assert order == sorted(order)
    for batch in driver.log:
        assert len({forward.model for forward in batch}) == 1
        assert max(Counter(forward.request for forward in batch).values()) == 1
        assert len(batch) == 1 or sum(forward.rows for forward in batch) <= budget.rows


@given(st.lists(forwards, min_size=1, max_size=30), budgets)
def test_what_waited_longest_goes_first(wanted: list[tuple[Model, int]], budget: Budget) -> None:
    """One forward of each of many requests: those of a model run in the order that they were asked for."""
    scheduler: Scheduler[int] = Scheduler(Budget(budget.rows, len(wanted), len(wanted)))
    for request in range(len(wanted)):
        scheduler.arrive(request, 1)
    assert scheduler.admit() == list(range(len(wanted)))
    for request, (model, rows) in enumerate(wanted):
        scheduler.submit(Forward(request, model, rows, 1, 0))
    firsts = []
    while batch := scheduler.next_batch(("target", "draft")):
        scheduler.finish()
        numbers = [forward.request for forward in batch]
        assert numbers == sorted(numbers)
        firsts.append((batch[0].model, numbers))
    for model in ("target", "draft"):
        ran = [number for one, numbers in firsts if one == model for number in numbers]
        assert ran == [number for number, (one, _) in enumerate(wanted) if one == model]


@given(st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_in_lockstep_all_draft_and_then_all_are_verified(requests: int, rounds: int, shared: bool) -> None:
    """Requests that draft unequally long."""
    step: tuple[Model, int] = ("draft", 1)
    judged: tuple[Model, int] = ("target", 2)
    plan = [(1, ([step] * (1 + request) + [judged]) * rounds) for request in range(requests)]
    driver = driven(plan, Budget(), "lockstep", shared)
    sizes = [(batch[0].model, len(batch)) for batch in driver.log]
    one_round = [("draft", requests - step) for step in range(requests)] + [("target", requests)]
    assert sizes == one_round * rounds


def test_a_verification_in_lockstep_is_ended_before_a_draft_goes_on() -> None:
    """Though the rows of all do not fit into one forward."""
    plan: list[tuple[int, list[tuple[Model, int]]]] = [(1, [("target", 3), ("draft", 1), ("target", 3)])] * 5
    driver = driven(plan, Budget(rows=6), "lockstep", True)
    assert [(batch[0].model, len(batch)) for batch in driver.log] == [
        *[("target", 2), ("target", 2), ("target", 1), ("draft", 5)],
        *[("target", 2), ("target", 2), ("target", 1)],
    ]


def test_ready_models_run_at_once_on_devices_of_their_own() -> None:
    plan: list[tuple[int, list[tuple[Model, int]]]] = [(1, [("target", 1)] * 3), (1, [("draft", 1)] * 3)]
    driver = driven(plan, Budget(), "ready", False)
    assert [batch[0].model for batch in driver.log] == ["target", "draft"] * 3


def test_a_request_waits_for_room_and_overtakes_nobody() -> None:
    scheduler: Scheduler[None] = Scheduler(Budget(sequences=2, slots=10))
    for request, slots in enumerate((6, 6, 1, 1)):
        scheduler.arrive(request, slots)
    assert scheduler.admit() == [0]
    scheduler.leave(0)
    assert scheduler.admit() == [1, 2]
    scheduler.leave(1)
    assert scheduler.admit() == [3]
    with pytest.raises(ConfigurationError, match="needs 11 slots of the cache, and there are 10"):
        scheduler.arrive(4, 11)


def test_what_a_request_left_undone_is_forgotten() -> None:
    scheduler: Scheduler[int] = Scheduler()
    for request in range(3):
        scheduler.arrive(request, 1)
    scheduler.admit()
    for request in range(3):
        scheduler.submit(Forward(request, "target", 1, 1, 0))
    scheduler.leave(1)
    device: tuple[Model, ...] = ("target",)
    assert [forward.request for forward in scheduler.next_batch(device)] == [0, 2]
    assert not scheduler.next_batch(device)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 12),
    disciplines,
)
def test_prompts_get_the_rows_that_others_leave(
    wanted: list[tuple[int, bool]], rows: int, discipline: Discipline
) -> None:
    """Others go first, prompts one behind another, each row once, and a chunk says what is left of it."""
    scheduler: Scheduler[int] = Scheduler(Budget(rows), discipline)
    for request, (count, prompt) in enumerate(wanted):
        scheduler.arrive(request, 1)
        scheduler.admit()
        scheduler.submit(Forward(request, "target", count, count, 0, prompt))
    read: Counter[int] = Counter()
    while batch := scheduler.next_batch(WHERE[False][0]):
        kinds = [forward.prompt for forward in batch]
        assert kinds == sorted(kinds)
        assert len(batch) == 1 or sum(forward.rows for forward in batch) <= rows
        assert not any(forward.rest for forward in batch[:-1])
        for forward in batch:
            read[forward.request] += forward.rows
            assert forward.cache_tokens == read[forward.request]
            assert read[forward.request] + forward.rest == wanted[forward.request][0]
        scheduler.finish()
        # In lockstep, all that run have to wait before another verification.
        for forward in batch:
            if not forward.rest:
                scheduler.leave(forward.request)
    assert read == {request: count for request, (count, _) in enumerate(wanted)}
