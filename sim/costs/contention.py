"""How much two models slow each other while both compute, by what each of them does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibrate.cost_records import Together
from calibrate.costs.slow_downs import slow_downs

ANY = 1 << 40  # wider than any work


@dataclass(frozen=True)
class Contention:
    """How many times as long the target and the draft take, at least 1 each.

    `measured`: (tokens of the target's forward, branches of the draft's step, slow-down of the target, of the draft);
    with none, neither slows the other. A forward of few tokens mostly moves weights, for which both contend, and one of
    many mostly computes. So the two of a pair matter to both; and beyond the widest that were measured, such as in a
    prompt's forward, what it takes longer stays what it is, and becomes a smaller share of it.
    """

    measured: tuple[tuple[int, int, float, float], ...] = ()

    @classmethod
    def stated(cls, target: float, draft: float) -> "Contention":
        """The same whatever the models do."""
        return cls() if target == draft == 1.0 else cls(((ANY, ANY, target, draft),))

    @classmethod
    def of(cls, together: Sequence[Together]) -> "Contention":
        """By pairs of operations that were measured at once."""
        found = zip(together, slow_downs(together), strict=True)
        return cls(tuple((one.target_tokens, one.branches, *both) for one, both in found))

    @cached_property
    def none(self) -> bool:
        """Whether neither ever slows the other."""
        return all(slow == 1.0 for _, _, *both in self.measured for slow in both)

    def slow_downs(self, tokens: int, branches: int) -> tuple[float, float]:
        """Of the target and of the draft: linear between those measured, beyond them in inverse proportion."""
        if not self.measured:
            return 1.0, 1.0
        counts = sorted({n for n, *_ in self.measured})
        target, draft = zip(*(self._by_branches(n, branches) for n in counts), strict=True)
        share = min(1.0, counts[-1] / tokens) * min(1.0, max(b for _, b, *_ in self.measured) / branches)
        found = (float(np.interp(tokens, counts, slow)) for slow in (target, draft))
        return next(found) * share + 1.0 - share, next(found) * share + 1.0 - share

    def _by_branches(self, tokens: int, branches: int) -> tuple[float, float]:
        row = sorted((b, target, draft) for n, b, target, draft in self.measured if n == tokens)
        counts, target, draft = zip(*row, strict=True)
        return float(np.interp(branches, counts, target)), float(np.interp(branches, counts, draft))


FREE = Contention()
