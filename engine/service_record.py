"""What serving requests writes down, real or simulated: the one schema that its metrics read. Torch-free.

Both worlds call the two models by the names that stand here.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

Model = Literal["target", "draft"]
MODELS: tuple[Model, Model] = ("target", "draft")
NONE_UNREAD: frozenset[int] = frozenset()


class Batch(NamedTuple):
    """A forward of a model as it ran, in seconds: of which requests, in their order, and of how many rows.

    `unread`: those of the requests whose prompts were not read to their ends, where prompts are read in chunks.
    """

    model: Model
    start: float
    end: float
    requests: tuple[int, ...]
    rows: int
    unread: frozenset[int] = NONE_UNREAD


@dataclass(eq=False)
class Batches(Sequence[Batch]):
    """Forwards as they are noted, by columns, since a long service has millions: 29 bytes each, and 4 for each request.

    `model`: of each its place among MODELS; `last`: how many requests those up to it had in all, one after another
    their numbers; `unread` of those that have any, by their number. Without `named`, the numbers are left out.
    """

    named: bool = True
    model: "array[int]" = field(default_factory=lambda: array("B"))
    start: "array[float]" = field(default_factory=lambda: array("d"))
    end: "array[float]" = field(default_factory=lambda: array("d"))
    rows: "array[int]" = field(default_factory=lambda: array("i"))
    last: "array[int]" = field(default_factory=lambda: array("q"))
    requests: "array[int]" = field(default_factory=lambda: array("i"))
    unread: dict[int, frozenset[int]] = field(default_factory=dict)
    _count: int = 0

    def note(
        self,
        model: Model,
        start: float,
        end: float,
        requests: Sequence[int],
        rows: int,
        unread: frozenset[int] = NONE_UNREAD,
    ) -> None:
        """One more, as `Batch` has it."""
        if self.named:
            self.requests.extend(requests)
            if unread:
                self.unread[len(self.model)] = unread
        self.model.append(MODELS.index(model))
        self.start.append(start)
        self.end.append(end)
        self.rows.append(rows)
        self._count += len(requests)
        self.last.append(self._count)

    @classmethod
    def of(cls, batches: Iterable[Batch]) -> "Batches":
        """These, in their order."""
        found = cls()
        for batch in batches:
            found.note(*batch)
        return found

    def __len__(self) -> int:
        return len(self.model)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> list[Batch]: ...

    def __getitem__(self, place: int | slice) -> Batch | list[Batch]:
        if isinstance(place, slice):
            return [self._batch(number) for number in range(*place.indices(len(self)))]
        return self._batch(range(len(self))[place])

    def __iter__(self) -> Iterator[Batch]:
        return map(self._batch, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def _batch(self, number: int) -> Batch:
        """RuntimeError if the requests were left out."""
        if not self.named:
            raise RuntimeError("which requests a forward was of was not kept")
        first = self.last[number - 1] if number else 0
        return Batch(
            MODELS[self.model[number]],
            self.start[number],
            self.end[number],
            tuple(self.requests[first : self.last[number]]),
            self.rows[number],
            self.unread.get(number, NONE_UNREAD),
        )


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
    batches: Batches
    devices: tuple[tuple[Model, ...], ...]
