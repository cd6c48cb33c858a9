"""The noise that chance is made of, the same on every device: compiled on the CPU, by PyTorch's operations elsewhere.

A token's noise is -log(-log(1 - v)), of Gumbel's law. v has the 52 highest bits of a number that follows from seed,
place and token id alone: the token's in a row of SplitMix64 (Steele, Lea and Flood 2014), which begins at a hash of
seed and place. So no number waits for another, a device makes its own, and a cut head only makes those it has rows for.
In double precision up to the logarithms: single precision has so few numbers near 0 that unlikely tokens would win too
often.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.kernels.crew import Crew
from engine.kernels.cuda_graphs import Recorded
from engine.kernels.shared_rows import by_rows

try:
    from engine.kernels import compiled_noise
except (ImportError, RuntimeError):  # no numba, or nowhere to keep what it compiles
    compiled_noise = None  # type: ignore[assignment]

SHARED = 1 << 17  # logits, from which several threads add noise to them; so many take some 0.3 ms
RECORDED_ROWS = 16  # of noise as one graph on a CUDA device
# SplitMix64's, as PyTorch's signed integers have them.
STEP, FIRST, SECOND = (
    number - (1 << 64) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


Draw = tuple[int, int]
"""A seed and a place in the text, from which a token's noise follows."""


def add_noise(
    scores: Tensor,
    draws: Sequence[Draw],
    temperature: float,
    tokens: Tensor | None = None,
    crew: Crew | None = None,
) -> Tensor:
    """Make contiguous float32 `scores` [n, rows] `temperature` times (scores + noise); returns them.

    `draws` [n]: of each row; `tokens` int64 [rows] are the rows' token ids where they are not their numbers. A `crew`
    shares many rows.
    """
    if tokens is None:
        tokens = torch.arange(scores.shape[-1], device=scores.device)
    if compiled_noise is None or scores.device.type != "cpu":
        return scores.add_(gumbel(draws, tokens)).mul_(temperature)
    rows, keys = scores.numpy(), np.array([_key(*draw) for draw in draws], np.uint64)
    ids, factor = tokens.numpy(), np.float32(temperature)

    def add(mine: slice) -> None:
        compiled_noise.drawn(rows[mine], keys[mine], ids, factor, rows[mine])

    by_rows(add, rows.shape, SHARED, crew)
    return scores


def gumbel(draws: Sequence[Draw], tokens: Tensor) -> Tensor:
    """The noise of token ids `tokens` int64 [m] at `draws` [n], float32 [n, m], on their device by PyTorch."""
    keys = [_key(*draw) for draw in draws]
    signed = torch.tensor([key - (key >> 63 << 64) for key in keys], device=tokens.device)
    return _noise_at_once(signed, tokens).clone() if len(keys) <= RECORDED_ROWS else _noise(signed, tokens)


def _noise(keys: Tensor, tokens: Tensor) -> Tensor:
    z = keys[:, None] + (tokens + 1) * STEP
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    z = z ^ _shifted(z, 31)
    chance = (_shifted(z, 12).double() + 0.5) * 2.0**-52
    return -(-torch.log1p(-chance)).float().log()


def _shifted(z: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in: int64 keeps its sign otherwise."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


_noise_at_once = Recorded(_noise)


def _key(seed: int, place: int) -> int:
    """Where a place's row of numbers begins, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{place}".encode(), digest_size=8).digest(), "little")
