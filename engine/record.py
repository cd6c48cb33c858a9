"""What a run writes down, real or simulated: the one schema that metrics, traces and reports read. Torch-free."""

from dataclasses import dataclass
from typing import Literal

from engine.policies.words import Round

Ending = Literal["end-of-text", "token-limit"]


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
