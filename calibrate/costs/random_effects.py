"""What several know of one thing, each in its own way and more or less well: random effects. Torch-free."""

import math

import numpy as np
from numpy.typing import NDArray

MEDIAN = math.pi / 2.0  # the variance of a median over that of a mean, of many normal values
Floats = NDArray[np.float64]


def towards_common(values: Floats, variances: Floats) -> Floats:
    """Each value nearer to that of all by how badly it is known, and by how alike they are; float64 [n].

    `variances`: of each as an estimate, above 0. What values differ beyond these is the variance between them, by the
    moments of DerSimonian and Laird (1986); each then is the mean of its own and the common one, weighted by both.
    Where they differ by no more than chance all are the common one; a single one is as it was.
    """
    weights = 1.0 / variances
    beyond = float((weights * np.square(values - np.average(values, weights=weights))).sum()) - (
        len(values) - 1
    )
    freedom = float(weights.sum() - np.square(weights).sum() / weights.sum())
    between = max(0.0, beyond / freedom) if len(values) > 1 else 0.0
    common = np.average(values, weights=1.0 / (variances + between))
    found: Floats = common + between / (between + variances) * (values - common)
    return found
