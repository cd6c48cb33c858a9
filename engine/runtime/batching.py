"""Several requests at once over one target and one draft, whose forwards are merged as the scheduler says.

Each request has its policy, its session and its text in a shared cache, and is written as it would be alone: the jobs
are those of `engine.runtime.worker_process`, which ask for forwards instead of running them. Both models take turns
here, in one thread of this process.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from engine.errors import SpecBranchError
from engine.models.cached_model import CachedModel, Forwards, SharedCache
from engine.models.rows import Rows
from engine.models.sampling import GREEDY, Sampling
from engine.policies import load_policy
from engine.policies.protocol import Steps, Waits
from engine.policies.settings import Settings
from engine.record import Run
from engine.runtime import worker_process
from engine.runtime.channel import Channel, Ticket
from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline, Forward, Model, Scheduler
from engine.runtime.session import DraftLost, EngineSession, Pending, Player, Stopped, never
from engine.runtime.worker_process import Host, Hosted, do
from engine.runtime.workers import Worker
from engine.runtime.workload import slots_needed

JOBS: dict[str, tuple[Model, Callable[..., Forwards[Any]]]] = {
    "verify": ("target", worker_process.verify_by_forwards),
    "draft": ("draft", worker_process.draft_by_forwards),
}


@dataclass(frozen=True)
class Request:
    """A text that is asked for: up to `max_tokens` tokens after `prompt` (ids, at least one), by a policy.

    It ends with one of `end_tokens`, or when `stopped` says so of it; `on_text` hears each stretch as it is written.
    """

    prompt: Sequence[int]
    settings: Settings
    max_tokens: int
    end_tokens: Collection[int] = ()
    sampling: Sampling = GREEDY
    on_text: Callable[[Sequence[int]], None] | None = None
    stopped: Stopped = never

    @property
    def slots(self) -> int:
        """How many slots its text takes in either cache at most, with what is drafted beyond it."""
        return slots_needed(self.settings, len(self.prompt), self.max_tokens)


@dataclass(eq=False)
class _Job:
    """A job: the forwards that it asks for, since when, and the one that it waits for, which may be watched."""

    request: int
    name: str
    work: Forwards[Any]
    ticket: Ticket
    start: float | None = None
    rows: Rows | None = None
    watched: bool = False


@dataclass(frozen=True)
class _Ended:
    """What a job came to."""

    value: Any


@dataclass(eq=False)
class _Writing:
    """A request that runs: its session, its policy, what that waits for, and its texts in the caches."""

    request: Request
    session: EngineSession
    steps: Steps
    texts: Sequence[CachedModel]
    waits: Waits = ()
    warning: str | None = None


@dataclass(eq=False)
class _Seat:
    """Stands for a worker in a request's session: the jobs that are sent to it join the batches of the engine."""

    engine: "BatchEngine"
    request: int
    host: Host
    process: None = None

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        ticket = Ticket(cast(Channel, self), time.perf_counter())
        if function.__name__ in JOBS:
            _, forwards = JOBS[function.__name__]
            job = _Job(self.request, function.__name__, forwards(self.host, **arguments), ticket)
            self.engine.go_on(job, None)
        else:
            reply = do(self.host, partial(function, self.host, **arguments), function.__name__)
            ticket.answer(reply, reply["end"], "engine")
        return ticket


@dataclass
class BatchEngine:
    """Writes requests together: `add` them at any time, and `step` while there is something to do.

    `target` and `draft` are models as a worker hosts them, whose caches become the requests' own. `runs` has what was
    written, by the numbers that `add` gave; `failures` what went wrong for one request. Whatever happens to a draft,
    the target goes on alone, and the run carries a warning.
    """

    target: Hosted
    draft: Hosted | None = None
    budget: Budget = DEFAULT_BUDGET
    discipline: Discipline = "ready"
    runs: dict[int, Run] = field(default_factory=dict)
    failures: dict[int, SpecBranchError] = field(default_factory=dict)
    batches: list[tuple[Model, int, int]] = field(default_factory=list)
    """Of each forward so far: the model, how many requests' rows it had, and how many rows."""

    def __post_init__(self) -> None:
        """ConfigurationError if a model can hold one text only."""
        self.scheduler: Scheduler[_Job] = Scheduler(self.budget, self.discipline)
        self._models: dict[Model, Hosted] = {"target": self.target}
        if self.draft is not None:
            self._models["draft"] = self.draft
        self.caches = {
            name: SharedCache(hosted.model.decoder, self.budget.slots)
            for name, hosted in self._models.items()
        }
        self._asked: dict[int, tuple[Request, float]] = {}
        self._writing: dict[int, _Writing] = {}
        self._host, self._count = Host(), 0

    @property
    def idle(self) -> bool:
        """Whether all requests have ended."""
        return self.scheduler.idle

    def add(self, request: Request) -> int:
        """Queue a request; returns its number. ConfigurationError if it never fits into the caches."""
        number, self._count = self._count, self._count + 1
        self.scheduler.arrive(number, request.slots)
        self._asked[number] = request, time.perf_counter()
        return number

    def cancel(self, number: int) -> None:
        """Forget a request that waits or runs."""
        self._asked.pop(number, None)
        self._leave(number)

    def run(self) -> None:
        """Write all requests to their ends."""
        while self.step():
            pass

    @torch.inference_mode()
    def step(self) -> bool:
        """Begin what there is room for, and run one forward; returns whether there was one."""
        for number in self.scheduler.admit():
            self._begin(number, *self._asked.pop(number))
        batch = self.scheduler.next_batch(tuple(self._models))
        if not batch:
            return False
        jobs = [forward.work for forward in batch]
        self._forward(batch[0].model, jobs)
        # After all jobs have gone on: with a request that ends, the rows of a cut head change.
        for job in jobs:
            if job.request in self._writing:
                self._resume(job.request)
        self.scheduler.finish()
        return True

    def go_on(self, job: _Job, logits: Tensor | None) -> None:
        """Give a job what it waited for; it asks for its next forward, or has ended."""
        model, _ = JOBS[job.name]
        decoder = self.caches[model].decoder
        reply = do(self._host, partial(_advance, job.work, logits), job.name)
        found = reply.get("value")
        if isinstance(found, Rows):
            job.rows, job.watched = found, decoder.watch
            self.scheduler.submit(Forward(job.request, model, len(found), found.end, job))
            return
        if isinstance(found, _Ended):
            reply["value"] = found.value
        job.ticket.answer(reply | {"start": job.start or reply["start"]}, reply["end"], model)

    def _forward(self, model: Model, jobs: Sequence[_Job]) -> None:
        """Run one forward for all jobs, and let them go on."""
        decoder = self.caches[model].decoder
        batch = [job.rows for job in jobs if job.rows is not None]
        self.batches.append((model, len(batch), sum(map(len, batch))))
        decoder.watch = any(job.watched for job in jobs)
        reply = do(self._host, partial(decoder.forward, batch), "forward")
        for job in jobs:
            job.start = job.start or reply["start"]
        if "value" not in reply:
            for job in jobs:
                job.work.close()
                job.ticket.answer(reply, reply["end"], model)
            return
        logits, features, begin = reply["value"], decoder.features, 0
        for job, rows in zip(jobs, batch, strict=True):
            end = begin + rows.last
            decoder.features = features[begin:end]
            self.go_on(job, logits[begin:end])
            begin = end

    def _begin(self, number: int, request: Request, asked: float) -> None:
        """Start a request's policy, over texts of its own in the caches."""
        models: dict[str, Hosted] = {
            name: Hosted(
                CachedModel(hosted.model.decoder, self.caches[name]),
                hosted.ngrams,
                predictors=hosted.predictors,
            )
            for name, hosted in self._models.items()
        }
        seat = cast(Worker, _Seat(self, number, Host(models=models)))
        session = EngineSession(
            Player(seat, "target"),
            Player(seat, "draft") if self.draft else None,
            list(request.prompt),
            request.max_tokens,
            request.end_tokens,
            request.on_text,
            request.sampling,
            self.target.ngrams,
            stopped=request.stopped,
            began=asked,
        )
        steps = load_policy(request.settings.policy)(session, request.settings)
        self._writing[number] = _Writing(
            request, session, steps, [hosted.model for hosted in models.values()]
        )
        self._resume(number)

    def _resume(self, number: int) -> None:
        """Let a policy go on as far as it can, and note the run when it has ended."""
        writing = self._writing[number]
        session, request = writing.session, writing.request
        try:
            while all(_is_answered(handle) for handle in writing.waits):
                for handle in writing.waits:
                    session.wait(cast(Pending[object], handle))
                writing.waits = next(writing.steps)
        except StopIteration:
            self.runs[number] = session.run(len(request.prompt), self.draft is not None, writing.warning)
            self._leave(number)
        except DraftLost as error:
            writing.warning = session.alone(error)
            writing.steps, writing.waits = load_policy("autoregressive")(session, request.settings), ()
            self._resume(number)
        except SpecBranchError as error:
            self.failures[number] = error
            self._leave(number)

    def _leave(self, number: int) -> None:
        """Give a request's slots back, whether it has begun or not."""
        if writing := self._writing.pop(number, None):
            for text in writing.texts:
                text.leave()
        self.scheduler.leave(number)


def _advance(work: Forwards[Any], logits: Tensor | None) -> Rows | _Ended:
    """What a job asks for next, or what it came to."""
    try:
        return next(work) if logits is None else work.send(logits)
    except StopIteration as end:
        return _Ended(end.value)


def _is_answered(handle: object) -> bool:
    ticket = cast(Pending[object], handle).ticket
    return ticket.reply is not None or ticket.error is not None
