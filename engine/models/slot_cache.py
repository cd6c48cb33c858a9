"""A cache of transformers whose tokens lie in numbered slots: a forward writes to some and sees some, in its order."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

FIRST_SLOTS = 256  # that there is room for; twice as many whenever they do not suffice


class SlotCache(DynamicCache):
    """Keys and values by slot; `point` says what the next forward does with them.

    To the model it looks like a text of `before` tokens that the forward's own ones are added to.
    """

    layers: Any

    def __init__(self) -> None:
        super().__init__()
        make: Any = partial(SlotLayer, self)
        self.layer_class_to_replicate = make
        self.capacity = FIRST_SLOTS
        self.written = torch.empty(0, dtype=torch.int64)
        self.seen: slice | Tensor = slice(0)
        self.before = 0

    def reserve(self, slots: int) -> None:
        """Have room for so many."""
        while self.capacity < slots:
            self.capacity *= 2
        for layer in self.layers:
            layer.grow()

    def point(self, written: Tensor, seen: slice | Tensor, before: int) -> None:
        """The next forward's rows are `written` to these slots int64 [n], and see `seen`, int64 [before + n]."""
        self.written, self.seen, self.before = written, seen, before

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.before  # whether there are layers yet or not

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.before + query_length, 0

    def move(self, slots: Tensor, to: Tensor) -> None:
        """Copy `slots` to as many others."""
        for layer in self.layers:
            if layer.keys is not None:
                layer.keys[:, :, to] = layer.keys[:, :, slots]
                layer.values[:, :, to] = layer.values[:, :, slots]


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values [1, heads, slots, width] of one layer."""

    keys: Any
    values: Any

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.device, self.is_initialized = key_states.device, True
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.grow()
        self.keys.index_copy_(2, self.cache.written, key_states)
        self.values.index_copy_(2, self.cache.written, value_states)
        return self.keys[:, :, self.cache.seen], self.values[:, :, self.cache.seen]

    def grow(self) -> None:
        """Have as many slots as the cache, once there is anything in them."""
        if self.is_initialized and self.keys.shape[2] < self.cache.capacity:
            self.keys, self.values = (self._grown(held) for held in (self.keys, self.values))

    def _grown(self, held: Tensor) -> Tensor:
        batch, heads, slots, width = held.shape
        grown = held.new_zeros((batch, heads, self.cache.capacity, width))
        grown[:, :, :slots] = held
        return grown

    def get_seq_length(self) -> int:
        return self.cache.before
