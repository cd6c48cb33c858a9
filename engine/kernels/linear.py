"""Linear layers without bias: dense, or with weights rounded to int8 or int4 and packed kernels.

A linear layer here is a callable from [n, in] to [n, out] in the model's dtype.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.rounding import Rounded, Weight, dequantise, quantise, quantise_spans

Linear = Callable[[Tensor], Tensor]

# Up to so many rows, by bits, the rounded kernels of PyTorch's CPU build beat a bfloat16 product; past them the product
# of the same rounded weights is faster (docs/lab-notes.md, "Speed on CPU cores").
PACKED_ROWS = {8: 4, 4: 7}
# On an H200 the int4 kernel takes 0.6 to 0.8 of the time of a bfloat16 product for up to 4 rows, more than it for 8,
# and the int8 one over ten times as long (docs/gpu.md).
CUDA_ROWS = 4
INT4_GROUP = 64
USUAL_ROWS = 16  # that a weight's layout suits best; any others are computed by it too
WIDE_ROWS = 4  # past which a product in float32 is faster where the processor has none of bfloat16
SPARE_BYTES = 4 << 30  # of weights, the most that a model may be held once more for speed alone


def computes_bfloat16() -> bool:
    """Whether this processor has products of bfloat16."""
    there: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return there


def lacks_bfloat16(dtype: torch.dtype, device: torch.device, parameters: int) -> bool:
    """Whether a model computes in a bfloat16 that this processor lacks, and is small enough to be held twice.

    Without AVX-512, a bfloat16 product of n rows takes n times as long as that of one row, however many there are.
    """
    computed_here = dtype == torch.bfloat16 and device.type == "cpu"
    return computed_here and not computes_bfloat16() and 4 * parameters <= SPARE_BYTES


def make_linear(weight: Weight, dtype: torch.dtype, bits: int | None = None, *, wide: bool = False) -> Linear:
    """A linear layer of `weight` [out, in]; `bits` 8 or 4 rounds it (int8 by row, int4 by spans of 64).

    One that is rounded already stays as it is. A layer whose width does not fit the groups stays dense and unrounded.
    With `wide` (see `lacks_bfloat16`) products of several rows are computed in float32 and then rounded to `dtype`, as
    a bfloat16 unit does.
    """
    if isinstance(weight, Tensor) and (bits is None or (bits == 4 and weight.shape[1] % INT4_GROUP)):
        weight = weight.to(dtype).contiguous()
        return _by_rows(WIDE_ROWS, _dense(weight), widened(weight, dtype)) if wide else _dense(weight)
    codes = rounded(weight, bits)
    exact = dequantise(*codes)
    bits = 8 if len(codes) == 2 else 4
    dense = widened(exact, dtype) if wide else _dense(exact.to(dtype))
    if dtype != torch.bfloat16:
        return dense
    if weight.device.type == "cuda":
        return _by_rows(CUDA_ROWS, _packed_int4_cuda(*codes), dense) if fits_cuda(weight, bits) else dense
    packed = _packed_int8(*codes) if len(codes) == 2 else _packed_int4(*codes)
    return _by_rows(PACKED_ROWS[bits], packed, dense)


def fits_cuda(weight: Weight, bits: int) -> bool:
    """Whether PyTorch has a fast packed kernel for a weight [out, in] on its CUDA device."""
    outputs, inputs = weight.shape
    capability = torch.cuda.get_device_capability(weight.device)
    return bits == 4 and capability >= (8, 0) and outputs % 8 == 0 and inputs % INT4_GROUP == 0


def _by_rows(most: int, few: Linear, many: Linear) -> Linear:
    return lambda x: few(x) if x.shape[0] <= most else many(x)


def round_weight(weight: Weight, bits: int) -> Tensor:
    """The float32 weight [out, in] that `make_linear` computes with."""
    if isinstance(weight, Tensor) and bits == 4 and weight.shape[1] % INT4_GROUP:
        return weight.float()
    return dequantise(*rounded(weight, bits))


def rounded(weight: Weight, bits: int | None) -> tuple[Tensor, ...]:
    """Codes and scales, and for int4 offsets, none of them finer than the packed kernels take."""
    if isinstance(weight, Rounded):
        return weight.parts
    if bits == 4:
        return quantise_spans(weight, 4, INT4_GROUP)
    codes, scales = quantise(weight, 8)
    return codes, scales.bfloat16().float()


def _dense(weight: Tensor) -> Linear:
    if weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and computes_bfloat16():
        return _laid_out(weight)
    return lambda x: functional.linear(x, weight)


def _laid_out(weight: Tensor) -> Linear:
    """The weight as the kernels read it, once and for all and not anew for each product: the same numbers, sooner."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, USUAL_ROWS)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda x: product(x, packed, None, "none", [], "")


def widened(weight: Tensor, dtype: torch.dtype) -> Linear:
    """Products with `weight` [out, in] computed in float32 and rounded to `dtype`, as a bfloat16 unit does."""
    wide = weight.float().contiguous()
    return lambda x: functional.linear(x.float(), wide).to(dtype)


def _packed_int8(codes: Tensor, scales: Tensor) -> Linear:
    weight, scale = codes.to(torch.int8).contiguous(), scales[:, 0].to(torch.bfloat16)
    return lambda x: torch._weight_int8pack_mm(x, weight, scale)


def _packed_int4(codes: Tensor, scales: Tensor, offsets: Tensor) -> Linear:
    # The kernel's codes are unsigned around 8.
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes + 8, 1)
    scale = torch.stack([scales.t(), offsets.t()], dim=-1).to(torch.bfloat16).contiguous()
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    return lambda x: product(x, packed, INT4_GROUP, scale)


def _packed_int4_cuda(codes: Tensor, scales: Tensor, offsets: Tensor) -> Linear:
    unsigned = codes + 8
    tiles = 8 if codes.shape[1] % 128 == 0 else 4  # of 16 inputs, that a warp reads in one go
    packed = torch.ops.aten._convert_weight_to_int4pack(
        (unsigned[:, ::2] << 4 | unsigned[:, 1::2]).to(torch.uint8), tiles
    )
    scale = torch.stack([scales.t(), offsets.t()], dim=-1).to(torch.bfloat16).contiguous()
    product = torch.ops.aten._weight_int4pack_mm
    return lambda x: product(x, packed, INT4_GROUP, scale)
