"""How much a target and a draft slow each other while both compute, by timings of both at once. Torch-free.

What timings tell is a *rate*: how much a model gets done while both compute, as a share of what it would alone,

    rate = 1 - (together - alone) / beside,

where *beside* is the time for which both computed; the slow-down is one over it. In rounds the longer of the two goes
on alone when the other is done, at its own speed, so of an expensive target's forward four steps of a small draft
cover a tenth: what the forward scatters by is more than all that the draft can do to it, and a rate of one pair of
operations may come to anything. So the rates of all pairs that were timed of one target and draft are brought towards
each other by how well each is known (`calibrate.costs.random_effects`), before they are inverted and cut.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibrate.cost_records import Together
from calibrate.costs.random_effects import MEDIAN, towards_common

MOST_SLOW = 8.0  # times as long, the most that two models are taken to slow each other
EACH = 0.5  # of a sample counts, as those of one visit share what the machine was doing
QUARTILES = 1.349  # of a normal distribution's standard deviation, from the first to the third
SLIGHT = 1e-6  # of a rate, which nobody notices

Floats = NDArray[np.float64]


def slow_downs(together: Sequence[Together]) -> list[tuple[float, float]]:
    """How many times as long the target and the draft take while both compute, for each pair of operations timed.

    Of one target and one draft; at least 1 and at most `MOST_SLOW`. Pairs of several sequences are apart.
    """
    found: dict[int, tuple[float, float]] = {}
    for several in (False, True):
        places = [place for place, one in enumerate(together) if (one.sequences > 1) is several]
        found |= zip(places, _brought_together([together[place] for place in places]), strict=True)
    return [found[place] for place in range(len(together))]


def _brought_together(together: Sequence[Together]) -> list[tuple[float, float]]:
    if not together:
        return []
    sides = [_sides(one) for one in together]
    found = []
    for mine, other in ((0, 1), (1, 0)):
        rates, variances = _rates([pair[mine] for pair in sides], [pair[other] for pair in sides], together)
        found.append(1.0 / np.clip(towards_common(rates, variances), 1.0 / MOST_SLOW, 1.0))
    return [(float(target), float(draft)) for target, draft in zip(*found, strict=True)]


def _sides(one: Together) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Seconds of the target's forward alone and together, and of the draft's steps of a round."""
    steps = max(1, one.steps)
    return (
        (np.array(one.target_alone), np.array(one.target_together)),
        (steps * np.array(one.draft_alone), steps * np.array(one.draft_together)),
    )


def _rates(
    mine: Sequence[tuple[Floats, Floats]],
    others: Sequence[tuple[Floats, Floats]],
    together: Sequence[Together],
) -> tuple[Floats, Floats]:
    """One model's rates, by medians, and their variances as estimates; float64 [pairs]."""
    scatter = _scatter([samples for pair in mine for samples in pair])
    rates, variances = [], []
    for (alone, beside), (_, other), one in zip(mine, others, together, strict=True):
        apart, both = float(np.median(alone)), float(np.median(beside))
        # In rounds the longer one goes on alone when the other is done; without, neither ever paused.
        shared = min(both, float(np.median(other)) if one.steps else math.inf)
        rates.append(1.0 - (both - apart) / shared)
        of_medians = apart**2 / len(alone) + both**2 / len(beside)
        variances.append(max(SLIGHT**2, MEDIAN / EACH * scatter**2 * of_medians / shared**2))
    return np.array(rates), np.array(variances)


def _scatter(some: Sequence[Floats]) -> float:
    """By how much samples scatter around their medians, as a share: by quartiles, since some are interrupted."""
    around = np.concatenate([samples / np.median(samples) - 1.0 for samples in some])
    low, high = np.percentile(around, [25, 75])
    return float(high - low) / QUARTILES
