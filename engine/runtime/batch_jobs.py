"""A job of a request that is served, and the forwards that it asks for, which join those of other requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.models.cached_model import CachedModel, Forwards
from engine.models.rows import Rows
from engine.runtime import worker_process
from engine.runtime.channel import Ticket
from engine.runtime.scheduler import Forward, Model

JOBS: dict[str, tuple[Model, Callable[..., Forwards[Any]]]] = {
    "verify": ("target", worker_process.verify_by_forwards),
    "draft": ("draft", worker_process.draft_by_forwards),
}


@dataclass(eq=False, slots=True)
class BatchJob:
    """A job: the forwards that it asks for, since when, and the one that it waits for.

    `parts`: logits and features of that forward's rows, as far as they were read in chunks.
    """

    request: int
    name: str
    model: Model
    work: Forwards[Any]
    text: CachedModel
    ticket: Ticket
    start: float | None = None
    rows: Rows | None = None
    parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether it is known what it came to."""
        return self.ticket.reply is not None or self.ticket.error is not None

    def part(self, forward: "Forward[BatchJob]") -> Rows:
        """What a forward reads of the rows that are waited for: all of them, or a chunk."""
        assert self.rows is not None
        end = len(self.rows) - forward.rest
        return self.rows if end == forward.rows == len(self.rows) else self.rows.part(end - forward.rows, end)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a job came to."""

    value: Any


def advance(work: Forwards[Any], logits: Tensor | None) -> Rows | Ended:
    """What a job asks for next, or what it came to."""
    try:
        return next(work) if logits is None else work.send(logits)
    except StopIteration as end:
        return Ended(end.value)


def joined_parts(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Logits and features of rows that were read in chunks."""
    logits, features = (torch.cat(each) for each in zip(*parts, strict=True))
    return logits, features
