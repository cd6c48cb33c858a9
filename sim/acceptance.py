"""Where simulated tokens come from: at each position, how the draft ranks the target's token."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class AcceptanceSource(Protocol):
    """A target path of `length` tokens and the draft's candidates along it."""

    @property
    def length(self) -> int: ...

    def truth(self, position: int) -> int:
        """The target's token at a position."""
        ...

    def candidates(self, position: int, count: int, on_path: bool) -> tuple[tuple[int, float], ...]:
        """The draft's best `count` (token, probability); `on_path`: all tokens before it are the target's."""
        ...


@dataclass(frozen=True)
class IndependentAcceptance:
    """Independent positions: the draft's candidate of rank j is token j, and the target's token is a rank.

    `rank[i]` is 0 with probability `acceptance`; past it each further candidate takes the share
    `acceptance` of what is left, so k candidates hold the target's token with probability
    1 - (1 - acceptance)^k. Draws are attached to positions, so that configurations share them.
    """

    length: int
    acceptance: float
    rank: NDArray[np.int64]

    @classmethod
    def draw(cls, length: int, acceptance: float, seed: int) -> "IndependentAcceptance":
        """A path of `length` tokens from `seed`."""
        rng = np.random.default_rng(seed)
        if acceptance <= 0.0:
            return cls(length, acceptance, np.full(length, np.iinfo(np.int64).max))
        return cls(length, acceptance, rng.geometric(acceptance, size=length).astype(np.int64) - 1)

    def truth(self, position: int) -> int:
        return int(self.rank[position]) if position < self.length else 0

    def candidates(self, position: int, count: int, on_path: bool) -> tuple[tuple[int, float], ...]:
        return tuple((j, self.acceptance * (1.0 - self.acceptance) ** j) for j in range(count))
