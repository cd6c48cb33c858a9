"""What came of a simulated service, and of each request its run, as one that is written alone has one."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.record import Run
from engine.service_record import MODELS, Service
from sim.scripts.work import Script, served_jobs
from sim.world.devices import Handle
from sim.world.requests import Arrival
from sim.world.simulation import Played, record


@dataclass(frozen=True)
class Served(Service):
    """A service, and what it was of: the `arrivals`, and how many `rounds` they took in all."""

    arrivals: Sequence[Arrival] = ()
    rounds: int = 0

    @property
    def began(self) -> list[float]:
        """When each request began to run."""
        return [request.began for request in self.requests]

    @cached_property
    def runs(self) -> list[Run]:
        """Of each request its run, whose seconds are counted from its arrival.

        RuntimeError if what it takes was not kept.
        """
        return _runs_of(self)


@dataclass(slots=True)
class _Left:
    """A job that is under way: its place among the script's, its forwards that are left, and when it began."""

    number: int
    forwards: int
    start: float | None = None


def _runs_of(served: Served) -> list[Run]:
    """By the batches alone: a request's jobs of one model take turns, a forward each."""
    played, queues, waits, jobs = [], [], [], []
    for arrival in served.arrivals:
        script = arrival.script
        if not isinstance(script, Script):
            raise RuntimeError("a service has runs where its scripts are kept")
        played.append(Played(script, jobs=[Handle(0.0, 0.0, 0.0) for _ in script.jobs.models]))
        queues.append({model: deque[_Left]() for model in MODELS})
        waits.append(iter(script.waits))
        each = enumerate(served_jobs(script))
        jobs.append(
            iter([(model, _Left(i, 1 + sum([times for *_, times in its]))) for i, (model, *_, its) in each])
        )
    pending = [0] * len(played)

    def go_on(number: int) -> None:
        pending[number] = next(waits[number], 0)
        for _ in range(pending[number]):
            model, job = next(jobs[number])
            queues[number][model].append(job)

    for number in range(len(played)):
        go_on(number)
    for batch in served.batches:
        for number in batch.requests:
            queue, arrived = queues[number][batch.model], served.requests[number].arrived
            job = queue.popleft()
            if job.start is None:
                job.start = batch.start - arrived
            job.forwards -= number not in batch.unread
            if job.forwards:
                (queue.appendleft if number in batch.unread else queue.append)(job)
                continue
            handle = played[number].jobs[job.number]
            handle.start, handle.end = job.start, batch.end - arrived
            pending[number] -= 1
            if not pending[number]:
                go_on(number)
    shared = served.devices == (MODELS,)
    for its, request in zip(played, served.requests, strict=True):
        its.seconds = request.ended - request.arrived
        its.first_token_seconds = request.first_token - request.arrived
    return [record(its, shared) for its in played]
