"""Forwards as CUDA graphs: one launch of what the host would launch one by one.

A GPU is done with a kernel for a few rows before the host has launched the next, and would wait most of the time. A
graph holds all of a forward's launches, for one number of rows and so many slots of the cache.

Longer lines, such as prompts, are filled up to one of a few numbers of rows. So every kernel that a text needs is there
when a model is loaded; attention over each further shape takes 40 ms to prepare and up to a second (docs/gpu.md).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from engine.kernels.cuda_graphs import Record
from engine.models.rows import Rows, between, joined, row_count, rows_behind, spans, wanted_count

FEW_ROWS = 16  # up to which every number of rows has a graph of its own, which gives all of their logits
MANY_ROWS = (32, 64, 128, 256)  # of the graphs for longer lines, which give the logits of the last LAST_ROWS
LAST_ROWS = 32
SPAN = 256  # slots: a graph sees a multiple of it, of which a mask hides what is not there yet
READY_SPANS = (SPAN, 2 * SPAN)  # whose graphs are there from the start; further ones when a text gets so long

Outputs = tuple[Tensor, Tensor]  # logits and features of all rows


class View(NamedTuple):
    """What the rows `rows` of a forward see: slots `seen`, int64 [m] or a slice.

    `mask` [n, m] is added to their scores (None: all are seen).
    """

    rows: slice
    mask: Tensor | None
    seen: slice | Tensor


class Reading(NamedTuple):
    """What a forward of n rows reads and where it writes, on the device.

    `tokens`, `positions` and `slots` int64 [n]; `views` of all rows in their order. Logits are wanted of the rows
    `wanted`, int64 [m] or a slice.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    views: Sequence[View]
    wanted: Tensor | slice


@dataclass(frozen=True)
class Graph:
    """A recorded forward: its inputs and outputs.

    `ids` int64 [3 n]: tokens, positions, slots; of many rows [3 n + LAST_ROWS]: the rows wanted, too. `mask` [n, span].
    """

    ids: Tensor
    mask: Tensor
    outputs: Outputs
    replay: Callable[[], None]


def pieces(count: int) -> Iterator[tuple[int, int, int]]:
    """How `count` rows are read one after the other: first row, last row + 1, rows of the graph."""
    for first in range(0, count, MANY_ROWS[-1]):
        end = min(first + MANY_ROWS[-1], count)
        rows = end - first
        yield first, end, rows if rows <= FEW_ROWS else next(most for most in MANY_ROWS if most >= rows)


def span_of(end: int, capacity: int) -> int:
    """How many slots a graph sees of a cache whose first `end` are filled."""
    return min(-(-end // SPAN) * SPAN, capacity)


@dataclass
class CapturedForwards:
    """The recorded forwards of a model, by rows, slots seen and whether it is watched.

    `compute` is the forward as it stands; `dtype` that of its masks.
    """

    compute: Callable[[Reading], Outputs]
    device: torch.device
    dtype: torch.dtype
    record: Record[Outputs]
    graphs: dict[tuple[int, int, bool], Graph] = field(default_factory=dict)

    @torch.inference_mode()
    def prepare(self, capacity: int) -> None:
        """Record what no text should wait for; the first slots of the cache are overwritten."""
        for span, rows in product(READY_SPANS, (*range(1, FEW_ROWS + 1), *MANY_ROWS)):
            if max(span, rows) <= capacity:
                self._read([rows_behind([0] * rows, 0, 1)], 1, rows, span, capacity, watch=False)

    @torch.inference_mode()
    def forward(self, batch: Sequence[Rows], *, capacity: int, watch: bool) -> Outputs:
        """Logits [last, head rows] and features of the last rows, those that are wanted, LAST_ROWS at most.

        The cache has `capacity` slots and one more, which is written to where rows fill a graph up.
        """
        count, last = row_count(batch), wanted_count(batch)
        outputs: list[Outputs] = []
        for first, end, rows in pieces(count):
            piece = between(batch, first, end)
            wanted = max(1, last - (count - end))  # of this piece; one that is not is dropped below
            span = span_of(max(part.slots_end for part in piece), capacity)
            outputs.append(self._read(piece, min(wanted, end - first), rows, span, capacity, watch=watch))
        logits, features = (torch.cat(parts)[-last:] for parts in zip(*outputs, strict=True))
        return logits, features

    def _read(
        self, batch: Sequence[Rows], last: int, rows: int, span: int, capacity: int, *, watch: bool
    ) -> Outputs:
        """One graph of `rows` rows that sees `span` slots; what it has more than there are tokens means nothing."""
        count = row_count(batch)
        shown = torch.zeros((rows, span), dtype=self.dtype)
        shown[:count] = float("-inf")
        for part, mine in spans(batch):
            offset = part.offset
            if part.visibility is None and offset is not None:
                shown[mine, : offset + part.end].triu_(offset + part.start + 1)
                if offset:
                    shown[mine, :offset] = float("-inf")
            else:
                seen = torch.from_numpy(part.visible())
                hidden = torch.zeros(seen.shape, dtype=self.dtype).masked_fill_(~seen, float("-inf"))
                shown[mine, torch.from_numpy(part.held())] = hidden
        ids = torch.zeros((3, rows), dtype=torch.int64)
        ids[2] = capacity
        ids[:, :count] = torch.from_numpy(joined(batch))
        ids = ids.view(-1)
        if rows > FEW_ROWS:
            ids = torch.cat([ids, torch.arange(count - LAST_ROWS, count).clamp_(min=0)])
        graph = self.graphs.get((rows, span, watch))
        if graph is None:
            graph = self.graphs[rows, span, watch] = self._recorded(
                ids.to(self.device), shown.to(self.device)
            )
        else:
            graph.ids.copy_(ids)
            graph.mask.copy_(shown)
        graph.replay()
        logits, features = graph.outputs
        return logits[-last:].clone(), features[-last:].clone()

    def _recorded(self, ids: Tensor, mask: Tensor) -> Graph:
        rows, span = mask.shape
        wanted = ids[3 * rows :] if rows > FEW_ROWS else slice(None)

        def work() -> Outputs:
            tokens, positions, slots = ids[: 3 * rows].view(3, rows)
            return self.compute(
                Reading(tokens, positions, slots, [View(slice(None), mask, slice(span))], wanted)
            )

        work()  # what libraries set up when they first see such a shape is no part of a graph
        return Graph(ids, mask, *self.record(work))
