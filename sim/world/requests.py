"""A request of a simulated service: what it asks for, and how far it is in what it does; it knows no clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import simpy

from engine.runtime.scheduler import Forward
from engine.service_record import ServedRequest
from sim.scripts.live import LivePolicy, Play
from sim.scripts.work import Forwards, Script, ServedJob

Writes = Callable[[], Script | Play]
"""Makes what a request does when it begins to run, so that what all requests of a long workload do is never there."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that arrives `at` seconds, needs so many `slots` of the caches, and does what its script says.

    In a closed loop `at` is counted from when its user is free. `play`: of a policy that asks about the load, by which
    it runs instead. The arrivals of `sim.world.served_runs.Served` have the script that came of it, and what a `script`
    that is written late came to.
    """

    script: Script | Writes
    at: float = 0.0
    slots: int = 1
    prompt_tokens: int = 1
    play: Play | None = None

    def does(self) -> Script | Play:
        """What it runs by, which is made now if it is written late."""
        does = self.play or self.script
        return does if isinstance(does, Script | Play) else does()


NO_WAITS: Iterator[int] = iter(())
NO_JOBS: Iterator[ServedJob] = iter(())


@dataclass(slots=True, eq=False)
class RequestProgress:
    """Where a request is: by its script, what it is still to wait for, or by `live`, its policy as it runs.

    `to_first`: waits up to its first token. `pending`: jobs and answers of its last wait that are still to come.
    Seconds are those of the service. `done`: hears that it has ended. `free`: forwards of jobs that have ended, whose
    objects serve the next ones.
    """

    number: int
    arrival: Arrival
    waits: Iterator[int] = NO_WAITS
    to_first: int = 0
    jobs: Iterator[ServedJob] = NO_JOBS
    tokens: int = 0
    pending: int = 0
    arrived: float = 0.0
    began: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    done: simpy.Event | None = None
    live: LivePolicy | None = None
    free: "list[Forward[JobProgress]]" = field(default_factory=list)

    def follow(self, script: Script, jobs: list[ServedJob]) -> None:
        """Begin with a script, whose jobs these are."""
        self.waits, self.to_first, self.jobs = iter(script.waits), script.first, iter(jobs)
        self.tokens = len(script.path)

    def first_forward(self, job: ServedJob, chunks: bool) -> "Forward[JobProgress]":
        """A job's first forward; `chunks`: prompts are read in chunks."""
        model, rows, tokens, steps = job
        if self.free:
            forward = self.free.pop()
            forward.model, forward.rows, forward.cache_tokens = model, rows, tokens
        else:
            forward = Forward(self.number, model, rows, tokens, JobProgress(self))
        forward.work.left, forward.work.steps = 0, steps
        forward.prompt = chunks and rows == tokens  # nothing of the text is in the cache
        return forward

    def forget_work(self) -> None:
        """Of a request that has ended, keep what `served` says alone: those of a long service would fill the memory."""
        self.live, self.waits, self.jobs, self.free = None, NO_WAITS, NO_JOBS, []

    def served(self) -> ServedRequest:
        """What is written down of a request that has ended."""
        return ServedRequest(
            self.arrived, self.began, self.first_token, self.ended, self.arrival.prompt_tokens, self.tokens
        )


@dataclass(slots=True, eq=False)
class JobProgress:
    """Whose job a forward is of, how many more like it are to come, each behind a token more, and the steps after."""

    request: RequestProgress
    left: int = 0
    steps: Forwards = ()

    def go_on(self, forward: "Forward[JobProgress]") -> bool:
        """Make a forward the job's next one, if there is one."""
        forward.prompt = False
        if self.left:
            self.left -= 1
            forward.cache_tokens += 1
            return True
        if not self.steps:
            return False
        (forward.rows, forward.cache_tokens, times), *others = self.steps
        self.left, self.steps = times - 1, tuple(others)
        return True
