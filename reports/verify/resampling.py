"""The paired bootstrap over prompts: every figure of one record is resampled with the same prompts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.metrics import Estimate, between

RESAMPLES = 4000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """How much each prompt counts in each resample, [resamples, prompts], and the degrees of freedom."""

    weights: Floats
    freedom: int

    def __matmul__(self, values: Floats) -> Floats:
        """Sums of values by prompt, in each resample."""
        found: Floats = self.weights @ values
        return found

    @property
    def prompts(self) -> int:
        """How many there are."""
        return int(self.weights.shape[1])


def strata(kinds: Sequence[str]) -> tuple[list[str], int]:
    """The kinds within which texts were drawn, and the degrees of freedom; all are one where a kind has one text."""
    if min(Counter(kinds).values()) < 2:
        kinds = [""] * len(kinds)
    return list(kinds), len(kinds) - len(set(kinds))


def draw_prompts(kinds: Sequence[str], seed: int, resamples: int = RESAMPLES) -> Draws:
    """Resamples of prompts of these kinds.

    Prompts are chosen by kind, so many of each, and are drawn anew within each kind: that kinds differ is no chance.
    Of the n of a kind n - 1 are drawn, with replacement, and count n / (n - 1) times, or a few of a kind would vary
    too little (Rao and Wu 1988, Resampling inference with complex survey data).
    """
    rng = np.random.default_rng(seed)
    kinds, freedom = strata(kinds)
    drawn = np.zeros((resamples, len(kinds)))
    for kind, count in Counter(kinds).items():
        if count > 1:
            weights = rng.multinomial(count - 1, np.full(count, 1.0 / count), size=resamples)
            drawn[:, [k == kind for k in kinds]] = weights * (count / (count - 1))
    return Draws(drawn, freedom)


def ratio(above: Sequence[float], below: Sequence[float], draws: Draws) -> Estimate:
    """sum(above) / sum(below) over prompts, with its interval; `draws` as `draw_prompts` gives them."""
    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return between(a.sum() / b.sum(), (draws @ a) / (draws @ b) if len(a) > 1 else (), draws.freedom)
