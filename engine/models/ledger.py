"""Which tokens a KV cache holds, and in which slots; torch-free, so that the simulator keeps the same books.

A cache holds a *prefix* in slots 0, 1, ... and behind it the tokens of branches in the order they were read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rewound:
    """What a rewind leaves: branch `slots` to move to `start`, and the context's tokens still to read."""

    start: int
    slots: tuple[int, ...]
    unread: tuple[int, ...]


@dataclass(slots=True)
class Ledger:
    """`tokens` are the prefix; `branches` are (tokens, slots) of each branch; `slots` are in use in all.

    `tokens_read` counts every token that went through the model.
    """

    tokens: list[int] = field(default_factory=list)
    branches: list[tuple[list[int], list[int]]] = field(default_factory=list)
    slots: int = 0
    tokens_read: int = 0

    def rewind(self, context: Sequence[int], trusted: int = 0) -> Rewound:
        """Keep what `context` continues and forget the rest; at least the last token is left to read.

        The first `trusted` tokens are known to agree and are not compared.
        """
        held, usable = len(self.tokens), len(context) - 1
        start = _agree(self.tokens, context, 0, min(trusted, held, usable), usable)
        moved: tuple[int, ...] = ()
        if start == held:
            ends = [_agree(tokens, context, start, start, usable) for tokens, _ in self.branches]
            end = max(ends, default=start)
            if end > start:
                tokens, slots = self.branches[ends.index(end)]
                self.tokens.extend(tokens[: end - start])
                if slots[end - start - 1] != end - 1:  # else they lie in place already
                    moved = tuple(slots[: end - start])
        else:
            del self.tokens[start:]
        self.branches, self.slots = [], len(self.tokens)
        return Rewound(start, moved, tuple(context[len(self.tokens) :]))

    def read(self, tokens: Sequence[int]) -> None:
        """Note that `tokens` were read behind the prefix."""
        self.tokens.extend(tokens)
        self.slots = len(self.tokens)
        self.tokens_read += len(tokens)

    def forget(self, count: int) -> None:
        """Drop the prefix's last `count` tokens; there must be no branches."""
        del self.tokens[len(self.tokens) - count :]
        self.slots = len(self.tokens)

    def read_branches(self, tokens: Sequence[tuple[int, int]]) -> list[int]:
        """Note one token more on each given branch, as (branch, token); returns their positions."""
        positions = []
        for row, (branch, token) in enumerate(tokens):
            while branch >= len(self.branches):
                self.branches.append(([], []))
            written, slots = self.branches[branch]
            positions.append(len(self.tokens) + len(written))
            written.append(token)
            slots.append(self.slots + row)
        self.slots += len(tokens)
        self.tokens_read += len(tokens)
        return positions


def _agree(tokens: Sequence[int], context: Sequence[int], offset: int, known: int, usable: int) -> int:
    """Up to where `context` holds `tokens`, which begin at `offset`: at least `known`, at most `usable`."""
    end = min(offset + len(tokens), usable)
    while known < end and tokens[known - offset] == context[known]:
        known += 1
    return known
