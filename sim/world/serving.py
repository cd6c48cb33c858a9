"""Several requests at once, over SimPy: devices that ask the engine's scheduler which forwards are one.

A request follows its script, as in `sim.world.simulation`; but a forward begins when the scheduler lets it, with those
of other requests, and takes as long as all of them together. A policy that asks about the load has no script before it
is served: it runs as the answers come. Requests arrive by themselves (an open loop) or from users who wait for their
answers (a closed one).
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import simpy

from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline, Scheduler
from engine.service_record import MODELS, NONE_UNREAD, Batches, Model
from sim.costs.contention import FREE, Contention
from sim.costs.forward_cost import ForwardCost
from sim.scripts.live import LivePolicy, Play
from sim.scripts.work import DRAFT, Script, ServedJob, served_jobs
from sim.world.contending import ContendingDevices
from sim.world.requests import Arrival, JobProgress, RequestProgress
from sim.world.served_runs import Served


def serve(
    arrivals: Sequence[Arrival],
    costs: Mapping[Model, ForwardCost],
    budget: Budget = DEFAULT_BUDGET,
    discipline: Discipline = "ready",
    shared: bool = False,
    *,
    users: int | None = None,
    chunks: bool = False,
    hand_over: float = 0.0,
    contention: Contention = FREE,
    drafts: bool | None = None,
    kept: bool = True,
) -> Served:
    """Serve requests, which are numbered in the order given, on a device for each model or, `shared`, one for both.

    With `users` in a closed loop: each sends the next request of the list when its last one has ended. With `chunks`,
    prompts are read in chunks beside what else there is. A device hands the results of a forward over in `hand_over`
    seconds before it looks for the next one, as the engine's threads do. While both devices compute, each is slowed as
    the `contention` of a forward and a step of as many rows says. `drafts`: whether a draft model has a device; None:
    as scripts say, or if some are written late. Without `kept`, what was written late is not, nor which requests each
    forward was of: a service has its figures then, and no `Served.runs`. ConfigurationError if a request needs more
    slots than there are.
    """
    if drafts is None:
        drafts = any(
            not isinstance(arrival.script, Script) or DRAFT in arrival.script.jobs.models
            for arrival in arrivals
        )
    service = _Service(arrivals, costs, Scheduler(budget, discipline), chunks, hand_over, kept)
    apart: tuple[tuple[Model, ...], ...] = tuple((model,) for model in MODELS)
    devices = (MODELS,) if shared else apart
    if not shared and not drafts:
        devices = apart[:1]
    if len(devices) > 1 and not contention.none:
        service.contending = ContendingDevices(service.env, contention)
    service.run(devices, users)
    return Served(
        [request.served() for request in service.requests],
        service.batches,
        devices,
        [request.arrival for request in service.requests],
        service.rounds,
    )


class _Service:
    """The requests, and the scheduler that the devices ask."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        costs: Mapping[Model, ForwardCost],
        scheduler: Scheduler[JobProgress],
        chunks: bool,
        hand_over: float,
        kept: bool,
    ) -> None:
        self.env, self.costs, self.scheduler = simpy.Environment(), costs, scheduler
        self.chunks, self.hand_over, self.kept = chunks, hand_over, kept
        self.requests = [RequestProgress(number, arrival) for number, arrival in enumerate(arrivals)]
        self._jobs: dict[int, list[ServedJob]] = {}  # of scripts that several requests follow
        self._times = Counter([id(arrival.script) for arrival in arrivals])
        self.batches = Batches(named=kept)
        self.rounds = 0
        self._idle: list[simpy.Event] = []
        self._answered = False
        self.contending: ContendingDevices | None = None

    def run(self, devices: Sequence[Collection[Model]], users: int | None) -> None:
        if users is None:
            for request in self.requests:
                # Each from the beginning, not from the one before, so that its time is just what was asked for.
                self._at(request.arrival.at, partial(self._arrive, request))
        else:
            left = iter(self.requests)
            for _ in range(users):
                self.env.process(self._user(left))
        for models in devices:
            self.env.process(self._device(models))
        self.env.run()

    def _user(self, left: Iterator[RequestProgress]) -> Generator[simpy.Event, Any, None]:
        """One who sends what is next when the answer is there."""
        for request in left:
            if request.arrival.at:
                yield self.env.timeout(request.arrival.at)
            request.done = self.env.event()
            self._arrive(request)
            yield request.done

    def _at(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function so many seconds from now."""
        timeout = self.env.timeout(seconds)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: function())

    def _arrive(self, request: RequestProgress) -> None:
        request.arrived = self.env.now
        self.scheduler.arrive(request.number, request.arrival.slots)
        self._admit()

    def _device(self, models: Collection[Model]) -> Generator[simpy.Event, Any, None]:
        """Run whatever the scheduler lets it, for ever."""
        env, scheduler, costs, note = self.env, self.scheduler, self.costs, self.batches.note
        contending = self.contending
        submit = scheduler.submit
        while True:
            self._answer()
            batch = scheduler.next_batch(models)
            if not batch:
                self._idle.append(env.event())
                yield self._idle[-1]
                continue
            model, start = batch[0].model, env.now
            rows = sum([forward.rows for forward in batch])
            tokens = sum([forward.cache_tokens for forward in batch])
            attended = sum([forward.rows * (forward.cache_tokens - forward.rows) for forward in batch])
            unscored = sum([forward.rows - (not forward.rest) for forward in batch if forward.prompt])
            seconds = costs[model](rows, len(batch), tokens, attended, unscored)
            yield contending.compute(model, seconds, rows) if contending else env.timeout(seconds)
            requests = [forward.request for forward in batch]
            # As in the engine, jobs go on before the requests whose jobs have ended.
            ended, unread = [], NONE_UNREAD
            for forward in batch:
                work = forward.work
                if forward.rest:
                    unread |= {forward.request}
                elif work.go_on(forward):
                    submit(forward)
                else:
                    work.request.free.append(forward)
                    ended.append(work.request)
            note(model, start, env.now, requests, rows, unread)
            if ended and self.hand_over:
                yield env.timeout(self.hand_over)
            self._end_jobs(ended)
            if self._answered:  # who got an answer may ask for more before a device begins its next forward
                self._answered = False
                yield env.timeout(0.0)

    def _end_jobs(self, ended: Sequence[RequestProgress]) -> None:
        """Let jobs' results be known, with which their batch has ended, too."""
        for request in ended:
            request.pending -= 1
            if not request.pending:
                self._go_on(request)
        self.scheduler.finish()
        self._admit()

    def _admit(self) -> None:
        """Let requests begin that there is room for, and devices ask again that had nothing to do."""
        for number in self.scheduler.admit():
            request = self.requests[number]
            request.began = self.env.now
            does = request.arrival.does()
            if isinstance(does, Play):
                request.live = LivePolicy(does)
            else:
                self._follow(request, does)
            self._go_on(request)
        self._wake()

    def _answer(self) -> None:
        """Let policies that asked about the load go on, as the engine does before a device's next forward."""
        while answers := self.scheduler.answers():
            for number, load in answers:
                live = self.requests[number].live
                assert live is not None
                live.answer(load)
            for number, _ in answers:
                request = self.requests[number]
                request.pending -= 1
                if not request.pending:
                    self._go_on(request)
            self._admit()

    def _follow(self, request: RequestProgress, script: Script) -> None:
        """Its jobs are worked out when they are needed, since those of a long workload together take much memory."""
        key = id(request.arrival.script)
        if self._times[key] == 1:
            jobs = served_jobs(script)
        else:
            jobs = self._jobs.get(key) or self._jobs.setdefault(key, served_jobs(script))
        request.follow(script, jobs)
        self.rounds += len(script.rounds)
        if self.kept and request.arrival.script is not script:
            request.arrival = replace(request.arrival, script=script)

    def _wake(self) -> None:
        if self._idle:
            idle, self._idle = self._idle, []
            for device in idle:
                device.succeed()

    def _go_on(self, request: RequestProgress) -> None:
        """Ask for the first forwards of all jobs that the request waits for next, or let it end."""
        if request.live is not None:
            self._let_go_on(request, request.live)
            return
        if not request.to_first:
            request.first_token = self.env.now
        request.to_first -= 1
        count = request.pending = next(request.waits, 0)
        if not count:
            self._end(request)
        for _ in range(count):
            self.scheduler.submit(request.first_forward(next(request.jobs), self.chunks))

    def _let_go_on(self, request: RequestProgress, live: LivePolicy) -> None:
        """The same for a policy that runs as it is served, which may wait for an answer, too."""
        before = live.rounds
        jobs = live.go_on()
        if not before and live.rounds:
            request.first_token = self.env.now
        if jobs is None:
            request.tokens = live.tokens
            self.rounds += live.rounds
            if self.kept:
                request.arrival = replace(request.arrival, script=live.script())
            self._end(request)
            return
        request.pending = len(jobs)
        if live.question is not None:
            request.pending += 1
            self.scheduler.ask(request.number, live.question)
        for job in jobs:
            self.scheduler.submit(request.first_forward(job, self.chunks))

    def _end(self, request: RequestProgress) -> None:
        request.ended = self.env.now
        request.forget_work()
        self.scheduler.leave(request.number)
        if request.done is not None:
            request.done.succeed()
            self._answered = True
