"""Work on a CUDA device as graphs: one launch of what the host would launch one by one, at some 8 us each."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Record = Callable[[Callable[[], T]], tuple[T, Callable[[], None]]]  # outputs, and what fills them anew

_recording = threading.Lock()  # for all threads of a process, since a device records one graph at a time


def cuda_graph(stream: Any) -> Record[Any]:
    """Records work as a CUDA graph, on a stream of its own; torch.cuda.CUDAGraph, with one pool of memory for all."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        # The other model's thread may go on meanwhile, hence "thread_local".
        graph = torch.cuda.CUDAGraph()
        with _recording, torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            outputs = work()
        return outputs, graph.replay

    return record


class Recorded:
    """A function of tensors, which is one launch on a CUDA device, and is called as it stands elsewhere.

    It is recorded for each thread and each kind of arguments; what it returns, the thread's next call overwrites. So
    it is for small work on few shapes, whose result is used at once.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._graphs: dict[Any, tuple[tuple[Tensor, ...], Tensor, Callable[[], None]]] = {}
        self._records: dict[Any, Record[Tensor]] = {}

    @torch.inference_mode()
    def __call__(self, *given: Tensor) -> Tensor:
        device = given[0].device
        if device.type != "cuda":
            return self.function(*given)
        place = threading.get_ident(), device
        kind = *place, *((one.shape, one.dtype) for one in given)
        if kind not in self._graphs:
            record = self._records.setdefault(place, cuda_graph(torch.cuda.Stream(device)))  # type: ignore[no-untyped-call]
            inputs = tuple(one.clone() for one in given)
            self.function(
                *inputs
            )  # what libraries set up when they first see such a shape is no part of a graph
            self._graphs[kind] = (inputs, *record(lambda: self.function(*inputs)))
        inputs, output, replay = self._graphs[kind]
        for mine, one in zip(inputs, given, strict=True):
            mine.copy_(one)
        replay()
        return output
