"""What a forward reads: rows of any texts, over the numbered slots of one model's cache. Torch-free.

A text is a list of its slots, and a *place* is an index into it. So rows say by places what they see, wherever in the
cache the text lies; a text that is alone owns all slots in their order, and each place is its own slot.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WHOLE_CACHE = range(sys.maxsize)  # the slots of a text that is alone


class Visibility(NamedTuple):
    """What each row of a text sees: its first `prefixes` [row] places and its `own` ones, the new one among them."""

    prefixes: Sequence[int]
    own: Sequence[Sequence[int]]

    def visible(self, places: int) -> NDArray[np.bool_]:
        """Whether a row sees a place [rows, places]."""
        visible = np.zeros((len(self.own), places), np.bool_)
        for row, (prefix, own) in enumerate(zip(self.prefixes, self.own, strict=True)):
            visible[row, :prefix] = True
            visible[row, list(own)] = True
        return visible

    def before(self, row: int, place: int) -> list[int]:
        """The places that a row sees beside its own `place`, in the order of their tokens."""
        return [*range(self.prefixes[row]), *(own for own in self.own[row] if own != place)]

    def leading_line(self, start: int) -> int:
        """How many of the first rows, written from place `start` on, just follow one another."""
        seen = enumerate(zip(self.prefixes, self.own, strict=True), start)
        return next(
            (place - start for place, (prefix, own) in seen if prefix != place or list(own) != [place]),
            len(self.own),
        )


# Not frozen, though nobody changes one: each forward makes one, and a frozen one takes more than twice as long.
@dataclass(slots=True)
class Rows:
    """Rows of one text: n token ids at their positions, written to places `start`, `start` + 1, ...

    `visibility`: what they see; None: each sees all places up to its own. Logits are wanted of the `last` ones.
    `slots`: those of the text's places, a range where they are contiguous.
    """

    tokens: Sequence[int]
    positions: Sequence[int]
    start: int
    visibility: Visibility | None
    last: int
    slots: Sequence[int] = WHOLE_CACHE

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def end(self) -> int:
        """The place behind the last row's."""
        return self.start + len(self.tokens)

    @property
    def written(self) -> Sequence[int]:
        """The slots [n] that the rows are written to."""
        return self.slots[self.start : self.end]

    @property
    def offset(self) -> int | None:
        """What a place's slot is beyond the place, where the text is contiguous."""
        slots = self.slots
        return slots.start if isinstance(slots, range) and slots.step == 1 else None

    @property
    def slots_end(self) -> int:
        """What lies behind the last slot of all places up to the last row's."""
        offset = self.offset
        return max(self.slots[: self.end]) + 1 if offset is None else offset + self.end

    def held(self) -> NDArray[np.int64]:
        """The slots of all places up to the last row's, int64 [end]."""
        if (offset := self.offset) is not None:
            return np.arange(offset, offset + self.end)
        return np.array(self.slots[: self.end], np.int64)

    def part(self, first: int, end: int) -> "Rows":
        """Rows `first` .. `end` - 1; those before them have to be read before."""
        count = len(self.tokens)
        visibility = self.visibility
        return Rows(
            self.tokens[first:end],
            self.positions[first:end],
            self.start + first,
            Visibility(visibility.prefixes[first:end], visibility.own[first:end]) if visibility else None,
            max(0, min(end - first, self.last - (count - end))),
            self.slots,
        )

    def visible(self) -> NDArray[np.bool_]:
        """Whether a row sees a place [n, end]."""
        if self.visibility is None:
            return np.tri(len(self.tokens), self.end, self.start, np.bool_)
        return self.visibility.visible(self.end)


def rows_behind(
    tokens: Sequence[int], start: int, last: int | None = None, slots: Sequence[int] = WHOLE_CACHE
) -> Rows:
    """Rows of which each follows the one before, behind `start` others; `last` None: all logits are wanted."""
    positions = range(start, start + len(tokens))
    return Rows(tokens, positions, start, None, len(tokens) if last is None else last, slots)


def arranged(batch: Sequence[Rows]) -> Sequence[Rows]:
    """The same rows, those of which logits are wanted behind all others; a text's rows stay in their order."""
    if len(batch) == 1:
        return batch
    ends = [len(rows) - rows.last for rows in batch]
    if not any(ends):
        return batch
    unwanted = [rows.part(0, end) for rows, end in zip(batch, ends, strict=True) if end]
    return [
        *unwanted,
        *(rows.part(end, len(rows)) for rows, end in zip(batch, ends, strict=True) if rows.last),
    ]


def between(batch: Sequence[Rows], first: int, end: int) -> list[Rows]:
    """Rows `first` .. `end` - 1 of all those of a batch."""
    found, begin = [], 0
    for rows in batch:
        mine = max(first - begin, 0), min(end - begin, len(rows))
        if mine[0] < mine[1]:
            found.append(rows if mine == (0, len(rows)) else rows.part(*mine))
        begin += len(rows)
    return found


def row_count(batch: Sequence[Rows]) -> int:
    """The rows of a batch."""
    return sum(map(len, batch))


def wanted_count(batch: Sequence[Rows]) -> int:
    """The rows of a batch of which logits are wanted."""
    return sum([rows.last for rows in batch])


def joined(batch: Sequence[Rows]) -> NDArray[np.int64]:
    """Tokens, positions and slots written of all rows, int64 [3, rows]."""
    if len(batch) == 1:
        (rows,) = batch
        return np.array((rows.tokens, rows.positions, rows.written), np.int64)
    columns = zip(*((rows.tokens, rows.positions, rows.written) for rows in batch), strict=True)
    return np.array([list(chain.from_iterable(column)) for column in columns], np.int64)


def spans(batch: Sequence[Rows]) -> Iterator[tuple[Rows, slice]]:
    """Each text's rows, and where they are among all."""
    begin = 0
    for rows in batch:
        yield rows, slice(begin, begin + len(rows))
        begin += len(rows)
