"""A causal model with its KV cache: read tokens in a row, read a tree of them at once, keep one path of it.

The nodes of a tree lie behind one another in a single sequence and share the prefix's KV; each sees the prefix, its
ancestors and itself alone. So memory grows with the nodes of a tree, never with branches x context.
"""

from array import array
from collections.abc import Hashable, Sequence
from typing import TypeVar

from torch import Tensor

from engine.models.cache_state import CacheState
from engine.models.capabilities import check_shares
from engine.models.decoder import Decoder
from engine.models.reader import LOGITS, Ask, Forwards, Found, Reader, Wanted
from engine.models.rows import WHOLE_CACHE, Rows, Visibility
from engine.models.slot_pool import SlotPool
from engine.policies.tree import EMPTY, TokenTree

T = TypeVar("T")


class SharedCache:
    """A decoder whose cache several texts share, each a `CachedModel`, in `size` slots."""

    def __init__(self, decoder: Decoder, size: int) -> None:
        """ConfigurationError if the decoder can only hold one text."""
        check_shares(decoder.capabilities)
        self.decoder, self.pool, self.reader = decoder, SlotPool(size), Reader(decoder)
        self._prompts: dict[Hashable, Sequence[int]] = {}
        self._stale = False  # whether the tokens that a cut head scores are to change before the next forward

    def hear(self, text: "CachedModel", prompt: Sequence[int] | None) -> None:
        """A text begins with `prompt`, or (None) there is no such text any more; `make_ready` takes it in."""
        if prompt is None:
            self._prompts.pop(text, None)
        else:
            self._prompts[text] = prompt
        self._stale = self.decoder.kept_tokens is not None

    def make_ready(self, asks: Sequence[Ask]) -> None:
        """Before each forward, and not while one is under way: have room for its rows, and the head for all texts."""
        self.decoder.watch = any([ask.watch for ask in asks])
        self.decoder.reserve(max([max(ask.rows.written) for ask in asks]) + 1)
        if self._stale:
            self._stale = False
            self.reader.hear(self._prompts)


class CachedModel:
    """A decoder and the state of one text in its cache, which may be `shared` with other texts.

    The slots of `cache` are places of the text: `slots` are those of the cache that they lie in, of which `room` are
    taken at once, so that they lie together.
    """

    def __init__(self, decoder: Decoder, shared: SharedCache | None = None, room: int = 0) -> None:
        self.decoder, self.shared, self.room = decoder, shared, room
        self.reader = Reader(decoder) if shared is None else shared.reader
        self.slots: range | array[int] = WHOLE_CACHE if shared is None else range(0)
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
        """What the last forward left of this text's rows."""
        return self.decoder.features if self.shared is None else self._features

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """See `Decoder`."""
        return self.decoder.embed(tokens)

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything read. A text that begins with `prompt` is to come: see `Decoder.clear`."""
        self.cache = CacheState()
        if self.shared is None:
            self.reader.hear({self: prompt})
            return
        self._give_back(self.shared)
        self.shared.hear(self, prompt)

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
            ask = next(forwards)
            while True:
                if self.shared is not None:
                    self.shared.make_ready((ask,))
                ask = forwards.send(self.reader.read((ask,))[0])
        except StopIteration as done:
            value: T = done.value
            return value

    def _forward(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        start: int,
        visibility: Visibility | None,
        last: int,
        wanted: Wanted,
    ) -> Forwards[Found]:
        """Ask for a forward of rows that are written to places `start`, ..., of which the `last` are looked at."""
        if self.shared is not None:
            self._own(self.shared, start + len(tokens))
        rows = Rows(tokens, positions, start, visibility, last, self.slots)
        found = yield Ask(self, rows, wanted, self.watch)
        self._features = found.features
        return found

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

    def rewind(self, context: Sequence[int], trusted: int = 0) -> tuple[int, ...]:
        """Drop what `context` does not continue; returns its tokens still to read (at least the last)."""
        rewound = self.cache.rewind(context, trusted)
        if rewound.slots:
            to = self.slots[rewound.start : rewound.start + len(rewound.slots)]
            self.decoder.move([self.slots[place] for place in rewound.slots], to)
        return rewound.unread

    def read(self, tokens: Sequence[int], last: int | None = None, tree: TokenTree = EMPTY) -> Tensor:
        """The logits of `read_by_forwards`, by forwards of this text alone."""
        return self.compute(self.read_by_forwards(tokens, last, tree)).logits

    def read_by_forwards(
        self,
        tokens: Sequence[int],
        last: int | None = None,
        tree: TokenTree = EMPTY,
        wanted: Wanted = LOGITS,
    ) -> Forwards[Found]:
        """Append `tokens` to the prefix and read `tree` behind them, in one forward.

        Finds what is `wanted` of last + n rows: of the last tokens (None: of all), then of the tree's n nodes. A chain
        becomes a part of the prefix; of another tree, the next rewind keeps the path that its context goes on with.
        """
        last, line = last or len(tokens), tree.is_chain
        if line and tree:
            tokens, last = (*tokens, *tree.tokens), last + len(tree)
        start = self.cache.slots
        own = start + len(tokens)
        if line:
            found = yield from self._forward(tokens, range(start, own), start, None, last, wanted)
            self.cache.read(tokens)
            return found
        self.cache.read(tokens)
        positions = [*range(start, own), *self.cache.read_nodes(tree.tokens, tree.parents)]
        visibility = self._visibility(start, own, len(tree))
        rows = (*tokens, *tree.tokens)
        return (yield from self._forward(rows, positions, start, visibility, last + len(tree), wanted))

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
        """The logits of `read_nodes_by_forwards`, by a forward of this text alone."""
        return self.compute(self.read_nodes_by_forwards(tokens, parents)).logits

    def read_nodes_by_forwards(
        self, tokens: Sequence[int], parents: Sequence[int], wanted: Wanted = LOGITS
    ) -> Forwards[Found]:
        """Read one token behind each of some nodes of the tree behind the prefix; finds what is `wanted` of each.

        `parents` [n]: numbers in the order in which the tree's nodes were read; -1: behind the prefix.
        """
        start, count = self.cache.slots, len(tokens)
        positions = self.cache.read_nodes(tokens, parents)
        visibility = None if count == 1 and positions[0] == start else self._visibility(start, start, count)
        return (yield from self._forward(tokens, positions, start, visibility, count, wanted))
