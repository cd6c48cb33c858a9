"""Scatter that many configurations have a part in knowing, where each one's own samples are few.

Two or three samples hardly tell a variance, and Student's t makes up for that with limits many times as wide as the
scatter. But configurations that were run on one machine scatter alike, as far as they tell themselves: the variance of
each is taken together with what all have, the more so the less they differ beyond chance (Smyth 2004, Linear models and
empirical Bayes methods for assessing differential expression, section 6.2: variances follow a scaled inverse chi-square
law whose two parameters are fitted to the logarithms of the samples' variances). What all have in common in a sample,
as in a slow quarter of an hour, no number of configurations tells more of: it keeps the samples' few degrees of
freedom, and the two parts are put together as variances of different sources are (Welch and Satterthwaite).
"""

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from reports.verify.criteria import Sampled, Sides
from reports.verify.resampling import Floats

FEWEST = 4  # configurations, below which nothing is said of how their variances differ
LEAST_OF_A_SAMPLE = 2.0  # degrees of freedom
LEAST_FREEDOM, MOST_FREEDOM = 1e-3, 1e6  # between which the law's degrees of freedom are looked for


def with_shared_scatter(sides: Sides) -> Sides:
    """Both sides of the same texts, their errors' scatter taken apart into what is common to all and each one's own.

    Good for limits of errors alone: which of the two sides it was that scattered is not kept. Sides of few
    configurations, of fewer than three samples (by which Welch's degrees of freedom are too many), or of errors that do
    not scatter are left as they are.
    """
    if len(sides.sources) != 1 or len(sides.errors) < FEWEST:
        return sides
    (source,) = sides.sources
    if source.freedom < LEAST_OF_A_SAMPLE:
        return sides
    each = source.predicted - source.measured
    common = np.broadcast_to(each.mean(axis=0), each.shape)
    count = len(each)
    apart = (each - common) * math.sqrt(count / (count - 1))
    own = (apart**2).sum(axis=1)
    if not own.all():
        return sides
    shared, worth = variance_law(own, source.freedom)
    moderated = (worth * shared + source.freedom * own) / (worth + source.freedom)
    # No more is known of any variance than all samples of all configurations tell.
    freedom = min(worth, source.freedom * (count - 2)) + source.freedom
    nothing = np.zeros_like(each)
    parts = (
        Sampled(common, nothing, source.freedom),
        Sampled(apart * np.sqrt(moderated / own)[:, None], nothing, freedom),
    )
    return replace(sides, sources=parts)


def variance_law(own: Floats, freedom: float) -> tuple[float, float]:
    """The variance about which true ones lie, and how many degrees of freedom that knowledge is worth.

    `own`: variances of samples, more than 0, each with `freedom` degrees.
    """
    logs = np.log(own) - digamma(freedom / 2.0) + math.log(freedom / 2.0)
    beyond_chance = float(logs.var(ddof=1) - polygamma(1, freedom / 2.0))
    low, high = (float(polygamma(1, f / 2.0)) for f in (MOST_FREEDOM, LEAST_FREEDOM))
    if beyond_chance <= low:
        worth = MOST_FREEDOM
    elif beyond_chance >= high:
        worth = LEAST_FREEDOM
    else:
        worth = brentq(lambda f: float(polygamma(1, f / 2.0)) - beyond_chance, LEAST_FREEDOM, MOST_FREEDOM)
    return math.exp(float(logs.mean() + digamma(worth / 2.0)) - math.log(worth / 2.0)), worth
