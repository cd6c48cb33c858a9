"""A causal model with its KV cache: read tokens in a row, read a tree of them at once, keep one path of it.

The nodes of a tree lie behind one another in a single sequence and share the prefix's KV; each sees the prefix, its
ancestors and itself alone. So memory grows with the nodes of a tree, never with branches x context.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from engine.models.cache_state import CacheState
from engine.models.capabilities import Capabilities
from engine.policies.tree import EMPTY, TokenTree

MOST_ROWS = 512  # of a text in one forward
WATCHED_LAYERS = 4  # whose outputs are a row's features, as in SpecBranch (arXiv 2506.01979)


class Sight(NamedTuple):
    """What each row of a forward sees: its first `prefixes` [row] slots and its `own` ones, the new one among them."""

    prefixes: Sequence[int]
    own: Sequence[Sequence[int]]

    def visible(self, slots: int) -> Tensor:
        """Bool [rows, slots]: whether a row sees a slot."""
        visible = torch.zeros((len(self.own), slots), dtype=torch.bool)
        for row, (prefix, own) in enumerate(zip(self.prefixes, self.own, strict=True)):
            visible[row, :prefix] = True
            visible[row, list(own)] = True
        return visible

    def mask(self, slots: int) -> Tensor:
        """Float32 [rows, slots]: 0 where a row sees a slot, and minus infinity where it does not."""
        return torch.zeros((len(self.own), slots)).masked_fill_(~self.visible(slots), float("-inf"))

    def before(self, row: int, slot: int) -> list[int]:
        """The slots that a row sees beside its own `slot`, in the order of their tokens."""
        return [*range(self.prefixes[row]), *(own for own in self.own[row] if own != slot)]

    def leading_line(self, start: int) -> int:
        """How many of the first rows, written from slot `start` on, just follow one another."""
        seen = enumerate(zip(self.prefixes, self.own, strict=True), start)
        return next(
            (slot - start for slot, (prefix, own) in seen if prefix != slot or list(own) != [slot]),
            len(self.own),
        )


class Decoder(Protocol):
    """A model over numbered cache slots.

    While `watch` is set, each forward leaves `features` [last, min(WATCHED_LAYERS, layers) * hidden size], in the
    model's dtype or in float32 where nothing rounded them, on its device: the outputs of the last layers behind one
    another, the very last one's behind the final norm, as in transformers' `hidden_states`; blocks that deepen a layer
    are no layers of their own. Otherwise `features` mean nothing and cost next to nothing. `capabilities` say what it
    cannot do.

    `kept_tokens` int64 [rows of the head] are the tokens that a cut head's rows score; None where rows are ids.
    """

    watch: bool
    features: Tensor
    capabilities: Capabilities

    @property
    def kept_tokens(self) -> Tensor | None: ...

    def forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        sight: Sight | None,
        last: int,
    ) -> Tensor:
        """Read n tokens into slots start ..; logits [last, rows of the head]. `sight` None: causal."""
        ...

    def move(self, slots: Sequence[int], start: int) -> None:
        """Copy the cache of `slots` to start, start + 1, ..."""
        ...

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything; a head that is cut scores the tokens of `prompt` too from here on."""
        ...

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size], in the model's dtype and on its device."""
        ...


class CachedModel:
    """A decoder and the state of its cache."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.clear()

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything read. A text that begins with `prompt` is to come: see `Decoder.clear`."""
        self.decoder.clear(prompt)
        self.cache = CacheState()
        kept = self.decoder.kept_tokens
        self._ids: list[int] | None = None if kept is None else kept.tolist()

    def rewind(self, context: Sequence[int], trusted: int = 0) -> tuple[int, ...]:
        """Drop what `context` does not continue; returns its tokens still to read (at least the last)."""
        rewound = self.cache.rewind(context, trusted)
        if rewound.slots:
            self.decoder.move(rewound.slots, rewound.start)
        return rewound.unread

    def read(self, tokens: Sequence[int], last: int | None = None, tree: TokenTree = EMPTY) -> Tensor:
        """Append `tokens` to the prefix and read `tree` behind them, in one forward.

        Float32 logits [last + n, rows]: of the last tokens (None: of all), then of the tree's n nodes. A chain becomes
        a part of the prefix; of another tree, the next rewind keeps the path that its context goes on with.
        """
        last = last or len(tokens)
        if tree.is_chain:
            if tree:
                tokens, last = (*tokens, *tree.tokens), last + len(tree)
            tokens = self._read_ahead(tokens, last)
            start = self.cache.slots
            logits = self.decoder.forward(tokens, range(start, start + len(tokens)), start, None, last)
            self.cache.read(tokens)
            return logits.float()
        tokens = self._read_ahead(tokens, last)
        start = self.cache.slots
        self.cache.read(tokens)
        own = self.cache.slots
        positions = [*range(start, own), *self.cache.read_nodes(tree.tokens, tree.parents)]
        sight = self._sight(start, own, len(tree))
        rows = (*tokens, *tree.tokens)
        return self.decoder.forward(rows, positions, start, sight, last + len(tree)).float()

    def _sight(self, start: int, end: int, nodes: int) -> Sight:
        """Of tokens in the slots from `start` to `end`, and of the last so many nodes.

        What a row sees of the slots that just follow the prefix is told as a longer prefix.
        """
        prefixes, own = list(range(start, end)), [[slot] for slot in range(start, end)]
        held = len(self.cache.tokens)
        for path in self.cache.paths[len(self.cache.paths) - nodes :]:
            along = 0
            while along < len(path) - 1 and path[along] == held + along:
                along += 1
            prefixes.append(held + along)
            own.append(path[along:])
        return Sight(prefixes, own)

    def _read_ahead(self, tokens: Sequence[int], last: int) -> Sequence[int]:
        """Read a long text in parts, for what its rows see of one another grows with its square.

        Returns what is left to read, the `last` tokens among it.
        """
        while len(tokens) > max(MOST_ROWS, last) and self.decoder.capabilities.rolls_back:
            part = tokens[: min(MOST_ROWS, len(tokens) - last)]
            start = self.cache.slots
            self.decoder.forward(part, range(start, start + len(part)), start, None, 1)
            self.cache.read(part)
            tokens = tokens[len(part) :]
        return tokens

    def read_nodes(self, tokens: Sequence[int], parents: Sequence[int]) -> Tensor:
        """Read one token behind each of some nodes of the tree behind the prefix; float32 logits [n, rows].

        `parents` [n]: numbers in the order in which the tree's nodes were read; -1: behind the prefix.
        """
        start, count = self.cache.slots, len(tokens)
        positions = self.cache.read_nodes(tokens, parents)
        sight = None if count == 1 and positions[0] == start else self._sight(start, start, count)
        return self.decoder.forward(tokens, positions, start, sight, count).float()

    def token_ids(self, rows: Sequence[int]) -> list[int]:
        """Token ids of rows of the head."""
        return list(rows) if self._ids is None else [self._ids[row] for row in rows]
