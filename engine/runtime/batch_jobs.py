"""A job of a request that is served, and the forwards that it asks for, which join those of other requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.models.reader import Ask, Forwards, Found
from engine.runtime import worker_process
from engine.runtime.channel import Ticket
from engine.runtime.scheduler import Forward
from engine.service_record import Model

JOBS: dict[str, tuple[Model, Callable[..., Forwards[Any]]]] = {
    "verify": ("target", worker_process.verify_by_forwards),
    "draft": ("draft", worker_process.draft_by_forwards),
}


@dataclass(eq=False, slots=True)
class BatchJob:
    """A job: the forwards that it asks for, since when, and the one that it waits for.

    `parts`: what was found of that forward's rows, as far as they were read in chunks.
    """

    request: int
    name: str
    model: Model
    work: Forwards[Any]
    ticket: Ticket
    start: float | None = None
    ask: Ask | None = None
    parts: list[Found] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether it is known what it came to."""
        return self.ticket.reply is not None or self.ticket.error is not None

    def part(self, forward: "Forward[BatchJob]") -> Ask:
        """What a forward reads of the rows that are waited for: all of them, or a chunk."""
        assert self.ask is not None
        count = len(self.ask.rows)
        end = count - forward.rest
        return self.ask if end == forward.rows == count else self.ask.part(end - forward.rows, end)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a job came to."""

    value: Any


def advance(work: Forwards[Any], found: Found | None) -> Ask | Ended:
    """What a job asks for next, or what it came to."""
    try:
        return next(work) if found is None else work.send(found)
    except StopIteration as end:
        return Ended(end.value)
