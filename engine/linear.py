"""Linear layers without bias: dense, or with weights rounded to int8 or int4 and packed kernels.

A linear layer here is a callable from [n, in] to [n, out] in the model's dtype.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.rounding import dequantise, quantise, quantise_spans

Linear = Callable[[Tensor], Tensor]

# Packed kernels of PyTorch's CPU build beat a dense bfloat16 product up to about this many rows; past it the
# dense product of the same rounded weights is faster (docs/design.md, "Drafts made of the target").
PACKED_ROWS = 4
INT4_GROUP = 64


def make_linear(weight: Tensor, dtype: torch.dtype, bits: int | None = None) -> Linear:
    """A linear layer of `weight` [out, in]; `bits` 8 or 4 rounds it (int8 by row, int4 by spans of 64).

    A layer whose width does not fit the groups stays dense and unrounded.
    """
    if bits is None or (bits == 4 and weight.shape[1] % INT4_GROUP):
        return _dense(weight.to(dtype).contiguous())
    rounded = quantise(weight, 8) if bits == 8 else quantise_spans(weight, 4, INT4_GROUP)
    dense = _dense(dequantise(*rounded).to(dtype))
    if dtype != torch.bfloat16 or weight.device.type != "cpu":
        return dense
    packed = _packed_int8(*rounded) if len(rounded) == 2 else _packed_int4(*rounded)
    return lambda x: packed(x) if x.shape[0] <= PACKED_ROWS else dense(x)


def round_weight(weight: Tensor, bits: int) -> Tensor:
    """The float32 weight [out, in] that `make_linear` computes with."""
    if bits == 4 and weight.shape[1] % INT4_GROUP:
        return weight.float()
    return dequantise(*(quantise(weight, 8) if bits == 8 else quantise_spans(weight, 4, INT4_GROUP)))


def _dense(weight: Tensor) -> Linear:
    return lambda x: functional.linear(x, weight)


def _packed_int8(codes: Tensor, scales: Tensor) -> Linear:
    weight, scale = codes.to(torch.int8).contiguous(), scales[:, 0].to(torch.bfloat16)
    return lambda x: torch._weight_int8pack_mm(x, weight, scale)


def _packed_int4(codes: Tensor, scales: Tensor, offsets: Tensor) -> Linear:
    # The kernel's codes are unsigned around 8.
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes + 8, 1)
    scale = torch.stack([scales.t(), offsets.t()], dim=-1).to(torch.bfloat16).contiguous()
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    return lambda x: product(x, packed, INT4_GROUP, scale)
