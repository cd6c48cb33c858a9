"""Several requests at once, over SimPy: devices that ask the engine's scheduler which forwards are one.

A request follows its script, as in `sim.world.simulation`; but a forward begins when the scheduler lets it, with those
of other requests, and takes as long as all of them together.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import simpy

from engine.record import Run
from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline, Forward, Model, Scheduler
from sim.scripts.work import MODELS, TARGET, Script
from sim.world.devices import Handle
from sim.world.simulation import Played, record


class ForwardCost(Protocol):
    """Seconds of a forward of `rows` rows of `sequences` texts, which have `cache_tokens` tokens in all."""

    def __call__(self, rows: int, sequences: int, cache_tokens: int) -> float: ...


@dataclass(frozen=True)
class LinearForwardCost:
    """`seconds` and so many more for each row, sequence and cache token.

    Served engines keep to it (SpecDecode-Bench: 5.886 ms, 21 us a row and 39 ns a cache token for Llama-3.1-8B on one
    H100).
    """

    seconds: float
    row: float = 0.0
    sequence: float = 0.0
    cache_token: float = 0.0

    def __call__(self, rows: int, sequences: int, cache_tokens: int) -> float:
        return self.seconds + self.row * rows + self.sequence * sequences + self.cache_token * cache_tokens


@dataclass(frozen=True)
class Arrival:
    """A request that arrives `at` seconds, needs so many `slots` of the caches, and does what its script says."""

    script: Script
    at: float = 0.0
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """A forward of a model as it ran, in seconds: of which requests, in their order, and of how many rows."""

    model: Model
    start: float
    end: float
    requests: tuple[int, ...]
    rows: int


@dataclass
class Served:
    """Of each request its run, whose seconds are counted from its arrival, and when it began; and all forwards."""

    runs: list[Run]
    began: list[float]
    batches: list[Batch] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Job:
    """A job of a request: its place among the script's, and its forwards that are still to come, by rows and tokens."""

    number: int
    model: Model
    forwards: Iterator[tuple[int, int]]
    start: float | None = None


@dataclass(slots=True, eq=False)
class _Request:
    """Where a request is in its script: the jobs that it waits for, and those behind them."""

    arrival: Arrival
    played: Played
    waits: Iterator[int]
    jobs: Iterator[_Job]
    to_first: int
    pending: int = 0
    began: float = 0.0


def serve(
    arrivals: Sequence[Arrival],
    costs: Mapping[Model, ForwardCost],
    budget: Budget = DEFAULT_BUDGET,
    discipline: Discipline = "ready",
    shared: bool = False,
) -> Served:
    """Serve requests, which are numbered in the order given, on a device for each model or, `shared`, one for both.

    Models do not slow each other here, and there is nothing between two forwards. ConfigurationError if a request
    needs more slots than there are.
    """
    service = _Service(arrivals, costs, Scheduler(budget, discipline))
    devices: list[tuple[Model, ...]] = [MODELS] if shared else [(model,) for model in MODELS]
    service.run(devices)
    return Served(
        [record(request.played, shared) for request in service.requests],
        [request.began for request in service.requests],
        service.batches,
    )


class _Service:
    """The requests, and the scheduler that the devices ask."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        costs: Mapping[Model, ForwardCost],
        scheduler: Scheduler[_Job],
    ) -> None:
        self.env, self.costs, self.scheduler = simpy.Environment(), costs, scheduler
        self.requests = [_request(arrival) for arrival in arrivals]
        self.batches: list[Batch] = []
        self._idle: list[simpy.Event] = []

    def run(self, devices: Sequence[Collection[Model]]) -> None:
        for number, request in enumerate(self.requests):
            self.env.process(self._arrive(number, request.arrival))
        for models in devices:
            self.env.process(self._device(models))
        self.env.run()

    def _arrive(self, number: int, arrival: Arrival) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(arrival.at)
        self.scheduler.arrive(number, arrival.slots)
        self._admit()

    def _device(self, models: Collection[Model]) -> Generator[simpy.Event, Any, None]:
        """Run whatever the scheduler lets it, for ever."""
        env, scheduler = self.env, self.scheduler
        while True:
            batch = scheduler.next_batch(models)
            if not batch:
                self._idle.append(env.event())
                yield self._idle[-1]
                continue
            model, start = batch[0].model, env.now
            rows = sum([forward.rows for forward in batch])
            tokens = sum([forward.cache_tokens for forward in batch])
            yield env.timeout(self.costs[model](rows, len(batch), tokens))
            self.batches.append(
                Batch(model, start, env.now, tuple([forward.request for forward in batch]), rows)
            )
            # As in the engine, jobs go on before the requests whose jobs have ended.
            for number in [forward.request for forward in batch if self._end_forward(forward, start)]:
                self._go_on(number)
            scheduler.finish()
            self._admit()

    def _admit(self) -> None:
        for number in self.scheduler.admit():
            self.requests[number].began = self.env.now
            self._go_on(number)
        idle, self._idle = self._idle, []
        for device in idle:
            device.succeed()

    def _end_forward(self, forward: Forward[_Job], start: float) -> bool:
        """Ask for the job's next forward; behind its last, whether its request waits for nothing else."""
        request, job = self.requests[forward.request], forward.work
        if job.start is None:
            job.start = start
        following = next(job.forwards, None)
        if following is not None:
            self.scheduler.submit(Forward(forward.request, job.model, *following, job))
            return False
        handle = request.played.jobs[job.number]
        handle.start, handle.end = job.start - request.arrival.at, self.env.now - request.arrival.at
        request.pending -= 1
        return not request.pending

    def _go_on(self, number: int) -> None:
        """Ask for the first forwards of all jobs that the request waits for next, or let it end."""
        request, played = self.requests[number], self.requests[number].played
        played.seconds = self.env.now - request.arrival.at
        if not request.to_first:
            played.first_token_seconds = played.seconds
        request.to_first -= 1
        request.pending = next(request.waits, 0)
        if not request.pending:
            self.scheduler.leave(number)
        for _ in range(request.pending):
            job = next(request.jobs)
            self.scheduler.submit(Forward(number, job.model, *next(job.forwards), job))


def _request(arrival: Arrival) -> _Request:
    script = arrival.script
    count = len(script.jobs.models)
    played = Played(script, jobs=[Handle(0.0, 0.0, 0.0) for _ in range(count)])
    return _Request(arrival, played, iter(script.waits), _jobs(script), script.first)


def _jobs(script: Script) -> Iterator[_Job]:
    """A script's jobs, with the rows of each of their forwards and the tokens of the text then."""
    work, steps = script.work, iter(zip(*[iter(script.steps)] * 4, strict=True))
    following = next(steps, None)
    columns = (work.model.tolist(), work.tokens.tolist(), work.context.tolist())
    for number, (model, tokens, context) in enumerate(zip(*columns, strict=True)):
        forwards = [(tokens, context + tokens)]
        while model != TARGET and following is not None and following[0] == number:
            _, rows, before, times = following
            forwards += [(rows, before + i + rows) for i in range(times)]
            following = next(steps, None)
        yield _Job(number, MODELS[model], iter(forwards))
