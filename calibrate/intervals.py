"""How well a measured time is known."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

import numpy as np

from calibrate.cost_records import Cell
from engine.metrics import LEVEL, student


def half_width(visits: Sequence[Sequence[float]]) -> float:
    """Half of the 95% interval of a time, in seconds, by Student's t over the means of visits.

    Samples of one visit follow one another and share what the machine was doing, so a visit counts once. Infinite
    for fewer than two visits.
    """
    means = [fmean(samples) for samples in visits]
    if len(means) < 2:
        return float("inf")
    return student(len(means) - 1) * stdev(means) / math.sqrt(len(means))


def difference_half_width(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Half of the 95% interval of the difference of two times, in seconds, by Welch's t over the means of visits.

    Infinite for fewer than two visits of either.
    """
    from scipy.stats import ttest_ind  # here, since it takes half a second to import

    means = [[fmean(samples) for samples in visits] for visits in (one, other)]
    if min(map(len, means)) < 2:
        return float("inf")
    if not any(map(np.ptp, means)):
        return 0.0
    found = ttest_ind(*means, equal_var=False).confidence_interval(LEVEL)
    return float(found.high - found.low) / 2.0


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
