"""A causal model with its KV cache: read tokens in a row, read a tree of them at once, keep one path of it.

The nodes of a tree lie behind one another in a single sequence and share the prefix's KV; each sees the prefix, its
ancestors and itself alone. So memory grows with the nodes of a tree, never with branches x context.
"""

from array import array
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from engine.models.cache_state import CacheState
from engine.models.capabilities import Capabilities, check_shares
from engine.models.rows import WHOLE_CACHE, Rows, Visibility
from engine.models.slot_pool import SlotPool
from engine.policies.tree import EMPTY, TokenTree

T = TypeVar("T")

MOST_ROWS = 512  # of a text in one forward
WATCHED_LAYERS = 4  # whose outputs are a row's features, as in SpecBranch (arXiv 2506.01979)


class Decoder(Protocol):
    """A model over numbered cache slots.

    While `watch` is set, each forward leaves `features` [last, min(WATCHED_LAYERS, layers) * hidden size], in the
    model's dtype or in float32 where nothing rounded them, on its device: the outputs of the last layers behind one
    another, the very last one's behind the final norm, as in transformers' `hidden_states`; blocks that deepen a layer
    are no layers of their own. Otherwise `features` mean nothing and cost next to nothing. `capabilities` say what it
    cannot do.

    `kept_tokens` int64 [rows of the head] are the tokens that a cut head's rows score, of which the first `kept_rows`
    are always there, the others for a prompt; None where rows are ids.
    """

    watch: bool
    features: Tensor
    capabilities: Capabilities

    @property
    def kept_tokens(self) -> Tensor | None: ...

    @property
    def kept_rows(self) -> int: ...

    def forward(self, batch: Sequence[Rows]) -> Tensor:
        """Read rows of one or more texts; logits [wanted, rows of the head] of those that are wanted, in their order.

        What a row gets does not depend on the other texts, but for sums in another order where the decoder says so.
        """
        ...

    def reserve(self, slots: int) -> None:
        """Have room for so many slots; a forward that writes further makes room itself."""
        ...

    def move(self, slots: Sequence[int], to: Sequence[int]) -> None:
        """Copy the cache of `slots` to as many others."""
        ...

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything; a head that is cut scores the tokens of `prompt` too from here on."""
        ...

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size], in the model's dtype and on its device."""
        ...


Forwards = Generator[Rows, Tensor, T]
"""Work that asks for forwards by their rows, and is sent the logits of each."""


def read_ahead(decoder: Decoder, rows: Rows) -> Rows:
    """Read a long text's first rows in parts, for what its rows see of one another grows with its square.

    Returns what is left to read, with all rows whose logits are wanted.
    """
    first, count = 0, len(rows)
    while count - first > max(MOST_ROWS, rows.last) and decoder.capabilities.rolls_back:
        end = min(first + MOST_ROWS, count - rows.last)
        decoder.forward((replace(rows.part(first, end), last=1),))
        first = end
    return rows.part(first, count) if first else rows


class SharedCache:
    """A decoder whose cache several texts share, each a `CachedModel`, in `size` slots."""

    def __init__(self, decoder: Decoder, size: int) -> None:
        """ConfigurationError if the decoder can only hold one text."""
        check_shares(decoder.capabilities)
        self.decoder, self.pool = decoder, SlotPool(size)
        self._prompts: dict[CachedModel, Sequence[int]] = {}
        self.heard = 0  # how often the tokens that a cut head scores have changed
        self._stale = False  # whether they are to change before the next forward

    def hear(self, text: "CachedModel", prompt: Sequence[int] | None) -> None:
        """A text begins with `prompt`, or (None) there is no such text any more; `make_ready` takes it in."""
        if prompt is None:
            self._prompts.pop(text, None)
        else:
            self._prompts[text] = prompt
        self._stale = self.decoder.kept_tokens is not None

    def make_ready(self, batch: Sequence[Rows]) -> None:
        """Before each forward, and not while one is under way: have room for its rows, and the head for all texts.

        A cut head has room for so many tokens of all prompts as for those of one (`engine.models.cut_head.ROOM`).
        """
        self.decoder.reserve(max([max(rows.written) for rows in batch]) + 1)
        if self._stale:
            self._stale = False
            self.decoder.clear([token for known in self._prompts.values() for token in known])
            self.heard += 1


class CachedModel:
    """A decoder and the state of one text in its cache, which may be `shared` with other texts.

    The slots of `cache` are places of the text: `slots` are those of the cache that they lie in, of which `room` are
    taken at once, so that they lie together. `largest`: of the last forward's rows that are wanted, where the largest
    logit of each is, where whoever ran it has looked.
    """

    def __init__(self, decoder: Decoder, shared: SharedCache | None = None, room: int = 0) -> None:
        self.decoder, self.shared, self.room = decoder, shared, room
        self.slots: range | array[int] = WHOLE_CACHE if shared is None else range(0)
        self.largest: list[int] | None = None
        self._watch, self._features = False, decoder.features
        self.clear()

    @property
    def watch(self) -> bool:
        """Whether forwards leave the features of this text's rows (`Decoder`)."""
        return self.decoder.watch if self.shared is None else self._watch

    @watch.setter
    def watch(self, on: bool) -> None:
        if self.shared is None:
            self.decoder.watch = on
        self._watch = on

    @property
    def features(self) -> Tensor:
        """What the last forward left of this text's rows; of texts that share a cache, who runs it says so."""
        return self.decoder.features if self.shared is None else self._features

    @features.setter
    def features(self, found: Tensor) -> None:
        self._features = found

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """See `Decoder`."""
        return self.decoder.embed(tokens)

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything read. A text that begins with `prompt` is to come: see `Decoder.clear`."""
        self.cache = CacheState()
        if self.shared is None:
            self.decoder.clear(prompt)
            kept = self.decoder.kept_tokens
            self._ids: list[int] | None = None if kept is None else kept.tolist()
            return
        self._give_back(self.shared)
        self.shared.hear(self, prompt)
        self._prompt, self._heard = prompt, -1

    def leave(self) -> None:
        """Give all slots of a shared cache back; `clear` begins anew."""
        if self.shared is not None:
            self._give_back(self.shared)
            self.shared.hear(self, None)

    def _give_back(self, shared: SharedCache) -> None:
        shared.pool.give_back(self.slots)
        self.slots = range(0)

    def compute(self, forwards: Forwards[T]) -> T:
        """Do work by forwards of this text alone."""
        try:
            rows = next(forwards)
            while True:
                rows = forwards.send(self._logits(rows))
        except StopIteration as done:
            value: T = done.value
            return value

    def _logits(self, rows: Rows) -> Tensor:
        if self.shared is not None:
            self.shared.make_ready((rows,))
        return self.decoder.forward((read_ahead(self.decoder, rows),))

    def _forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        visibility: Visibility | None,
        last: int,
    ) -> Forwards[Tensor]:
        """Ask for a forward of rows that are written to places `start`, ...; logits [last, rows of the head]."""
        if self.shared is not None:
            self._own(self.shared, start + len(tokens))
        logits = yield Rows(tokens, positions, start, visibility, last, self.slots)
        if self.shared is None:
            return logits
        kept = self.decoder.kept_tokens
        if kept is None:
            self._ids = None
            return logits
        return self._mine(self.shared, kept, logits)

    def _own(self, shared: SharedCache, places: int) -> None:
        """Take as many slots as there are to be places."""
        if places <= len(self.slots):
            return
        missing = max(places, self.room) - len(self.slots)
        taken = shared.pool.take(missing)
        slots = self.slots or range(taken[0], taken[0])
        if isinstance(slots, array):
            slots.extend(taken)
        elif taken == list(range(slots.stop, slots.stop + missing)):
            self.slots = range(slots.start, slots.stop + missing)
        else:
            self.slots = array("q", [*slots, *taken])

    @torch.inference_mode()
    def _mine(self, shared: SharedCache, kept: Tensor, logits: Tensor) -> Tensor:
        """Logits without what a cut head, of `kept` tokens, only scores for other texts; changed in place."""
        if self._heard != shared.heard:
            self._heard, self._ids = shared.heard, kept.tolist()
            own, always = set(self._prompt), self.decoder.kept_rows
            others = [row for row, token in enumerate(self._ids[always:], always) if token not in own]
            self._others = torch.tensor(others, dtype=torch.int64, device=kept.device)
        return logits.index_fill_(1, self._others, float("-inf"))

    def rewind(self, context: Sequence[int], trusted: int = 0) -> tuple[int, ...]:
        """Drop what `context` does not continue; returns its tokens still to read (at least the last)."""
        rewound = self.cache.rewind(context, trusted)
        if rewound.slots:
            to = self.slots[rewound.start : rewound.start + len(rewound.slots)]
            self.decoder.move([self.slots[place] for place in rewound.slots], to)
        return rewound.unread

    def read(self, tokens: Sequence[int], last: int | None = None, tree: TokenTree = EMPTY) -> Tensor:
        """As `read_by_forwards`, by forwards of this text alone."""
        return self.compute(self.read_by_forwards(tokens, last, tree))

    def read_by_forwards(
        self, tokens: Sequence[int], last: int | None = None, tree: TokenTree = EMPTY
    ) -> Forwards[Tensor]:
        """Append `tokens` to the prefix and read `tree` behind them, in one forward.

        Float32 logits [last + n, rows]: of the last tokens (None: of all), then of the tree's n nodes. A chain becomes
        a part of the prefix; of another tree, the next rewind keeps the path that its context goes on with.
        """
        last, line = last or len(tokens), tree.is_chain
        if line and tree:
            tokens, last = (*tokens, *tree.tokens), last + len(tree)
        start = self.cache.slots
        own = start + len(tokens)
        if line:
            logits = yield from self._forward(tokens, range(start, own), start, None, last)
            self.cache.read(tokens)
            return logits.float()
        self.cache.read(tokens)
        positions = [*range(start, own), *self.cache.read_nodes(tree.tokens, tree.parents)]
        visibility = self._visibility(start, own, len(tree))
        rows = (*tokens, *tree.tokens)
        logits = yield from self._forward(rows, positions, start, visibility, last + len(tree))
        return logits.float()

    def _visibility(self, start: int, end: int, nodes: int) -> Visibility:
        """Of tokens in the slots from `start` to `end`, and of the last so many nodes.

        What a row sees of the slots that just follow the prefix is told as a longer prefix.
        """
        prefixes, own = [*range(start, end)], [[slot] for slot in range(start, end)]
        held = len(self.cache.tokens)
        for path in self.cache.paths[len(self.cache.paths) - nodes :]:
            above = len(path) - 1
            along = above if path[above] == held + above else 0  # all of it lies in place
            while along < above and path[along] == held + along:
                along += 1
            prefixes.append(held + along)
            own.append(path[along:])
        return Visibility(prefixes, own)

    def read_nodes(self, tokens: Sequence[int], parents: Sequence[int]) -> Tensor:
        """As `read_nodes_by_forwards`, by a forward of this text alone."""
        return self.compute(self.read_nodes_by_forwards(tokens, parents))

    def read_nodes_by_forwards(self, tokens: Sequence[int], parents: Sequence[int]) -> Forwards[Tensor]:
        """Read one token behind each of some nodes of the tree behind the prefix; float32 logits [n, rows].

        `parents` [n]: numbers in the order in which the tree's nodes were read; -1: behind the prefix.
        """
        start, count = self.cache.slots, len(tokens)
        positions = self.cache.read_nodes(tokens, parents)
        visibility = None if count == 1 and positions[0] == start else self._visibility(start, start, count)
        logits = yield from self._forward(tokens, positions, start, visibility, count)
        return logits.float()

    def token_ids(self, rows: Sequence[int]) -> list[int]:
        """Token ids of rows of the head."""
        return list(rows) if self._ids is None else [self._ids[row] for row in rows]
