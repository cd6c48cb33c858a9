"""Which requests run, and which of their forwards are one: asked by the engine and by the simulated devices alike.

Torch-free and without a clock: whoever asks says what arrives, what is asked for and what has ended, in that order.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from engine.errors import ConfigurationError
from engine.policies.load import Asked, Load, LoadQuestion, NodeShares
from engine.service_record import Model

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


@dataclass(slots=True, eq=False)
class Forward(Generic[Work]):
    """A forward that a request waits for: `rows` of its text, which has `cache_tokens` then; `work` is the asker's.

    Rows of a `prompt` may be read a chunk at a time. Of what runs, `rest` are the rows that are still to be read.
    """

    request: int
    model: Model
    rows: int
    cache_tokens: int
    work: Work
    prompt: bool = False
    rest: int = 0
    order: int = 0  # the scheduler's: later ones were asked for later


@dataclass
class Scheduler(Generic[Work]):
    """First come, first served, for requests and for forwards, within the budget.

    A request runs when its slots and a sequence are free, and all that came before it run or have ended. A batch has
    the oldest forward that may run, and those of its model that were asked for next, one of each request, as long as
    their rows fit; the oldest one runs even if its own rows exceed the budget. So nothing waits for ever.

    Prompts, where the asker says that they are, get what rows the others of their model leave, and are read in as many
    chunks as that takes, first come, first served: so they do not hold up the texts that are being written (Agrawal et
    al. 2024, Sarathi-Serve, arXiv 2403.02310).

    In *lockstep*, one batch is under way at a time, and one of the target begins when all running requests wait for it:
    drafts go first. All of these are verified before another draft goes on; of prompts, a chunk is read with them.

    Policies may `ask` about the load. Whoever asks the scheduler what runs next calls `answers` before, until there are
    none. Questions are answered together, and those that take what is spare when there are no others: *ready*, as soon
    as somebody looks; in *lockstep*, when all running requests either ask or wait for the target.
    """

    budget: Budget = DEFAULT_BUDGET
    discipline: Discipline = "ready"
    _arrived: deque[tuple[int, int]] = field(default_factory=deque)  # request and its slots
    _running: dict[int, int] = field(default_factory=dict)
    _taken: int = 0  # slots
    _waiting: dict[Model, list[Forward[Work]]] = field(default_factory=lambda: {"target": [], "draft": []})
    _prompts: dict[Model, list[Forward[Work]]] = field(default_factory=lambda: {"target": [], "draft": []})
    _asked: int = 0  # forwards so far
    _to_verify: int = 0  # in lockstep the verification has what was asked for up to here
    _under_way: int = 0
    _questions: dict[int, LoadQuestion] = field(default_factory=dict)  # by request
    _shares: NodeShares = field(default_factory=NodeShares)

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits."""
        return not self._running and not self._arrived

    def arrive(self, request: int, slots: int) -> None:
        """A request wants to run, which needs so many slots. ConfigurationError if there are never as many."""
        self.check(slots)
        self._arrived.append((request, slots))

    def check(self, slots: int) -> None:
        """ConfigurationError if there are never as many slots."""
        if slots > self.budget.slots:
            raise ConfigurationError(
                f"a request needs {slots} slots of the cache, and there are {self.budget.slots}: shorten it or enlarge "
                "the cache."
            )

    def admit(self) -> list[int]:
        """The requests that run from now on."""
        admitted = []
        while self._arrived and len(self._running) < self.budget.sequences:
            request, slots = self._arrived[0]
            if self._taken + slots > self.budget.slots:
                break
            self._arrived.popleft()
            self._running[request] = slots
            self._taken += slots
            admitted.append(request)
        return admitted

    def leave(self, request: int) -> None:
        """A request has ended, or was given up; what it still waits for is forgotten."""
        self._questions.pop(request, None)
        self._shares.release(request)
        if request in self._running:
            self._taken -= self._running.pop(request)
        else:
            self._arrived = deque(one for one in self._arrived if one[0] != request)
        for lists in (self._waiting, self._prompts):
            for model, waiting in lists.items():
                if any([forward.request == request for forward in waiting]):
                    lists[model] = [forward for forward in waiting if forward.request != request]

    def ask(self, request: int, question: LoadQuestion) -> None:
        """A running request, which has no other question, waits for an answer."""
        self._questions[request] = question

    def answers(self) -> list[tuple[int, Load]]:
        """Answers by request that are to be handed on now, in the order of asking; empty if there are none."""
        if not self._questions or (self.discipline == "lockstep" and not self._all_wait()):
            return []
        spare = all([question.spare for question in self._questions.values()])
        asked: list[Asked] = [its for its in self._questions.items() if its[1].spare == spare]
        for request, _ in asked:
            del self._questions[request]
        return self._shares.answer(asked, len(self._running))

    def _all_wait(self) -> bool:
        """In lockstep, whether all running requests ask or wait for the target's next verification."""
        oldest = self._oldest("target")
        if self._under_way or self._oldest("draft") or (oldest and oldest <= self._to_verify):
            return False
        return len(self._verifying() | self._questions.keys()) == len(self._running)

    def _verifying(self) -> set[int]:
        """The requests that wait for the target."""
        return {forward.request for lists in (self._waiting, self._prompts) for forward in lists["target"]}

    def submit(self, forward: Forward[Work]) -> None:
        """A running request waits for a forward."""
        self._asked = forward.order = self._asked + 1
        (self._prompts if forward.prompt else self._waiting)[forward.model].append(forward)

    def next_batch(self, models: Collection[Model]) -> list[Forward[Work]]:
        """What a free device that serves `models` runs as one forward of one of them; empty if nothing may run now.

        `finish` says when it has ended.
        """
        if self.discipline == "lockstep":
            model = self._next_in_lockstep()
            if model is None or model not in models:
                return []
        else:
            oldest = {order: model for model in models if (order := self._oldest(model))}
            if not oldest:
                return []
            model = oldest[min(oldest)]
        self._under_way += 1
        batch = self._take(model)
        if self._prompts[model]:
            self._fill(model, batch)
        if model == "target":
            for forward in batch:
                if not forward.rest:
                    self._shares.release(forward.request)
        return batch

    def finish(self) -> None:
        """A batch has ended, and what its requests want next is submitted."""
        self._under_way -= 1

    def _oldest(self, model: Model) -> int:
        """When the oldest forward of a model was asked for; 0 if there is none."""
        waiting, prompts = self._waiting[model], self._prompts[model]
        if waiting and prompts:
            return min(waiting[0].order, prompts[0].order)
        return waiting[0].order if waiting else prompts[0].order if prompts else 0

    def _next_in_lockstep(self) -> Model | None:
        """Whose turn it is, if any."""
        if self._under_way:
            return None
        oldest = self._oldest("target")
        if oldest and oldest <= self._to_verify:
            return "target"
        if self._oldest("draft"):
            return "draft"
        if not oldest or len(self._verifying()) < len(self._running):
            return None
        self._to_verify = self._asked
        return "target"

    def _take(self, model: Model) -> list[Forward[Work]]:
        """What was asked for first and fits into a batch, apart from prompts; in lockstep, of the verification."""
        waiting, most = self._waiting[model], self.budget.rows
        limit = self._to_verify if self.discipline == "lockstep" and model == "target" else self._asked
        if (
            waiting
            and waiting[-1].order <= limit
            and sum([forward.rows for forward in waiting]) <= most
            and len({forward.request for forward in waiting}) == len(waiting)
        ):
            self._waiting[model] = []
            return waiting
        chosen: dict[int, Forward[Work]] = {}  # by request
        rows, left = 0, []
        full = False
        for forward in waiting:
            full = full or forward.order > limit
            if full or forward.request in chosen:
                left.append(forward)
            elif chosen and rows + forward.rows > most:
                full = True
                left.append(forward)
            else:
                chosen[forward.request] = forward
                rows += forward.rows
        self._waiting[model] = left
        return list(chosen.values())

    def _fill(self, model: Model, batch: list[Forward[Work]]) -> None:
        """Give the rows that are left to prompts."""
        left = self.budget.rows - sum([forward.rows for forward in batch])
        waiting, kept = self._prompts[model], []
        has = {forward.request for forward in batch}
        for place, forward in enumerate(waiting):
            if left <= 0:
                kept += waiting[place:]
                break
            if forward.request in has:
                kept.append(forward)
                continue
            has.add(forward.request)
            rest = max(0, forward.rows - left)
            if rest:
                self._asked += 1
                kept.append(replace(forward, rows=rest, order=self._asked))
                forward = replace(forward, rows=left, cache_tokens=forward.cache_tokens - rest, rest=rest)
            batch.append(forward)
            left -= forward.rows
        self._prompts[model] = kept
