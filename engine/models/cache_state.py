"""Which tokens a KV cache holds, and in which slots; torch-free, so that a simulated cache can be held against it.

A cache holds a *prefix* in slots 0, 1, ... and behind it a tree of tokens, in the order they were read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rewound:
    """What a rewind leaves: `slots` of a path to move to `start` and on, and the context's tokens still to read."""

    start: int
    slots: tuple[int, ...]
    unread: tuple[int, ...]


@dataclass(slots=True)
class CacheState:
    """`tokens` are the prefix; `nodes` and `parents` those of the tree, as `engine.policies.tree.TokenTree` has them.

    `paths`: of each node, the slots from the prefix's end down to its own, which is the last of them. `tokens_read`
    counts every token that went through the model.
    """

    tokens: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    tokens_read: int = 0

    @property
    def slots(self) -> int:
        """How many slots are in use."""
        return len(self.tokens) + len(self.nodes)

    def rewind(self, context: Sequence[int], trusted: int = 0) -> Rewound:
        """Keep what `context` continues and forget the rest; at least the last token is left to read.

        The first `trusted` tokens are known to agree and are not compared.
        """
        held, usable = len(self.tokens), len(context) - 1
        end = min(held, usable)
        start = min(trusted, end)
        while start < end and self.tokens[start] == context[start]:
            start += 1
        moved: tuple[int, ...] = ()
        if start < held:
            del self.tokens[start:]
        elif path := self._longest(context, usable):
            self.tokens.extend(context[start : start + len(path)])
            if path[-1] != start + len(path) - 1:  # else they lie in place already
                moved = tuple(path)
        self.nodes, self.parents, self.paths = [], [], []
        return Rewound(start, moved, tuple(context[len(self.tokens) :]))

    def _longest(self, context: Sequence[int], usable: int) -> list[int]:
        """The slots of the longest path of the tree that `context` goes on with behind the prefix."""
        held, agree = len(self.tokens), set[int]()
        best: list[int] = []
        for node, (token, parent, path) in enumerate(zip(self.nodes, self.parents, self.paths, strict=True)):
            place = held + len(path) - 1
            if (parent < 0 or parent in agree) and place < usable and context[place] == token:
                agree.add(node)
                if len(path) > len(best):
                    best = path
        return best

    def read(self, tokens: Sequence[int]) -> None:
        """Note that `tokens` were read behind the prefix; there must be no tree."""
        self.tokens.extend(tokens)
        self.tokens_read += len(tokens)

    def forget(self, count: int) -> None:
        """Drop the prefix's last `count` tokens; there must be no tree."""
        del self.tokens[len(self.tokens) - count :]

    def read_nodes(self, tokens: Sequence[int], parents: Sequence[int]) -> list[int]:
        """Note nodes read behind the prefix or, by number, behind earlier ones; returns their positions."""
        held, paths, positions = len(self.tokens), self.paths, []
        for slot, parent in enumerate(parents, self.slots):
            above = paths[parent] if parent >= 0 else []
            positions.append(held + len(above))
            paths.append([*above, slot])
        self.nodes += tokens
        self.parents += parents
        self.tokens_read += len(tokens)
        return positions
