"""Several requests at once over one target and one draft, whose forwards are merged as the scheduler says.

Each request has its policy, its session and its text in a shared cache, and is written as it would be alone: the jobs
are those of `engine.runtime.worker_process`, which ask for forwards instead of running them. The models take turns in
one thread, or have one each (`engine.runtime.serving`): what is done between two forwards is done under one lock, and
the forwards themselves without it.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch

from engine.errors import SpecBranchError
from engine.models.cached_model import CachedModel, SharedCache
from engine.models.reader import LOGITS, Ask, Found, joined
from engine.models.rows import row_count
from engine.policies import load_policy, uses
from engine.policies.load import Answer, LoadQuestion
from engine.policies.protocol import Steps, Waits
from engine.record import Run
from engine.runtime.batch_jobs import JOBS, BatchJob, Ended, advance
from engine.runtime.channel import Channel, Ticket
from engine.runtime.requests import Request
from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline, Forward, Scheduler
from engine.runtime.session import DraftLost, EngineSession, Pending, Player
from engine.runtime.worker_process import Host, Hosted, attempt, do
from engine.runtime.workers import Worker
from engine.service_record import Batches, Model, ServedRequest

__all__ = ["BatchEngine", "Request", "Running"]

Reply = dict[str, Any]
"""What `engine.runtime.worker_process.do` says of a job."""


@dataclass(eq=False)
class _Writing:
    """A request that runs: its session, its policy, what that waits for, and its texts in the caches."""

    request: Request
    session: EngineSession
    steps: Steps
    texts: Sequence[CachedModel]
    arrived: float
    began: float
    waits: Waits = ()
    warning: str | None = None
    question: Answer | None = None  # the last one about the load


@dataclass(eq=False)
class _Seat:
    """Stands for a worker in a request's session: the jobs that are sent to it join the batches of the engine."""

    engine: "BatchEngine"
    request: int
    host: Host
    process: None = None

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        ticket = Ticket(cast(Channel, self), time.perf_counter())
        name = function.__name__
        if name in JOBS:
            model, forwards = JOBS[name]
            job = BatchJob(self.request, name, model, forwards(self.host, **arguments), ticket)
            self.engine.go_on(job, None)
        else:
            reply = do(self.host, partial(function, self.host, **arguments), name)
            ticket.answer(reply, reply["end"], "engine")
        return ticket


@dataclass(frozen=True, slots=True)
class Running:
    """A forward that is about to run: those of the requests that it is of, and what it reads of each.

    `problem`: why it cannot run.
    """

    model: Model
    forwards: Sequence[Forward[BatchJob]]
    asks: Sequence[Ask]
    problem: Reply | None = None


@dataclass
class BatchEngine:
    """Writes requests together: `add` them at any time, and `step` while there is something to do.

    `target` and `draft` are models as a worker hosts them, whose caches become the requests' own; `hosts` say where
    each of them computes. With `chunks`, prompts are read in chunks beside other rows. `runs` has what was written, by
    the numbers that `add` gave; `failures` what went wrong for one request. Whatever happens to a draft, the target
    goes on alone, and the run carries a warning; a draft that failed is not asked again.

    Threads may share an engine: each takes a forward by `next`, while it holds `changed`, and runs it by `execute`,
    while it does not. `served` and `batches` say what happened, in seconds since `epoch` of the monotonic clock.
    """

    target: Hosted
    draft: Hosted | None = None
    budget: Budget = DEFAULT_BUDGET
    discipline: Discipline = "ready"
    chunks: bool = False
    hosts: tuple[Host, Host] = field(default_factory=lambda: (Host(),) * 2)
    epoch: float = field(default_factory=time.perf_counter)
    on_end: Callable[[int], None] = lambda number: None
    """Hears that a request has ended, failed or was cancelled."""
    runs: dict[int, Run] = field(default_factory=dict)
    failures: dict[int, SpecBranchError] = field(default_factory=dict)
    served: dict[int, ServedRequest] = field(default_factory=dict)
    batches: Batches = field(default_factory=Batches)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def __post_init__(self) -> None:
        """ConfigurationError if a model can hold one text only."""
        self.scheduler: Scheduler[BatchJob] = Scheduler(self.budget, self.discipline)
        self._models: dict[Model, Hosted] = {"target": self.target}
        if self.draft is not None:
            self._models["draft"] = self.draft
        self.caches = {
            name: SharedCache(hosted.model.decoder, self.budget.slots)
            for name, hosted in self._models.items()
        }
        self._hosts: dict[Model, Host] = {"target": self.hosts[0], "draft": self.hosts[1]}
        self._asked: dict[int, tuple[Request, float]] = {}
        self._writing: dict[int, _Writing] = {}
        self._draft_lost: Reply | None = None
        self._count = 0

    @property
    def idle(self) -> bool:
        """Whether all requests have ended."""
        return self.scheduler.idle

    @property
    def written(self) -> int:
        """Tokens written so far, also of requests that have not ended."""
        ended = sum(request.tokens for request in self.served.values())
        return ended + sum(writing.session.written for writing in self._writing.values())

    def check(self, request: Request) -> None:
        """ConfigurationError for a request that never fits into the caches, or whose policy there is not."""
        load_policy(request.settings.policy)
        self.scheduler.check(request.slots)

    def add(self, request: Request, number: int | None = None, arrived: float | None = None) -> int:
        """Queue a request; returns its number, the next one where none is given.

        `arrived`: when, by the monotonic clock; None: now. ConfigurationError as of `check`.
        """
        self.check(request)
        with self.changed:
            number = self._count if number is None else number
            self._count = max(self._count, number) + 1
            self.scheduler.arrive(number, request.slots)
            self._asked[number] = request, time.perf_counter() if arrived is None else arrived
            self.changed.notify_all()
        return number

    def cancel(self, number: int) -> None:
        """Forget a request that waits or runs; what is being computed of it comes to nothing."""
        with self.changed:
            known = number in self._asked or number in self._writing
            self._asked.pop(number, None)
            self._leave(number)
            if known:
                self.on_end(number)
            self.changed.notify_all()

    def run(self) -> None:
        """Write all requests to their ends."""
        while self.step():
            pass

    def step(self) -> bool:
        """Begin what there is room for, and run one forward; returns whether there was one."""
        with self.changed:
            running = self.next(tuple(self._models))
        if running is None:
            return False
        self.execute(running)
        return True

    @torch.inference_mode()
    def next(self, models: Collection[Model]) -> Running | None:
        """Begin what there is room for; what a free device that serves `models` runs then, if anything."""
        self._let_begin()
        batch = self.scheduler.next_batch(models)
        if not batch:
            return None
        model, asks = batch[0].model, [forward.work.part(forward) for forward in batch]
        if not any([ask.rows.last for ask in asks]):
            # Nobody asks for it, but each forward has some logits.
            asks[-1] = replace(asks[-1], rows=replace(asks[-1].rows, last=1), wanted=LOGITS)
        if model == "draft" and self._draft_lost:
            return Running(model, batch, asks, self._draft_lost)
        reply = attempt(partial(self.caches[model].make_ready, asks), "forward")
        return Running(model, batch, asks, None if "value" in reply else reply)

    def _let_begin(self) -> None:
        """Begin what there is room for, and hand on answers about the load, as long as there are any."""
        while True:
            for number in self.scheduler.admit():
                self._begin(number, *self._asked.pop(number))
            answers = self.scheduler.answers()
            if not answers:
                return
            for number, load in answers:
                question = self._writing[number].question
                assert question is not None
                question.value = load
            for number, _ in answers:
                if number in self._writing:  # another one's listener may have cancelled it
                    self._resume(number)
            self.changed.notify_all()  # another device may have something to do

    def _ask(self, number: int, question: LoadQuestion) -> Answer:
        """Note a running request's question about the load."""
        self._writing[number].question = answer = Answer()
        self.scheduler.ask(number, question)
        return answer

    @torch.inference_mode()
    def execute(self, running: Running) -> None:
        """Run a forward, and let all whose it was go on."""
        if running.problem is None:
            read = self.caches[running.model].reader.read
            reply = do(self._hosts[running.model], partial(read, running.asks), "forward")
        else:
            now = time.perf_counter()
            reply = running.problem | {"start": now, "end": now}
        with self.changed:
            self._note(running, reply)
            if "value" in reply:
                self._hand_out(running, reply)
            else:
                self._fail(running, reply)
            # After all jobs have gone on, and so in the order in which the simulator has it.
            for forward in running.forwards:
                if forward.work.over and forward.request in self._writing:
                    self._resume(forward.request)
            self.scheduler.finish()
            self.changed.notify_all()

    def _note(self, running: Running, reply: Reply) -> None:
        forwards = running.forwards
        unread = frozenset([forward.request for forward in forwards if forward.rest])
        requests = [forward.request for forward in forwards]
        start, end = reply["start"] - self.epoch, reply["end"] - self.epoch
        self.batches.note(
            running.model, start, end, requests, row_count([ask.rows for ask in running.asks]), unread
        )

    def _hand_out(self, running: Running, reply: Reply) -> None:
        """Tell each job what was found, once all rows that it waits for were read."""
        for forward, found in zip(running.forwards, reply["value"], strict=True):
            job = forward.work
            if job.over:
                continue
            if forward.request not in self._writing:  # it was cancelled meanwhile
                job.work.close()
                continue
            job.start = job.start or reply["start"]
            if forward.rest:
                if job.part(forward).rows.last:
                    job.parts.append(found)
                continue
            if job.parts:
                found, job.parts = joined([*job.parts, found]), []
            self.go_on(job, found)

    def _fail(self, running: Running, reply: Reply) -> None:
        """Tell all jobs of a forward that it failed."""
        if running.model == "draft" and "error" not in reply:
            self._draft_lost = reply
        for forward in running.forwards:
            job = forward.work
            job.work.close()
            if not job.over:
                job.start = job.start or reply["start"]
                job.ticket.answer(reply | {"start": job.start}, reply["end"], running.model)

    def go_on(self, job: BatchJob, found: Found | None) -> None:
        """Give a job what it waited for; it asks for its next forward, or has ended."""
        with self._hosts[job.model].computing():
            reply = attempt(partial(advance, job.work, found), job.name)
        came = reply.get("value")
        if isinstance(came, Ask):
            job.ask, rows = came, came.rows
            prompt = self.chunks and rows.start == 0  # nothing of the text is in the cache
            self.scheduler.submit(Forward(job.request, job.model, len(rows), rows.end, job, prompt))
            return
        if isinstance(came, Ended):
            reply["value"] = came.value
        end = time.perf_counter()
        job.ticket.answer(reply | {"start": job.start or end, "end": end}, end, job.model)

    def _begin(self, number: int, request: Request, arrived: float) -> None:
        """Start a request's policy, over texts of its own in the caches."""
        models: dict[str, Hosted] = {
            name: Hosted(
                CachedModel(hosted.model.decoder, self.caches[name], request.slots),
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
            began=arrived,
            ask=partial(self._ask, number),
        )
        policy, warning = request.settings.policy, None
        if self._draft_lost and "draft" in uses(policy):
            policy, warning = "autoregressive", session.alone(DraftLost("the draft failed before"))
        steps = load_policy(policy)(session, request.settings)
        texts = [hosted.model for hosted in models.values()]
        began = time.perf_counter()
        self._writing[number] = _Writing(request, session, steps, texts, arrived, began, warning=warning)
        self._resume(number)

    def _resume(self, number: int) -> None:
        """Let a policy go on as far as it can, and note the run when it has ended."""
        writing = self._writing[number]
        session, request = writing.session, writing.request
        try:
            while all([_is_answered(handle) for handle in writing.waits]):
                for handle in writing.waits:
                    session.wait(cast(Pending[object] | Answer, handle))
                writing.waits = next(writing.steps)
        except StopIteration:
            self._end(number, writing)
        except DraftLost as error:
            writing.warning = session.alone(error)
            writing.steps, writing.waits = load_policy("autoregressive")(session, request.settings), ()
            self._resume(number)
        except SpecBranchError as error:
            self.failures[number] = error
            self._leave(number)
            self.on_end(number)

    def _end(self, number: int, writing: _Writing) -> None:
        """Note what was written."""
        session, prompt = writing.session, len(writing.request.prompt)
        run = session.run(prompt, self.draft is not None, writing.warning)
        self.runs[number] = run
        arrived = writing.arrived - self.epoch
        self.served[number] = ServedRequest(
            arrived,
            writing.began - self.epoch,
            arrived + run.first_token_seconds,
            arrived + run.seconds,
            prompt,
            len(run.tokens),
        )
        self._leave(number)
        self.on_end(number)

    def _leave(self, number: int) -> None:
        """Give a request's slots back, whether it has begun or not."""
        if writing := self._writing.pop(number, None):
            for text in writing.texts:
                text.leave()
        self.scheduler.leave(number)


def _is_answered(handle: object) -> bool:
    if isinstance(handle, Answer):
        return handle.value is not None
    ticket = cast(Pending[object], handle).ticket
    return ticket.reply is not None or ticket.error is not None
