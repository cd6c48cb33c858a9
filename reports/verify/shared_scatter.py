"""Scatter that many configurations have a part in knowing, where each one's own samples are few.

A few samples hardly tell a variance, and Student's t makes up for that with limits many times as wide as the
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
LEAST_DEGREES = 2.0  # of freedom of the samples: of fewer, Welch's approximation makes too many
CAUTION = 1.0  # standard errors by which variances are taken to differ more than they do
LEAST_FREEDOM, MOST_FREEDOM = 1e-3, 1e6  # between which the law's degrees of freedom are looked for


def with_shared_scatter(sides: Sides) -> Sides:
    """Both sides of the same texts, their errors' scatter taken apart into what is common to all and each one's own.

    Good for limits of errors alone: which of the two sides it was that scattered is not kept. Sides of few
    configurations, of fewer than three samples, or of errors that do not scatter are left as they are.
    """
    if len(sides.sources) != 1 or len(sides.errors) < FEWEST:
        return sides
    (source,) = sides.sources
    if source.freedom < LEAST_DEGREES:
        return sides
    each = source.predicted - source.measured
    common = np.broadcast_to(each.mean(axis=0), each.shape)
    count = len(each)
    own = ((each - common) ** 2).sum(axis=1) * count / (count - 1)
    if not own.all():
        return sides
    shared, worth = variance_law(own, source.freedom, CAUTION)
    moderated = (worth * shared + source.freedom * own) / (worth + source.freedom)
    # No more is known of any variance than all samples of all configurations tell.
    freedom = min(worth, source.freedom * (count - 2)) + source.freedom
    # A few samples cannot tell how what is each one's own goes together with others': it is taken not to.
    alone = np.diag(np.sqrt(moderated))
    parts = (
        Sampled(common, np.zeros_like(common), source.freedom),
        Sampled(alone, np.zeros_like(alone), freedom),
    )
    return replace(sides, sources=parts)


def variance_law(own: Floats, freedom: float, caution: float = 0.0) -> tuple[float, float]:
    """The variance about which true ones lie, and how many degrees of freedom that knowledge is worth.

    `own`: variances of samples, more than 0, each with `freedom` degrees. `caution`: by how many standard errors of
    their logarithms' spread they are taken to differ more than they do; a few dozen seldom show that they differ.
    """
    logs = np.log(own) - digamma(freedom / 2.0) + math.log(freedom / 2.0)
    chance, fourth = (
        float(polygamma(order, freedom / 2.0)) for order in (1, 3)
    )  # cumulants of such logarithms
    unknown = math.sqrt(2.0 * chance**2 / (len(own) - 1) + fourth / len(own))
    beyond_chance = float(logs.var(ddof=1)) - chance + caution * unknown
    low, high = (float(polygamma(1, f / 2.0)) for f in (MOST_FREEDOM, LEAST_FREEDOM))
    if beyond_chance <= low:
        worth = MOST_FREEDOM
    elif beyond_chance >= high:
        worth = LEAST_FREEDOM
    else:
        worth = brentq(lambda f: float(polygamma(1, f / 2.0)) - beyond_chance, LEAST_FREEDOM, MOST_FREEDOM)
    return math.exp(float(logs.mean() + digamma(worth / 2.0)) - math.log(worth / 2.0)), worth
