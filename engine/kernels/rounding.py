"""Drafts made of the target: its linear weights rounded to few bits.

Rounded values held in float32 make the draft's tokens independent of how many it reads at once, which exact
replay needs; `engine.kernels.linear` runs the same values through packed kernels where speed is wanted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rounded:
    """A weight [out, in] that was rounded before; codes, scales and offsets as `quantise_spans` returns them."""

    codes: Tensor
    scales: Tensor
    offsets: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, scales and offsets."""
        return self.codes, self.scales, self.offsets

    @property
    def shape(self) -> torch.Size:
        """[out, in]."""
        return self.codes.shape

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.codes.device

    def to(self, device: torch.device) -> "Rounded":
        """It on another device."""
        return Rounded(*(part.to(device) for part in self.parts))

    def numel(self) -> int:
        """How many numbers the weight has."""
        return self.codes.numel()

    def __getitem__(self, rows: Tensor | slice) -> "Rounded":
        """Some of its rows (int64 [n], or a slice)."""
        return Rounded(*(part[rows] for part in self.parts))


Weight = Tensor | Rounded


def stacked(weights: Sequence[Weight]) -> Weight:
    """Weights as one, behind one another. TypeError where some are rounded and some are not."""
    rounded = [weight for weight in weights if isinstance(weight, Rounded)]
    if not rounded:
        return torch.cat([weight for weight in weights if isinstance(weight, Tensor)])
    if len(rounded) < len(weights):
        raise TypeError("some of these weights are rounded, and some are not")
    parts = zip(*(weight.parts for weight in rounded), strict=True)
    return Rounded(*(torch.cat(part) for part in parts))


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
def quantise_spans(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rounding of `weight` [out, in] to 2^bits even steps over the span of each group's own values along `in`.

    Returns codes int32 [out, in] in -2^(bits-1) .. 2^(bits-1) - 1 and float32 scales and offsets
    [out, in / group] that are exact in bfloat16, as packed kernels hold them; the weight is code x scale + offset.
    A few bits go further this way than with steps that lie symmetric around 0.
    """
    levels = 2**bits
    rows, columns = weight.shape
    grouped = weight.detach().float().view(rows, -1, group)
    low, high = grouped.amin(dim=-1), grouped.amax(dim=-1)
    scales = ((high - low) / (levels - 1)).clamp_min(1e-12).bfloat16().float()
    offsets = ((high + low + scales) / 2).bfloat16().float()
    codes = ((grouped - offsets[..., None]) / scales[..., None]).round().clamp(-levels // 2, levels // 2 - 1)
    return codes.view(rows, columns).to(torch.int32), scales, offsets


@torch.no_grad()
def dequantise(codes: Tensor, scales: Tensor, offsets: Tensor | None = None) -> Tensor:
    """The float32 weight [out, in] of what `quantise` or `quantise_spans` returned."""
    rows, columns = codes.shape
    weight = codes.view(rows, scales.shape[1], -1).float() * scales[..., None]
    if offsets is not None:
        weight += offsets[..., None]
    return weight.view(rows, columns)


def pack(codes: Tensor, bits: int) -> Tensor:
    """`quantise`'s codes [out, in] for `bits` (2 to 8), close together: uint8 [out, ceil(in x bits / 8)].

    A code is stored as code + 2^(bits-1), its lowest bit first; a row ends on a whole byte.
    """
    unsigned = (codes + 2 ** (bits - 1)).to(torch.uint8).numpy()
    each = numpy.unpackbits(unsigned[..., None], axis=-1, count=bits, bitorder="little")
    return torch.from_numpy(numpy.packbits(each.reshape(len(unsigned), -1), axis=-1, bitorder="little"))


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The codes int32 [out, columns] that `pack` made `packed` of."""
    if 8 % bits == 0:  # no code lies across two bytes, and shifts are ten times as fast
        shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
        unsigned = (packed[..., None] >> shifts & 2**bits - 1).view(len(packed), -1)[:, :columns]
    else:
        each = numpy.unpackbits(packed.numpy(), axis=-1, count=columns * bits, bitorder="little")
        each = each.reshape(len(packed), columns, bits)
        unsigned = torch.from_numpy(numpy.packbits(each, axis=-1, bitorder="little")[..., 0])
    codes: Tensor = unsigned.to(torch.int32) - 2 ** (bits - 1)
    return codes
