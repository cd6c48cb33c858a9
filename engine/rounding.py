"""Drafts made of the target: its linear weights rounded to few bits.

Rounded values held in float32 make the draft's tokens independent of how many it reads at once, which exact
replay needs; `engine.linear` runs the same values through packed kernels where speed is wanted.
"""

import torch
from torch import Tensor


@torch.no_grad()
def quantise(weight: Tensor, bits: int, group: int | None = None) -> tuple[Tensor, Tensor]:
    """Symmetric rounding to nearest of `weight` [out, in], in groups along `in` (None: the whole row).

    Returns integer codes int32 [out, in] in -(2^(bits-1) - 1) .. 2^(bits-1) - 1 and float32 scales
    [out, in / group]; the rounded weight is code x scale, and a group's scale is max |w| / (2^(bits-1) - 1).
    """
    top = 2 ** (bits - 1) - 1
    rows, columns = weight.shape
    grouped = weight.detach().float().view(rows, -1, group or columns)
    scales = grouped.abs().amax(dim=-1).clamp_min(1e-12) / top
    codes = (grouped / scales[..., None]).round().clamp(-top, top)
    return codes.view(rows, columns).to(torch.int32), scales


@torch.no_grad()
def dequantise(codes: Tensor, scales: Tensor) -> Tensor:
    """The float32 weight [out, in] of `quantise`'s codes and scales."""
    rows, columns = codes.shape
    return (codes.view(rows, scales.shape[1], -1).float() * scales[..., None]).view(rows, columns)
