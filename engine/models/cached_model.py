"""A causal model with its KV cache: read a line, read several branches at once, keep one of them.

Branches lie behind one another in a single sequence and share the prefix's KV; each sees the
prefix and its own tokens alone. So memory grows with branches x draft length, never with branches x context.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from engine.models.capabilities import Capabilities
from engine.models.ledger import Ledger

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
    """A decoder and the ledger of its cache."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.clear()

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything read. A text that begins with `prompt` is to come: see `Decoder.clear`."""
        self.decoder.clear(prompt)
        self.ledger = Ledger()
        kept = self.decoder.kept_tokens
        self._ids: list[int] | None = None if kept is None else kept.tolist()

    def rewind(self, context: Sequence[int], trusted: int = 0) -> tuple[int, ...]:
        """Drop what `context` does not continue; returns its tokens still to read (at least the last)."""
        rewound = self.ledger.rewind(context, trusted)
        if rewound.slots:
            self.decoder.move(rewound.slots, rewound.start)
        return rewound.unread

    def read(
        self, tokens: Sequence[int], last: int | None = None, beside: Sequence[tuple[int, int]] = ()
    ) -> Tensor:
        """Append `tokens` to the prefix; float32 logits [last, rows] of the last ones (None: of all).

        `beside`: tokens that are read in the same forward and forgotten, as (place in `tokens`, token): each sees what
        is before that place and itself. Their logits [len(beside), rows] are behind the others.
        """
        count, last = len(tokens), last or len(tokens)
        tokens = self._read_ahead(tokens, last)
        beside = [(place - count + len(tokens), token) for place, token in beside]
        start, count = self.ledger.slots, len(tokens)
        positions: Sequence[int] = range(start, start + count)
        if not beside:
            logits = self.decoder.forward(tokens, positions, start, None, last)
        else:
            positions = [*positions, *(start + place for place, _ in beside)]
            sight = Sight(positions, [[slot] for slot in range(start, start + len(positions))])
            rows = [*tokens, *(token for _, token in beside)]
            logits = self.decoder.forward(rows, positions, start, sight, last + len(beside))
        self.ledger.read(tokens)
        self.ledger.tokens_read += len(beside)
        return logits.float()

    def _read_ahead(self, tokens: Sequence[int], last: int) -> Sequence[int]:
        """Read a long text in parts, for what its rows see of one another grows with its square.

        Returns what is left to read, the `last` tokens among it.
        """
        while len(tokens) > max(MOST_ROWS, last) and self.decoder.capabilities.rolls_back:
            part = tokens[: min(MOST_ROWS, len(tokens) - last)]
            start = self.ledger.slots
            self.decoder.forward(part, range(start, start + len(part)), start, None, 1)
            self.ledger.read(part)
            tokens = tokens[len(part) :]
        return tokens

    def read_branches(self, tokens: Sequence[tuple[int, int]]) -> Tensor:
        """Append one token to each given branch, as (branch index, token); float32 logits [n, rows]."""
        start, prefix, count = self.ledger.slots, len(self.ledger.tokens), len(tokens)
        positions = self.ledger.read_branches(tokens)
        sight: Sight | None = None
        if count > 1 or start != positions[0]:
            sight = Sight([prefix] * count, [self.ledger.branches[branch][1] for branch, _ in tokens])
        return self.decoder.forward([token for _, token in tokens], positions, start, sight, count).float()

    def token_ids(self, rows: Sequence[int]) -> list[int]:
        """Token ids of rows of the head."""
        return list(rows) if self._ids is None else [self._ids[row] for row in rows]
