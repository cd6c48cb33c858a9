"""The general path: any causal model of transformers as a decoder over slots (`engine.cached_model.Decoder`)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from engine.cached_model import WATCHED_LAYERS, Sight


class TransformersModel:
    """A transformers model and its dynamic cache."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.cache = DynamicCache()
        self.watch, self.features = False, torch.empty(0)
        self.kept_tokens = None

    @torch.inference_mode()
    def forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        sight: Sight | None,
        last: int,
    ) -> Tensor:
        """Logits [last, vocabulary] of the last rows; see `engine.llama.Llama.forward`."""
        self._crop(start)
        device = self.model.device
        mask = None
        if sight is not None:
            smallest = torch.finfo(self.model.dtype).min
            mask = (
                sight.mask(start + len(tokens)).to(device, self.model.dtype).clamp_min(smallest)[None, None]
            )
        output = self.model(
            input_ids=torch.tensor([list(tokens)], device=device),
            position_ids=torch.tensor([list(positions)], device=device),
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=last,
            output_hidden_states=self.watch,
        )
        if self.watch:
            # The first of them is the embedding's, which is no layer's.
            states = output.hidden_states[1:][-WATCHED_LAYERS:]
            self.features = torch.cat([state[0, -last:] for state in states], dim=-1)
        logits: Tensor = output.logits[0]
        return logits

    def _layers(self) -> list[Any]:
        layers: list[Any] = list(self.cache.layers)
        return [layer for layer in layers if layer.keys is not None and layer.keys.numel()]

    def _crop(self, slots: int) -> None:
        for layer in self._layers():
            if layer.keys.shape[2] > slots:
                layer.keys, layer.values = layer.keys[:, :, :slots], layer.values[:, :, :slots]

    @torch.inference_mode()
    def move(self, slots: Sequence[int], start: int) -> None:
        """Copy `slots` to start, start + 1, ..."""
        end = start + len(slots)
        for layer in self._layers():
            layer.keys[:, :, start:end] = layer.keys[:, :, list(slots)]
            layer.values[:, :, start:end] = layer.values[:, :, list(slots)]

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size]."""
        rows: Tensor = self.model.get_input_embeddings()(torch.tensor(list(tokens), device=self.model.device))
        return rows

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything."""
        self.cache = DynamicCache()
