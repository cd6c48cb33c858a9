"""Which requests run, and which of their forwards are one: asked by the engine and by the simulated devices alike.

Torch-free and without a clock: whoever asks says what arrives, what is asked for and what has ended, in that order.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from engine.errors import ConfigurationError

Model = Literal["target", "draft"]
Discipline = Literal["ready", "lockstep"]
"""Whether a free device runs whatever waits, or all running requests draft first and are verified then."""

Work = TypeVar("Work")


@dataclass(frozen=True, slots=True)
class Budget:
    """What there is room for: `rows` of a forward, `sequences` that run at once, `slots` of each model's cache."""

    rows: int = 512
    sequences: int = 64
    slots: int = 1 << 16


DEFAULT_BUDGET = Budget()


@dataclass(frozen=True, slots=True, eq=False)
class Forward(Generic[Work]):
    """A forward that a request waits for: `rows` of its text, which has `cache_tokens` then; `work` is the asker's."""

    request: int
    model: Model
    rows: int
    cache_tokens: int
    work: Work


@dataclass
class Scheduler(Generic[Work]):
    """First come, first served, for requests and for forwards, within the budget.

    A request runs when its slots and a sequence are free, and all that came before it run or have ended. A batch has
    the oldest forward that may run, and those of its model that were asked for next, one of each request, as long as
    their rows fit; the oldest one runs even if its own rows exceed the budget. So nothing waits for ever.

    In *lockstep*, one batch is under way at a time, and one of the target begins when all running requests wait for it:
    drafts go first. All of these are verified before another draft goes on.
    """

    budget: Budget = DEFAULT_BUDGET
    discipline: Discipline = "ready"
    _arrived: deque[tuple[int, int]] = field(default_factory=deque)  # request and its slots
    _running: dict[int, int] = field(default_factory=dict)
    _waiting: list[Forward[Work]] = field(default_factory=list)  # in the order that they were asked for
    _to_verify: set[Forward[Work]] = field(default_factory=set)  # what is left of a verification in lockstep
    _under_way: int = 0

    @property
    def running(self) -> int:
        """How many requests run."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits."""
        return not self._running and not self._arrived

    def arrive(self, request: int, slots: int) -> None:
        """A request wants to run, which needs so many slots. ConfigurationError if there are never as many."""
        if slots > self.budget.slots:
            raise ConfigurationError(
                f"a request needs {slots} slots of the cache, and there are {self.budget.slots}: shorten it or enlarge "
                "the cache."
            )
        self._arrived.append((request, slots))

    def admit(self) -> list[int]:
        """The requests that run from now on."""
        admitted = []
        while self._arrived and len(self._running) < self.budget.sequences:
            request, slots = self._arrived[0]
            if sum(self._running.values()) + slots > self.budget.slots:
                break
            self._arrived.popleft()
            self._running[request] = slots
            admitted.append(request)
        return admitted

    def leave(self, request: int) -> None:
        """A request has ended, or was given up; what it still waits for is forgotten."""
        self._running.pop(request, None)
        self._arrived = deque(one for one in self._arrived if one[0] != request)
        self._waiting = [forward for forward in self._waiting if forward.request != request]
        self._to_verify = {forward for forward in self._to_verify if forward.request != request}

    def submit(self, forward: Forward[Work]) -> None:
        """A running request waits for a forward."""
        self._waiting.append(forward)

    def next_batch(self, models: Collection[Model]) -> list[Forward[Work]]:
        """What a free device that serves `models` runs as one forward of one of them; empty if nothing may run now.

        `finish` says when it has ended.
        """
        if self.discipline == "lockstep" and not self._to_verify and self._all_wait_for_target():
            self._to_verify = set(self._waiting)
        allowed = [forward for forward in self._waiting if forward.model in models and self._may_run(forward)]
        chosen: dict[int, Forward[Work]] = {}  # by request
        rows = 0
        for forward in allowed:
            if forward.model != allowed[0].model or forward.request in chosen:
                continue
            if chosen and rows + forward.rows > self.budget.rows:
                break
            chosen[forward.request] = forward
            rows += forward.rows
        batch = list(chosen.values())
        if batch:
            gone = set(batch)
            self._waiting = [forward for forward in self._waiting if forward not in gone]
            self._to_verify -= gone
            self._under_way += 1
        return batch

    def finish(self) -> None:
        """A batch has ended, and what its requests want next is submitted."""
        self._under_way -= 1

    def _all_wait_for_target(self) -> bool:
        requests = {forward.request for forward in self._waiting}
        return requests == set(self._running) and all(forward.model == "target" for forward in self._waiting)

    def _may_run(self, forward: Forward[Work]) -> bool:
        if self.discipline == "ready":
            return True
        if self._under_way:
            return False
        return forward in self._to_verify if self._to_verify else forward.model == "draft"
