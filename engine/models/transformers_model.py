"""The general path: any causal model of transformers as a decoder over slots (`engine.models.decoder.Decoder`)."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from engine.errors import SpecBranchError
from engine.models.capabilities import Capabilities, position_limit
from engine.models.decoder import WATCHED_LAYERS
from engine.models.rows import Rows, arranged, joined, row_count, spans
from engine.models.slot_cache import SlotCache
from engine.models.slot_masks import SlotView, follow_views, heeds_views
from engine.models.slot_masks import seen as slots_seen

# Layers of a cache that hold a key and a value for each token, or nothing of their own.
TOKEN_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer")
CACHE_NAMES = ("cache", "past_key_values", "cache_params")  # of a forward's argument, newest first


class TransformersModel:
    """A transformers model and its cache.

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
        self.kept_tokens, self.kept_rows = None, 0
        self._positions: NDArray[np.int64] = np.zeros(0, np.int64)  # by slot
        self._tokens = 0  # of the only text, where no slots hold it
        self.clear()

    @torch.inference_mode()
    def forward(self, batch: Sequence[Rows]) -> Tensor:
        """Logits [wanted, vocabulary]; PyTorch may add up in another order where several texts are read."""
        if not self.capabilities.rolls_back:
            found = [self._read_on(rows) for rows in batch]
        elif len(batch) == 1 and batch[0].visibility is None:
            found = [self._read_line(batch[0])]
        elif self.capabilities.trees:
            found = [self._read_masked(arranged(batch))]
        else:
            found = [self._read_apart(rows) for rows in batch]
        logits, self.features = (
            parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*found, strict=True)
        )
        return logits

    def _read_on(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The next rows of the only text, whose state no slots hold."""
        if rows.start != self._tokens or rows.visibility is not None or rows.offset != 0:
            raise SpecBranchError("a recurrent state cannot be rolled back.")
        self._tokens = rows.end
        return self._read(rows.tokens, rows.positions, rows.last)

    def _read_line(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Rows that follow one another behind a text, which look like a plain one wherever their slots are."""
        self._point(joined([rows]), self._held(rows), rows.start)
        return self._read(rows.tokens, rows.positions, rows.last)

    def _read_masked(self, batch: Sequence[Rows]) -> tuple[Tensor, Tensor]:
        """All rows in one forward over the slots of their texts, by a mask."""
        columns = np.concatenate([rows.held() for rows in batch])
        count, numbers, device = row_count(batch), joined(batch), self.model.device
        visible = np.zeros((count, len(columns)), np.bool_)
        end = 0
        for rows, mine in spans(batch):
            visible[mine, end : end + rows.end] = rows.visible()
            end += rows.end
        start = len(columns) - count
        seen = self._held(batch[0]) if len(batch) == 1 else torch.from_numpy(columns).to(device)
        self._point(numbers, seen, start)
        at = (torch.from_numpy(part).to(device) for part in (numbers[1], self._positions[columns], visible))
        with slots_seen(SlotView(start, *at)):
            tokens, positions = numbers[:2].tolist()
            return self._read(tokens, positions, sum(rows.last for rows in batch))

    def _read_apart(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """A line first, then each other row by a forward of its own, which sees a plain text that ends with it.

        So it is right for whatever a model's attention does with places.
        """
        if rows.visibility is None:
            return self._read_line(rows)
        line = rows.visibility.leading_line(rows.start)
        read = [self._read_line(replace(rows.part(0, line), visibility=None, last=line))] if line else []
        for row in range(line, len(rows)):
            places = [*rows.visibility.before(row, rows.start + row), rows.start + row]
            seen = torch.tensor([rows.slots[place] for place in places], device=self.model.device)
            one = rows.part(row, row + 1)
            self._point(joined([one]), seen, len(places) - 1)
            read.append(self._read(one.tokens, one.positions, 1))
        logits, features = (torch.cat(parts)[len(rows) - rows.last :] for parts in zip(*read, strict=True))
        return logits, features

    def _held(self, rows: Rows) -> slice | Tensor:
        """The slots of a text's places, which are a view where it is contiguous."""
        if (offset := rows.offset) is not None:
            return slice(offset, offset + rows.end)
        return torch.from_numpy(rows.held()).to(self.model.device)

    def _point(self, numbers: NDArray[np.int64], seen: slice | Tensor, before: int) -> None:
        """Say where the next forward writes and what it sees; `numbers` as of `engine.models.rows.joined`."""
        self.reserve(int(numbers[2].max()) + 1)
        self.cache.point(torch.from_numpy(numbers[2]).to(self.model.device), seen, before)
        self._positions[numbers[2]] = numbers[1]

    def _read(self, tokens: Sequence[int], positions: Sequence[int], last: int) -> tuple[Tensor, Tensor]:
        """One forward; logits and features of the last rows."""
        device, kept = self.model.device, max(1, last)
        options: dict[str, Any] = {self._cache_name: self.cache}
        if self._takes_positions:
            # What is drafted beyond the last position is never part of a text, so any position will do for it.
            most = self.capabilities.positions or max(positions) + 1
            options["position_ids"] = torch.tensor([[min(p, most - 1) for p in positions]], device=device)
        output = self.model(
            input_ids=torch.tensor([list(tokens)], device=device),
            use_cache=True,
            logits_to_keep=kept,
            output_hidden_states=self.watch,
            **options,
        )
        features = torch.empty(last, 0)
        if self.watch:
            # The first of them is the embedding's, which is no layer's.
            states = output.hidden_states[self.blocks :: self.blocks][-WATCHED_LAYERS:]
            features = torch.cat([state[0, len(tokens) - last :] for state in states], dim=-1)
        return output.logits[0, kept - last :, : self.vocabulary], features

    def reserve(self, slots: int) -> None:
        """Have room for so many slots."""
        if isinstance(self.cache, SlotCache):
            self.cache.reserve(slots)
            self._positions = np.pad(self._positions, (0, self.cache.capacity - len(self._positions)))

    @torch.inference_mode()
    def move(self, slots: Sequence[int], to: Sequence[int]) -> None:
        """Copy `slots` to as many others."""
        self._positions[list(to)] = self._positions[list(slots)]
        self.cache.move(*(torch.tensor(ids, device=self.model.device) for ids in (slots, to)))

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size]."""
        rows: Tensor = self.model.get_input_embeddings()(torch.tensor(list(tokens), device=self.model.device))
        return rows

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything."""
        # A window's own cache would drop tokens that a rollback needs again; a recurrent state needs its own.
        self.cache: Any = (
            SlotCache() if self.capabilities.rolls_back else DynamicCache(config=self.model.config)
        )
        self._positions = np.zeros(0, np.int64)
        self._tokens = 0


def _holds_tokens(model: Any) -> bool:
    """Whether a model's cache is keys and values of tokens and nothing else, so that tokens can be forgotten."""
    layers = DynamicCache(config=model.config).layers
    return all(type(layer).__name__ in TOKEN_LAYERS for layer in layers)
