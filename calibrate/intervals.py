"""How well a measured time is known."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev, variance

from scipy.special import stdtrit  # scipy.stats takes half a second more to import

from calibrate.artifact import Cell

LEVEL = 0.95


def half_width(visits: Sequence[Sequence[float]]) -> float:
    """Half of the 95% interval of a time, in seconds, by Student's t over the means of visits.

    Samples of one visit follow one another and share what the machine was doing, so a visit counts once. Infinite
    for fewer than two visits.
    """
    means = [fmean(samples) for samples in visits]
    if len(means) < 2:
        return float("inf")
    quantile = float(stdtrit(len(means) - 1, 0.5 + LEVEL / 2.0))
    return quantile * stdev(means) / math.sqrt(len(means))


def difference_half_width(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Half of the 95% interval of the difference of two times, in seconds, by Welch's t over the means of visits.

    Infinite for fewer than two visits of either.
    """
    means = [[fmean(samples) for samples in visits] for visits in (one, other)]
    if min(map(len, means)) < 2:
        return float("inf")
    errors = [variance(some) / len(some) for some in means]
    total = sum(errors)
    if not total:
        return 0.0
    freedom = total**2 / sum(error**2 / (len(some) - 1) for error, some in zip(errors, means, strict=True))
    return float(stdtrit(freedom, 0.5 + LEVEL / 2.0)) * math.sqrt(total)


def visits_of(cell: Cell) -> list[tuple[float, ...]]:
    """A cell's samples by visit; every sample is a visit of its own where none were noted."""
    found, begin = [], 0
    for count in cell.visits or (1,) * len(cell.seconds):
        found.append(cell.seconds[begin : begin + count])
        begin += count
    return found


def uncertainty(cell: Cell) -> float:
    """Half of the 95% interval of a cell's time as a share of its median; infinite where it is not known."""
    middle = median(cell.seconds)
    return half_width(visits_of(cell)) / middle if middle > 0.0 else float("inf")
