"""What serving requests writes down, real or simulated: the one schema that its metrics read. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Batch(NamedTuple):
    """A forward of a model as it ran, in seconds: of which requests, in their order, and of how many rows.

    `unread`: those of the requests whose prompts were not read to their ends, where prompts are read in chunks.
    """

    model: Literal["target", "draft"]
    start: float
    end: float
    requests: tuple[int, ...]
    rows: int
    unread: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request that was served: when it arrived, began to run, had its first token and ended, in seconds."""

    arrived: float
    began: float
    first_token: float
    ended: float
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True)
class Service:
    """Requests that were served together, and all forwards, by their ends; `devices`: which models each one ran."""

    requests: Sequence[ServedRequest]
    batches: Sequence[Batch]
    devices: tuple[tuple[Literal["target", "draft"], ...], ...]
