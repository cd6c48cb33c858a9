"""What a run writes down, real or simulated: the one schema that metrics, traces and reports read. Torch-free."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from engine.policies.tree import Round

Ending = Literal["end-of-text", "stop-text", "token-limit"]


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work of one model; `start` and `end` in seconds since the run began.

    `forwards` of the model read `tokens` in all; `round` counts from 0.
    """

    model: Literal["target", "draft"]
    round: int
    start: float
    end: float
    forwards: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """One generation: text, rounds, jobs, and its seconds, all and until the first token was written.

    `shared`: both models took turns on one device. `warning`: what went wrong without ending the text.
    """

    world: Literal["engine", "simulator"]
    tokens: tuple[int, ...]
    rounds: tuple[Round, ...]
    jobs: tuple[Job, ...]
    seconds: float
    first_token_seconds: float
    shared: bool
    ending: Ending
    warning: str | None = None

    def busy(self, model: Literal["target", "draft"]) -> float:
        """Seconds a model computed."""
        return sum(job.end - job.start for job in self.jobs if job.model == model)

    def computing(self) -> float:
        """Seconds in which at least one model computed."""
        total = until = 0.0
        for job in sorted(self.jobs, key=lambda job: job.start):
            total += max(0.0, job.end - max(job.start, until))
            until = max(until, job.end)
        return total

    def hand_overs(self) -> Iterator[tuple[list[Job], float]]:
        """The jobs that were waited for together, and the seconds from their end to the next job, or the run's end."""
        waits = list(waited_together(self.jobs))
        following = [min(job.start for job in wait) for wait in waits[1:]] + [self.seconds]
        for wait, after in zip(waits, following, strict=True):
            yield wait, max(0.0, after - max(job.end for job in wait))


def waited_together(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs in the order that they were asked for, by what a policy waited for at once.

    A verdict ends its round, so what follows it in the same round was asked for beside it; a draft before it was
    waited for alone, unless their times overlap.
    """
    wait: list[Job] = list(jobs[:1])
    for before, job in pairwise(jobs):
        if job.round != before.round or (before.model != "target" and job.start >= before.end):
            yield wait
            wait = []
        wait.append(job)
    if wait:
        yield wait
