"""The paired bootstrap over prompts: every figure of one record is resampled with the same prompts."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.metrics import Estimate

RESAMPLES = 4000
LEVEL = 0.95

Floats = NDArray[np.float64]


def draw_prompts(kinds: Sequence[str], seed: int, resamples: int = RESAMPLES) -> Floats:
    """How much each prompt, of these kinds, counts in each resample: [resamples, prompts].

    Prompts are chosen by kind, so many of each, and are drawn anew within each kind: that kinds differ is no chance.
    Of the n of a kind n - 1 are drawn, with replacement, and count n / (n - 1) times, or a few of a kind would vary
    too little (Rao and Wu 1988, Resampling inference with complex survey data). All are one kind where some kind has
    but one prompt.
    """
    rng = np.random.default_rng(seed)
    counts = Counter(kinds)
    if min(counts.values()) < 2:
        counts = Counter({"": len(kinds)})
        kinds = [""] * len(kinds)
    drawn = np.zeros((resamples, len(kinds)))
    for kind, count in counts.items():
        if count > 1:
            weights = rng.multinomial(count - 1, np.full(count, 1.0 / count), size=resamples)
            drawn[:, [k == kind for k in kinds]] = weights * (count / (count - 1))
    return drawn


def between(value: float, resampled: ArrayLike) -> Estimate:
    """A figure with the 2.5th and 97.5th percentile of its resamples; without an interval where one is undefined."""
    drawn = np.asarray(resampled, dtype=float)
    if not len(drawn) or not np.isfinite(drawn).all():
        return Estimate(float(value), float("nan"), float("nan"))
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    return Estimate(float(value), float(low), float(high))


def ratio(above: Sequence[float], below: Sequence[float], draws: Floats) -> Estimate:
    """sum(above) / sum(below) over prompts, with its interval; `draws` as `draw_prompts` gives them."""
    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return between(a.sum() / b.sum(), (draws @ a) / (draws @ b) if len(a) > 1 else ())


def statistic(of: Callable[[Floats], ArrayLike], values: Floats, resampled: Floats) -> Estimate:
    """A figure of the numbers `values` [n], with its interval from `resampled` [resamples, n]; `of` takes [..., n]."""
    return between(float(np.asarray(of(values))), of(resampled) if len(resampled) else ())
