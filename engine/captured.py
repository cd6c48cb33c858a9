"""Forwards of a few rows as CUDA graphs: one launch of what the host would launch one by one.

A GPU is done with a kernel for a few rows before the host has launched the next, and would wait most of the time. A
graph holds all of a forward's launches, for one number of rows and so many slots of the cache.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.cached_model import Sight

CAPTURED_ROWS = 16  # that a graph reads at most; the host keeps up with more
SPAN = 256  # slots: a graph sees a multiple of it, of which a mask hides what is not there yet
READY_SPANS = (SPAN, 2 * SPAN)  # whose graphs are there from the start; further ones when a text gets so long

Outputs = tuple[Tensor, Tensor]  # logits and features of all rows
Record = Callable[[Callable[[], Outputs]], tuple[Outputs, Callable[[], None]]]

_recording = threading.Lock()  # for all threads of a process, since a device records one graph at a time


class Reading(NamedTuple):
    """What a forward of n rows reads and where it writes, on the device.

    `tokens`, `positions` and `slots` int64 [n]; `mask` [n, `seen`] is added to the scores of the first `seen` slots
    (None: all are seen). Logits are wanted of the `last` rows.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    mask: Tensor | None
    seen: int
    last: int


@dataclass(frozen=True)
class Graph:
    """A recorded forward: its inputs, int64 [3, n] (tokens, positions, slots) and mask [n, span], and its outputs."""

    ids: Tensor
    mask: Tensor
    outputs: Outputs
    replay: Callable[[], None]


def span_of(end: int, capacity: int) -> int:
    """How many slots a graph sees of a cache whose first `end` are filled."""
    return min(-(-end // SPAN) * SPAN, capacity)


def cuda_graph(stream: Any) -> Record:
    """Records work as a CUDA graph, on a stream of its own; torch.cuda.CUDAGraph, with one pool of memory for all."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        # The other model's thread may go on meanwhile, hence "thread_local".
        graph = torch.cuda.CUDAGraph()
        with _recording, torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            outputs = work()
        return outputs, graph.replay

    return record


@dataclass
class CapturedForwards:
    """The recorded forwards of a model, by rows, slots seen and whether it is watched.

    `compute` is the forward as it stands; `dtype` that of its masks.
    """

    compute: Callable[[Reading], Outputs]
    device: torch.device
    dtype: torch.dtype
    record: Record
    graphs: dict[tuple[int, int, bool], Graph] = field(default_factory=dict)

    @torch.inference_mode()
    def prepare(self, capacity: int) -> None:
        """Record what no text should wait for; the first slots of the cache are overwritten."""
        for span, rows in product(READY_SPANS, range(1, CAPTURED_ROWS + 1)):
            if span <= capacity:
                self.forward([0] * rows, [0] * rows, 0, None, rows, span=span, watch=False)

    def forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        sight: Sight | None,
        last: int,
        *,
        span: int,
        watch: bool,
    ) -> Outputs:
        """Logits [last, head rows] and features of the last rows; arguments as of `engine.cached_model.Decoder`.

        `span`: of how many slots it reads the cache; a mask hides those that mean nothing.
        """
        rows, end = len(tokens), start + len(tokens)
        if sight is None:
            shown = torch.full((rows, span), float("-inf"), dtype=self.dtype).triu_(start + 1)
        else:
            shown = sight.mask(span).to(self.dtype)
        ids = torch.tensor([tokens, positions, range(start, end)])
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

        def work() -> Outputs:
            tokens, positions, slots = ids
            return self.compute(Reading(tokens, positions, slots, mask, span, rows))

        work()  # what libraries set up when they first see such a shape is no part of a graph
        return Graph(ids, mask, *self.record(work))
