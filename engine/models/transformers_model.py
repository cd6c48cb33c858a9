"""The general path: any causal model of transformers as a decoder over slots (`engine.models.cached_model.Decoder`)."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from engine.errors import SpecBranchError
from engine.models.cached_model import WATCHED_LAYERS, Sight
from engine.models.capabilities import Capabilities, position_limit
from engine.models.slot_masks import SlotView, follow_views, heeds_views, seen

# Layers of a cache that hold a key and a value for each token, or nothing of their own.
TOKEN_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer")
CACHE_NAMES = ("cache", "past_key_values", "cache_params")  # of a forward's argument, newest first


class TransformersModel:
    """A transformers model and its dynamic cache.

    `vocabulary`: how many of the head's rows are tokens; None: all of them. `blocks` as in `engine.models.llama.Llama`.
    """

    def __init__(self, model: Any, vocabulary: int | None = None, blocks: int = 1) -> None:
        """SpecBranchError if the model keeps no cache that could be used."""
        self.model, self.vocabulary, self.blocks = model.eval(), vocabulary, blocks
        takes = inspect.signature(model.forward).parameters
        named = [name for name in CACHE_NAMES if name in takes]
        if not named:
            raise SpecBranchError(
                f"models of the {model.config.model_type} family keep no cache that this engine knows: choose a "
                "target and a draft of another family."
            )
        self._cache_name, self._takes_positions = named[0], "position_ids" in takes
        follow_views()
        self.capabilities = Capabilities(
            position_limit(model.config), rolls_back=_holds_tokens(model), trees=heeds_views(model)
        )
        self.watch, self.features = False, torch.empty(0)
        self.kept_tokens = None
        self.clear()

    @torch.inference_mode()
    def forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        sight: Sight | None,
        last: int,
    ) -> Tensor:
        """Logits [last, vocabulary] of the last rows; see `engine.models.llama.Llama.forward`."""
        self._crop(start)
        self._positions += positions
        if sight is None:
            logits, self.features = self._read(self.cache, tokens, positions, last)
        elif self.capabilities.trees:
            at = torch.tensor(self._positions, device=self.model.device)
            visible = sight.visible(len(at)).to(self.model.device)
            with seen(SlotView(start, at, visible)):
                logits, self.features = self._read(self.cache, tokens, positions, last)
        else:
            line = sight.leading_line(start)
            read = [self._read(self.cache, tokens[:line], positions[:line], line)] if line else []
            for row in range(line, len(tokens)):
                read.append(self._read_one(tokens[row], positions[row], sight.before(row, start + row)))
            logits, self.features = (torch.cat(parts)[-last:] for parts in zip(*read, strict=True))
        return logits

    def _read(
        self, cache: Any, tokens: Sequence[int], positions: Sequence[int], last: int
    ) -> tuple[Tensor, Tensor]:
        """One forward behind `cache`, which holds the tokens afterwards; logits and features of the last rows."""
        device = self.model.device
        options: dict[str, Any] = {self._cache_name: cache}
        if self._takes_positions:
            # What is drafted beyond the last position is never part of a text, so any position will do for it.
            most = self.capabilities.positions or max(positions) + 1
            options["position_ids"] = torch.tensor([[min(p, most - 1) for p in positions]], device=device)
        output = self.model(
            input_ids=torch.tensor([list(tokens)], device=device),
            use_cache=True,
            logits_to_keep=last,
            output_hidden_states=self.watch,
            **options,
        )
        features = torch.empty(last, 0)
        if self.watch:
            # The first of them is the embedding's, which is no layer's.
            states = output.hidden_states[self.blocks :: self.blocks][-WATCHED_LAYERS:]
            features = torch.cat([state[0, -last:] for state in states], dim=-1)
        return output.logits[0, -last:, : self.vocabulary], features

    def _read_one(self, token: int, position: int, slots: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One token that sees `slots` and itself, by a forward that finds nothing else in its cache.

        It is right for whatever a model's attention does with places, since what it finds is a plain text.
        """
        alone, index = DynamicCache(), torch.tensor(slots, device=self.model.device)
        for number, layer in _filled(self.cache):
            alone.update(layer.keys[:, :, index], layer.values[:, :, index], number)
        read = self._read(alone, [token], [position], 1)
        for number, layer in _filled(alone):
            self.cache.update(layer.keys[:, :, -1:], layer.values[:, :, -1:], number)
        return read

    def _crop(self, slots: int) -> None:
        if slots < len(self._positions) and not self.capabilities.rolls_back:
            raise SpecBranchError("a recurrent state cannot be rolled back.")
        del self._positions[slots:]
        if self.capabilities.rolls_back:
            for _, layer in _filled(self.cache):
                if layer.keys.shape[2] > slots:
                    layer.keys, layer.values = layer.keys[:, :, :slots], layer.values[:, :, :slots]

    @torch.inference_mode()
    def move(self, slots: Sequence[int], start: int) -> None:
        """Copy `slots` to start, start + 1, ..."""
        end = start + len(slots)
        self._positions[start:end] = [self._positions[slot] for slot in slots]
        for _, layer in _filled(self.cache):
            layer.keys[:, :, start:end] = layer.keys[:, :, list(slots)]
            layer.values[:, :, start:end] = layer.values[:, :, list(slots)]

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size]."""
        rows: Tensor = self.model.get_input_embeddings()(torch.tensor(list(tokens), device=self.model.device))
        return rows

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything."""
        # A window's own cache would drop tokens that a rollback needs again; a recurrent state needs its own.
        self.cache = DynamicCache(config=None if self.capabilities.rolls_back else self.model.config)
        self._positions: list[int] = []


def _filled(cache: Any) -> list[tuple[int, Any]]:
    """The layers of a cache that hold keys and values, by their numbers."""
    return [
        (number, layer)
        for number, layer in enumerate(cache.layers)
        if layer.keys is not None and layer.keys.numel()
    ]


def _holds_tokens(model: Any) -> bool:
    """Whether a model's cache is keys and values of tokens and nothing else, so that tokens can be forgotten."""
    layers = DynamicCache(config=model.config).layers
    return all(type(layer).__name__ in TOKEN_LAYERS for layer in layers)
