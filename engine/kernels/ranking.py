"""The most likely tokens of logits, and how likely they are: compiled on the CPU, by PyTorch's operations elsewhere.

Equal logits, which bfloat16 makes common, go by the row of the head, so by token id: were their order left to PyTorch's
`topk`, a draft would miss tokens that it knows, and differently for different shapes.
"""

import numpy as np
import torch
from torch import Tensor

from engine.kernels.crew import Crew
from engine.kernels.cuda_graphs import Recorded
from engine.kernels.shared_rows import by_rows

try:
    from engine.kernels import compiled_ranking
except (ImportError, RuntimeError):  # no numba, or nowhere to keep what it compiles
    compiled_ranking = None  # type: ignore[assignment]

# Loops vectorise where rows are known to be contiguous. So a row that is part of a wider one is copied, and its sums do
# not depend on how many rows there are.
SHARED = 1 << 20  # logits, from which several threads look through them, which costs some 50 us
SPARE = 3  # how many tied logits beyond the last wanted one `topk` is asked for
LISTED, LISTED_ROWS = 12, 16  # logits a row and rows, up to which one graph lists them on a CUDA device


def best(logits: Tensor, crew: Crew | None = None) -> list[int]:
    """Where the largest of each row of float32 logits [n, rows of the head] is; a `crew` shares many rows."""
    if compiled_ranking is None or logits.device.type != "cpu":
        found: list[int] = logits.argmax(dim=-1).tolist()
        return found
    rows, places = logits.numpy(), np.empty((len(logits), 1), np.int64)

    def find(mine: slice) -> None:
        compiled_ranking.largest_of(np.ascontiguousarray(rows[mine]), places[mine])

    by_rows(find, rows.shape, SHARED, crew)
    return list(places[:, 0].tolist())


def ranked(logits: Tensor, count: int, crew: Crew | None = None) -> list[tuple[list[int], list[float]]]:
    """Of each row of float32 logits [n, rows of the head]: where its `count` largest are, and their probabilities.

    A `crew` shares many rows.
    """
    count = min(count, logits.shape[-1])
    if compiled_ranking is None or logits.device.type != "cpu":
        return ranked_by_torch(logits, count)
    rows, places = logits.numpy(), np.empty((len(logits), count), np.int64)
    chances = np.empty(places.shape, np.float32)

    def rank(mine: slice) -> None:
        own = np.ascontiguousarray(rows[mine])
        compiled_ranking.largest_of(own, places[mine])
        compiled_ranking.chances_of(own, places[mine], chances[mine])

    by_rows(rank, rows.shape, SHARED, crew)
    return list(zip(places.tolist(), chances.tolist(), strict=True))


def entropies(logits: Tensor, crew: Crew | None = None) -> Tensor:
    """The entropy of each row's distribution in nats, float32 [n], of logits [n, rows of the head].

    A `crew` shares many rows.
    """
    if compiled_ranking is None or logits.device.type != "cpu" or logits.dtype != torch.float32:
        shares = logits.float().log_softmax(dim=-1)
        return -(shares.exp() * shares).nansum(dim=-1)
    rows, found = logits.numpy(), np.empty(len(logits), np.float32)

    def weigh(mine: slice) -> None:
        compiled_ranking.entropies_of(np.ascontiguousarray(rows[mine]), found[mine])

    by_rows(weigh, rows.shape, SHARED, crew)
    return torch.from_numpy(found)


def ranked_by_torch(logits: Tensor, count: int) -> list[tuple[list[int], list[float]]]:
    """`ranked` on any device."""
    rows = []
    for values, places, shares in _listed(logits, count + SPARE).tolist():
        order = sorted(range(len(values)), key=lambda i: (-values[i], places[i]))[:count]
        rows.append(([int(places[i]) for i in order], [shares[i] for i in order]))
    return rows


def _listed(logits: Tensor, count: int) -> Tensor:
    """Of each row the `count` largest: values, places and probabilities, float64 [n, 3, count at least]."""
    if len(logits) <= LISTED_ROWS and count <= LISTED:
        return _listed_at_once(logits)
    return _list(logits, count)


def _list(logits: Tensor, count: int = LISTED) -> Tensor:
    found = logits.topk(min(count, logits.shape[-1]), dim=-1)
    chances = (found.values - logits.logsumexp(dim=-1, keepdim=True)).exp()
    # One tensor, since each transfer waits for the device; doubles hold places and single precision exactly.
    return torch.stack([found.values.double(), found.indices.double(), chances.double()], dim=1)


_listed_at_once = Recorded(_list)
