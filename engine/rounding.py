"""Drafts made of the target: its linear weights rounded to few bits, computed in float32.

Rounded values held in float32 make the draft's tokens independent of how many it reads at once, which exact
replay needs; the speed of packed kernels is another matter.
"""

import torch
from torch import nn


@torch.no_grad()
def round_weights(model: nn.Module, bits: int, group: int = 64) -> None:
    """Round every linear weight [out, in] in place, symmetrically to nearest, in groups along `in`.

    The scale of a group is max |w| / (2^(bits-1) - 1). A tied output head is rounded with the embedding.
    """
    top = 2 ** (bits - 1) - 1
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.in_features % group == 0:
            grouped = module.weight.view(-1, group)
            scale = grouped.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / top
            grouped.copy_((grouped / scale).round().clamp(-top, top) * scale)
