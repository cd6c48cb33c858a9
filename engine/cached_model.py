"""A causal model with its KV cache: read a line, read several branches at once, keep one of them.

Branches lie behind one another in a single sequence and share the prefix's KV; a mask lets each see the
prefix and its own tokens alone. So memory grows with branches x draft length, never with branches x context.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


class CachedModel:
    """`tokens` are the cached prefix; branch tokens lie in slots behind it until `rewind` keeps one."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.cache = DynamicCache()
        self.tokens: list[int] = []
        self._branches: list[tuple[list[int], list[int]]] = []  # tokens and their slots
        self._slots = 0

    def rewind(self, context: Sequence[int]) -> list[int]:
        """Drop what `context` does not continue; returns its tokens still to read (at least the last)."""
        usable = len(context) - 1
        shared = _common(self.tokens, context[:usable])
        keep = list(range(shared))
        kept = self.tokens[:shared]
        if shared == len(self.tokens) and self._branches:
            rest = context[shared:usable]
            tokens, slots = max(self._branches, key=lambda branch: _common(branch[0], rest))
            shared = _common(tokens, rest)
            keep += slots[:shared]
            kept = kept + tokens[:shared]
        self._select(keep)
        self.tokens, self._branches, self._slots = kept, [], len(kept)
        return list(context[len(kept) :])

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Append `tokens` (n) to the prefix; float32 logits [n, vocabulary]."""
        logits = self._forward(tokens, range(len(self.tokens), len(self.tokens) + len(tokens)), None)
        self.tokens.extend(tokens)
        self._slots = len(self.tokens)
        return logits

    def read_branches(self, tokens: Sequence[tuple[int, int]]) -> Tensor:
        """Append one token to each given branch, as (branch index, token); float32 logits [n, vocabulary]."""
        count = len(tokens)
        mask = torch.full((1, 1, count, self._slots + count), torch.finfo(self.model.dtype).min)
        mask[..., : len(self.tokens)] = 0.0
        positions = []
        for row, (branch, token) in enumerate(tokens):
            while branch >= len(self._branches):
                self._branches.append(([], []))
            written, slots = self._branches[branch]
            positions.append(len(self.tokens) + len(written))
            written.append(token)
            slots.append(self._slots + row)
            mask[0, 0, row, slots] = 0.0
        self._slots += count
        return self._forward([token for _, token in tokens], positions, mask.to(self.model.dtype))

    @torch.inference_mode()
    def _forward(self, tokens: Sequence[int], positions: Sequence[int], mask: Tensor | None) -> Tensor:
        ids = torch.tensor([list(tokens)], device=self.model.device)
        places = torch.tensor([list(positions)], device=self.model.device)
        if mask is not None:
            mask = mask.to(self.model.device)
        output = self.model(
            input_ids=ids,
            position_ids=places,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: Tensor = output.logits[0].float()
        return logits

    @torch.inference_mode()
    def _select(self, keep: list[int]) -> None:
        if keep == list(range(self._slots)):
            return
        contiguous = keep == list(range(len(keep)))
        layers: Any = self.cache.layers
        for layer in layers:
            if layer.keys is None or layer.values is None or not layer.keys.numel():
                continue
            index: Any = slice(0, len(keep)) if contiguous else keep
            layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
