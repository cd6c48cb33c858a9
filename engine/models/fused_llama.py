"""Forwards of a few rows by one compiled function, on processors with the instructions that it needs.

`engine.models.llama` asks `fuse` for one, and computes by PyTorch where there is none: on other devices and processors,
in other precisions, of odd widths, and of more rows than `most_rows` says.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from engine.kernels.crew import Crew
from engine.kernels.linear import SPARE_BYTES, rounded
from engine.kernels.rounding import Weight
from engine.models.decoder import WATCHED_LAYERS
from engine.models.rows import Rows, joined, spans, wanted_count

FEW_ROWS, SOME_ROWS, MORE_ROWS, MANY_ROWS = 18, 128, 256, 512
APART_ROWS = 48  # from which each thread has rows of its own instead of some outputs of all


@cache
def has_instructions() -> bool:
    """Whether this processor has the instructions of `engine.kernels.dots`, and numba compiles them here."""
    try:
        from engine.kernels.dots import instructions

        import_module("engine.kernels.fused_step")
    except (ImportError, RuntimeError):  # RuntimeError: there is nowhere to keep what was compiled
        return False
    return instructions() is not None


def most_rows(bits: int) -> int:
    """Up to how many rows a forward of weights of so many `bits` is faster so than by PyTorch's operations.

    On processors that multiply bfloat16 by vectors, many: PyTorch attends text by text. On those that have no
    instruction for bfloat16, as many as PyTorch's conversion of all weights weighs heavier than its products; of
    fewer bits fewer, by what was timed (docs/lab-notes.md, "Speed on CPU cores"). On those with units for matrices,
    where nothing else was measured, few.
    """
    try:
        from engine.kernels.dots import has_matrix_units, instructions
    except ImportError:  # no numba
        return FEW_ROWS
    if instructions() == "avx512":
        return FEW_ROWS if has_matrix_units() else MANY_ROWS
    return MORE_ROWS if bits == 16 else SOME_ROWS


Floats = NDArray[np.float32]
Halves = NDArray[np.uint16]  # the bits of bfloat16
NOTHING = torch.empty(0)


class LayerWeights(NamedTuple):
    """A decoder layer's weights [out, in] and norms [width]; queries, keys and values are one, as are gate and up."""

    attention_norm: Tensor
    qkv: Weight
    out: Weight
    mlp_norm: Tensor
    gate_up: Weight
    down: Weight


class Blocks(NamedTuple):
    """Weights as the products read them: uint8 [..., outputs, bytes] and their scales float32 [..., outputs]."""

    weights: NDArray[np.uint8]
    scales: Floats

    def by_output(self) -> tuple[NDArray[np.uint8], Floats]:
        """The same memory: of a matrix, weights [blocks, steps, outputs of a block, 4], scales [blocks, groups, ..]."""
        from engine.kernels.dots import OUTPUTS

        blocks = len(self.weights) // OUTPUTS
        return self.weights.reshape(blocks, -1, OUTPUTS, 4), self.scales.reshape(blocks, -1, OUTPUTS)


def block(weight: Weight, bits: int | None) -> Blocks:
    """A weight [out, in] in blocks of `OUTPUTS` rows, 4 bytes of each by turns, the last block filled up with zeros.

    `bits` as in `engine.kernels.linear.make_linear`; how weights and scales are held says
    `engine.kernels.dots.make_dots`.
    """
    from engine.kernels.dots import OUTPUTS, ZERO

    def whole(part: Tensor) -> Tensor:
        return pad(part, (0, 0, 0, -len(part) % OUTPUTS))

    if bits is None and isinstance(weight, Tensor):
        stored = whole(weight).bfloat16().view(torch.uint8)
        scales = torch.ones(len(stored))
    elif bits == 8:
        codes, units = map(whole, rounded(weight, 8))
        scales, stored = units[:, 0], (codes + ZERO[8]).to(torch.uint8)
    else:
        codes, units, offsets = map(whole, rounded(weight, 4))
        eight = (codes + ZERO[4]).to(torch.uint8).view(len(codes), -1, 2, 4)
        stored = (eight[:, :, 0] | eight[:, :, 1] << 4).view(len(codes), -1)
        both = torch.stack([offsets.bfloat16(), units.bfloat16()], dim=-1).view(torch.float32)[..., 0]
        scales = both.view(len(codes) // OUTPUTS, OUTPUTS, -1).transpose(1, 2).reshape(len(codes), -1)
    rows = len(stored)
    blocks = stored.reshape(rows // OUTPUTS, OUTPUTS, -1, 4).transpose(1, 2)
    return Blocks(blocks.reshape(rows, -1).numpy(), scales.reshape(-1).numpy())


def _stack(weights: Iterable[Weight], bits: int | None) -> Blocks:
    blocks = [block(weight, bits) for weight in weights]
    return Blocks(np.stack([one.weights for one in blocks]), np.stack([one.scales for one in blocks]))


class Slots(NamedTuple):
    """A cache and what its positions are turned by, as `engine.kernels.fused_step.step` reads them.

    `cache` uint16 [layers, 2 x KV heads, slots, head's width], `cosine` and `sine` float32 [slots, head's width].
    """

    cache: Halves
    cosine: Floats
    sine: Floats


def slots_of(cache: Tensor, cosine: Tensor, sine: Tensor) -> Slots:
    """The same memory as the bfloat16 `cache`; of `cosine` and `sine` [slots, head's width] a copy."""
    return Slots(_bits(cache), *(table.float().contiguous().numpy() for table in (cosine, sine)))


class Scratch(NamedTuple):
    """What the threads of a forward share: float32 [rows, numbers of the widest thing that is there]."""

    x: Floats
    fused: Floats
    mixed: Floats
    inner: Floats
    moved: Floats


@dataclass(frozen=True)
class FusedLlama:
    """The weights of a model of the Llama family as `engine.kernels.fused_step.step` reads them.

    So many `blocks` are one layer where features are asked for: of each, the last one's output.
    """

    bits: int
    heads: int
    head_width: int
    epsilon: float
    outputs: int
    embedding: Halves
    norms: Floats
    qkv: Blocks
    out: Blocks
    gate_up: Blocks
    down: Blocks
    last_norm: Floats
    head: Blocks
    whole_head: Blocks | None
    blocks: int
    crew: Crew = field(default_factory=Crew)

    def forward(
        self, batch: Sequence[Rows], slots: Slots, *, watch: bool, shown: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits float32 [last, head rows] of the last rows, those that are wanted, and if watched their features.

        Features are [last, watched layers x width]. Rows of the head from `shown` on mean nothing, and get minus
        infinity.
        """
        from engine.kernels.fused_step import step

        read, at, to = joined(batch)
        rows, last, width = len(read), wanted_count(batch), self.embedding.shape[1]
        seen, counts = _seen(batch, at)
        watched = min(WATCHED_LAYERS * self.blocks, len(self.norms)) if watch else 0
        features = np.empty((watched, last, width), np.float32)
        logits = np.empty((last, len(self.head.weights)), np.float32)
        size, meeting = _threads(), np.zeros(1, np.int64)
        apart = size > 1 and rows >= APART_ROWS
        wanted = np.arange(last - rows, last)
        ends = np.empty((last, width), np.float32) if apart else self._scratch.x[rows - last : rows]

        def run(rank: int) -> None:
            mine, room = _own_rows(rank, size, rows) if apart else (slice(rows), slice(rows))
            # By place; the groups are those that `step` names among its parameters.
            step(
                # Which part this thread computes.
                rank,
                size,
                apart,
                meeting,
                # The model's numbers.
                self.bits,
                self.heads,
                self.epsilon,
                # The rows: what they are, where they are written, and what they see.
                *(np.ascontiguousarray(of_all[mine]) for of_all in (read, at, to)),
                np.ascontiguousarray(seen[mine]) if len(seen) > 1 else seen,
                np.ascontiguousarray(counts[mine]),
                # The cache, and what positions are turned by.
                *slots,
                # The weights, those of products with their scales.
                self.embedding,
                self.norms,
                *self.qkv,
                *self.out,
                *self.gate_up,
                *self.down,
                self.last_norm,
                *self.head,
                # Scratch.
                *(of_all[room] for of_all in self._scratch),
                # Which rows are wanted, and what is found of them.
                np.ascontiguousarray(wanted[mine]),
                ends,
                features,
                logits,
            )

        self.crew.run(run, size)
        if shown is not None:
            logits[:, shown:] = -np.inf
        whole, features = torch.from_numpy(logits), features[self.blocks - 1 :: self.blocks]
        return (
            whole if self.outputs == logits.shape[1] else whole[:, : self.outputs],
            torch.from_numpy(features.transpose(1, 0, 2).reshape(last, -1)) if watch else NOTHING,
        )

    def put_head(self, first: int, tokens: Sequence[int]) -> None:
        """Let the head's rows from `first` on be those of `tokens` in the whole head."""
        from engine.kernels.dots import OUTPUTS

        assert self.whole_head is not None, "this head was not cut"
        source, to = np.array(tokens, np.int64), np.arange(first, first + len(tokens))
        weights, scales = self.head.by_output()
        all_weights, all_scales = self.whole_head.by_output()
        weights[to // OUTPUTS, :, to % OUTPUTS] = all_weights[source // OUTPUTS, :, source % OUTPUTS]
        scales[to // OUTPUTS, :, to % OUTPUTS] = all_scales[source // OUTPUTS, :, source % OUTPUTS]

    @cached_property
    def most_rows(self) -> int:
        """See `most_rows`; of more, PyTorch's forward is the faster one."""
        return most_rows(self.bits)

    @cached_property
    def _scratch(self) -> Scratch:
        width, inner = self.embedding.shape[1], self.gate_up.weights.shape[1] // 2
        widest = max(self.qkv.weights.shape[1], 2 * inner)
        widths = (width, widest, self.heads * self.head_width, inner, width)
        return Scratch(*(np.empty((self.most_rows, n), np.float32) for n in widths))


def _bits(halves: Tensor) -> Halves:
    return halves.view(torch.int16).numpy().view(np.uint16)


def can_fuse(layers: Sequence[LayerWeights], head: Weight, dtype: torch.dtype, head_width: int) -> bool:
    """Whether a model of these weights can be computed so, here."""
    inner = [weight for layer in layers for weight in (layer.qkv, layer.out, layer.gate_up, layer.down)]
    matrices = [head, *inner]
    fitting = all(weight.shape[1] % 64 == 0 and weight.shape[0] % 32 == 0 for weight in inner)
    size = sum(2 * weight.numel() for weight in matrices)
    here = head.device.type == "cpu" and dtype == torch.bfloat16
    return here and fitting and head_width % 32 == 0 and size <= SPARE_BYTES and has_instructions()


def fuse(
    embedding: Tensor,
    layers: Sequence[LayerWeights],
    last_norm: Tensor,
    head: Weight,
    bits: int | None,
    heads: int,
    head_width: int,
    epsilon: float,
    kept: Tensor | None = None,
    blocks: int = 1,
) -> FusedLlama:
    """The model of these weights, which `can_fuse`; `bits` as in `engine.kernels.linear.make_linear`.

    It shares the memory of `embedding`, bfloat16 [vocabulary, width]. `kept` int64 [rows]: the rows of `head` that it
    begins with (None: all of them); see `FusedLlama.put_head`. `blocks` as in `engine.models.llama.Llama`.
    """
    norms = [torch.stack([layer.attention_norm, layer.mlp_norm]).bfloat16().float() for layer in layers]
    return FusedLlama(
        bits=bits or 16,
        heads=heads,
        head_width=head_width,
        epsilon=epsilon,
        outputs=head.shape[0] if kept is None else len(kept),
        embedding=_bits(embedding),
        norms=torch.stack(norms).numpy(),
        qkv=_stack((layer.qkv for layer in layers), bits),
        out=_stack((layer.out for layer in layers), bits),
        gate_up=_stack((layer.gate_up for layer in layers), bits),
        down=_stack((layer.down for layer in layers), bits),
        last_norm=last_norm.bfloat16().float().numpy(),
        head=block(head if kept is None else head[kept], bits),
        whole_head=None if kept is None else block(head, bits),
        blocks=blocks,
    )


def _threads() -> int:
    """As many threads as PyTorch would use, but no more than there are cores: they wait for each other."""
    threads = torch.get_num_threads()
    if threads == 1:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(threads, cores)


def _own_rows(rank: int, size: int, rows: int) -> tuple[slice, slice]:
    """Which rows a thread has for itself, and where in the scratch: by turns, since a prompt's later rows see more."""
    counts = [len(range(other, rows, size)) for other in range(rank + 1)]
    return slice(rank, rows, size), slice(sum(counts[:-1]), sum(counts))


def _seen(batch: Sequence[Rows], positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The slots that each row sees in the order of their tokens, int64 [rows or 1, slots], and how many of them."""
    if len(batch) == 1 and batch[0].visibility is None:
        return batch[0].held()[None], positions + 1
    counts = positions + 1  # as many as there are tokens up to its own
    seen = np.zeros((len(counts), max(rows.end for rows in batch)), np.int64)
    for rows, mine in spans(batch):
        held = rows.held()
        seen[mine, : rows.end] = held
        if rows.visibility is not None:
            for row, (prefix, own) in enumerate(zip(*rows.visibility, strict=True), mine.start):
                seen[row, prefix : prefix + len(own)] = held[list(own)]
    return seen, counts
