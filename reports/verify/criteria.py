"""What a verification's prompts decide of its predictions: limits of each criterion, on the scale of true errors.

The true error of a configuration is that over all texts of these kinds, not over the few that were run. Measured errors
scatter around it, and sizes of scattered errors are too large (the size of an error of 0 is never 0), so a median of
sizes is no measure of the median error. Each configuration's error has limits of its own instead, by Student's t on
the logarithm, for which a ratio of sums is linearised (Cochran 1977, Sampling Techniques, 6.4 and 6.10), prompts being
drawn within kinds; "at least k of n lie within" is then tested as a partial conjunction of the n tests (Benjamini and
Heller 2008, Screening for partial conjunction hypotheses), combined by Simes' rule: of the n - k + 1 largest p-values
the i-th smallest counts (n - k + 1) / i times, and the least of these is the p-value. So where all n are small, none is
multiplied. The rule holds where tests depend on each other positively, as these do: a slow minute of the machine falls
on all configurations. That a size is within a bound is shown by equivalence tests (Schuirmann 1987).

Simes' rule asks that single configurations are known well. Many that are known less well tell as much together: the
k-th size of n is at most the mean of the sizes from the k-th on, and a mean's scatter is a small part of each one's. So
a mean's limit holds as well, and the lesser of the two counts. The mean has most of the error to spend, as it is
what decides unless a few errors are many times as large as the rest.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from engine.metrics import Estimate
from reports.verify.looks import Decision
from reports.verify.resampling import Floats, strata
from reports.verify.tolerance import Tolerance

DRAWS = 2000  # of the normal law by which rank correlations scatter
CRITERIA = 4  # that prompts decide, among which the chance of a wrong FAIL is divided
APART = 0.2  # of the error that Simes' rule spends, and the mean of sizes the rest
MOST_LOG = 100.0  # of a ratio, as good as infinite

Level = Callable[[float], float]  # the level of a test at this look, given a divisor of the whole error


@dataclass(frozen=True)
class Sampled:
    """Texts that were drawn, and what each adds to the logarithms of tokens/s: [configurations, texts].

    Rows are scaled so that the sum of their products over texts is the covariance. `freedom`: degrees of it. `more`:
    whether more prompts would make it smaller.
    """

    predicted: Floats
    measured: Floats
    freedom: float
    more: bool = True

    def scaled(self, factor: float) -> "Sampled":
        """As `factor` times as many texts would be, had they the spread of these."""
        if not self.more:
            return self
        root = math.sqrt(factor)
        return Sampled(self.predicted / root, self.measured / root, self.freedom * factor)


@dataclass(frozen=True)
class Sides:
    """Logarithms of predicted and measured tokens/s, each [configurations], and how the texts let them vary."""

    predicted: Floats
    measured: Floats
    sources: tuple[Sampled, ...]

    @property
    def errors(self) -> Floats:
        """Logarithms of predicted over measured."""
        return self.predicted - self.measured

    @property
    def known(self) -> bool:
        """Whether the scatter is known: one text says nothing of others."""
        return all(source.freedom >= 1.0 for source in self.sources)

    def scaled(self, factor: float) -> "Sides":
        """With `factor` times as many prompts of this spread."""
        return replace(self, sources=tuple(source.scaled(factor) for source in self.sources))

    def scatter(self, predicted: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """Standard errors of linear forms, and their degrees of freedom (Welch and Satterthwaite).

        Each row of `predicted` and of `measured` [forms, configurations] weighs that side's logarithms.
        """
        parts = [
            (((predicted @ s.predicted + measured @ s.measured) ** 2).sum(axis=1), s.freedom)
            for s in self.sources
        ]
        total: Floats = np.sum([variance for variance, _ in parts], axis=0)
        spread = np.sum([variance**2 / freedom for variance, freedom in parts], axis=0)
        least = min(freedom for _, freedom in parts)
        freedom: Floats = np.where(spread > 0.0, total**2 / np.where(spread > 0.0, spread, 1.0), least)
        return np.sqrt(total), freedom

    def estimates(self, level: float = 0.05) -> list[Estimate]:
        """Each configuration's relative error, with its interval."""
        every = np.eye(len(self.errors))
        values = np.expm1(self.errors)
        if not self.known:
            return [Estimate(float(value), math.nan, math.nan) for value in values]
        error, freedom = self.scatter(every, -every)
        width = error * -stdtrit(freedom, level / 2.0)
        ends = np.expm1(self.errors - width), np.expm1(self.errors + width)
        return [Estimate(*map(float, row)) for row in zip(values, *ends, strict=True)]


@dataclass(frozen=True)
class Finding:
    """A criterion: the figure as measured, limits of the true one, and its bound; `least`: it is to be that or more."""

    name: str
    figure: Estimate
    bound: float
    least: bool = False

    @property
    def outcome(self) -> Decision:
        """Decided where the limits are on one side."""
        low, high = self.figure.low, self.figure.high
        if self.least:
            return "held" if low >= self.bound else "broken" if high < self.bound else "undecided"
        return "held" if high <= self.bound else "broken" if low > self.bound else "undecided"


def influences(tokens: Floats, seconds: Floats, kinds: Sequence[str]) -> tuple[Floats, float]:
    """What each text adds to the logarithm of sum(tokens) / sum(seconds), as `Sampled` has it, and the freedom.

    `tokens` and `seconds` are [configurations, texts], texts of these kinds (`strata`).
    """
    within, freedom = strata(kinds)
    named = np.array(within)
    found: Floats = tokens / tokens.sum(axis=1, keepdims=True) - seconds / seconds.sum(axis=1, keepdims=True)
    for kind in np.unique(named):
        mine = named == kind
        count = int(mine.sum())
        if count > 1:
            middle = found[:, mine].mean(axis=1, keepdims=True)
            found[:, mine] = (found[:, mine] - middle) * math.sqrt(count / (count - 1))
    return found, float(freedom)


def log_speeds(tokens: Floats, seconds: Floats) -> Floats:
    """Logarithms of tokens/s over all texts."""
    found: Floats = np.log(tokens.sum(axis=1) / seconds.sum(axis=1))
    return found


def paired(predicted: tuple[Floats, Floats], measured: tuple[Floats, Floats]) -> Sides:
    """Both sides on the same texts; each side is tokens and seconds [configurations, texts].

    Kinds of texts are not told apart: what the same texts leave is timing, and few prompts of many kinds would leave it
    hardly a degree of freedom.
    """
    kinds = [""] * predicted[0].shape[1]
    mine, freedom = influences(*predicted, kinds)
    theirs, _ = influences(*measured, kinds)
    return Sides(log_speeds(*predicted), log_speeds(*measured), (Sampled(mine, theirs, freedom),))


def unpaired(
    predicted: tuple[Floats, Floats],
    own: Sequence[str],
    measured: tuple[Floats, Floats],
    kinds: Sequence[str],
) -> Sides:
    """Either side on texts of its own; `own`: the kinds of the prediction's."""
    mine, freedom = influences(*predicted, own)
    theirs, free = influences(*measured, kinds)
    sources = (
        Sampled(mine, np.zeros_like(mine), freedom, more=False),
        Sampled(np.zeros_like(theirs), theirs, free),
    )
    return Sides(log_speeds(*predicted), log_speeds(*measured), sources)


def fixed(predicted: Floats, measured: tuple[Floats, Floats], kinds: Sequence[str]) -> Sides:
    """Predicted tokens/s of whose sampling nothing is known (older records)."""
    theirs, freedom = influences(*measured, kinds)
    return Sides(np.log(predicted), log_speeds(*measured), (Sampled(np.zeros_like(theirs), theirs, freedom),))


def findings(sides: Sides, chosen: int, tolerance: Tolerance, level: Level, seed: int) -> tuple[Finding, ...]:
    """The four criteria that prompts decide; `chosen`: the place of the chosen configuration.

    PASS takes all of them, so each may be called held with the whole error of the look; broken takes one, so each may
    be called that with its part.
    """
    return (
        median_error(sides, tolerance.median_error, level),
        tail_error(sides, tolerance.tail_error, level),
        Finding("rank correlation", _order(sides, level, seed), tolerance.tau, least=True),
        Finding("regret", _regret(sides, chosen, level), tolerance.regret),
    )


def median_error(sides: Sides, bound: float, level: Level) -> Finding:
    """Whether half of the configurations keep to a size."""
    errors = np.abs(np.expm1(sides.errors))
    size = _size(sides, len(errors) // 2 + 1, float(np.median(errors)), level)
    return Finding("median error", size, bound)


def tail_error(sides: Sides, bound: float, level: Level) -> Finding:
    """Whether nine in ten of the configurations keep to a size."""
    errors = np.abs(np.expm1(sides.errors))
    size = _size(sides, math.ceil(0.9 * len(errors)), float(ninth_in_ten(errors)), level)
    return Finding("nine in ten", size, bound)


def _size(sides: Sides, place: int, value: float, level: Level) -> Estimate:
    """The size that `place` of all configurations keep to, with limits."""
    if not sides.known:
        return Estimate(value, math.nan, math.nan)
    count = len(sides.errors)
    every = np.eye(count)
    error, freedom = sides.scatter(every, -every)

    def limits(of: float) -> tuple[Floats, Floats]:
        width = error * -stdtrit(freedom, of)
        return _share(sides.errors - width), _share(sides.errors + width)

    def sizes_within(of: float) -> Floats:
        low, high = limits(of)
        return np.sort(np.maximum(np.abs(low), np.abs(high)))

    def sizes_beyond(of: float) -> Floats:
        low, high = limits(of)
        return np.sort(np.maximum(0.0, np.maximum(low, -high)))

    # Simes' rule for "so many lie within", whose tests that count are those of the others and of the last of them.
    others = count - place + 1
    apart = min(sizes_within(level(others / i / APART))[place - 2 + i] for i in range(1, others + 1))
    most = min(apart, mean_of_largest(sides, others, level(1.0 / (1.0 - APART))))
    # For "more than the others lie beyond"; on either side, hence the 2.
    least = max(sizes_beyond(level(2.0 * CRITERIA * place / i))[place - i] for i in range(1, place + 1))
    return Estimate(value, float(least), float(most))


def mean_of_largest(sides: Sides, count: int, of: float) -> float:
    """The limit, of level `of`, of the mean of the `count` largest sizes.

    It is the largest limit that a mean of any so many errors has, with any signs: which errors are the largest and what
    signs they truly have is not known where errors are no larger than their scatter, and a slow minute that falls on
    all counts most where all are alike. A limit is convex in the weights of the mean, and so grows with each step to
    those that are best along its slope. Steps begin at the errors as they were measured, at all of one sign, and at
    what each text did to them.
    """
    errors = np.expm1(sides.errors)
    rows = (
        np.hstack([source.predicted - source.measured for source in sides.sources]) * (1.0 + errors)[:, None]
    )
    far = 2.0 * np.abs(errors).max()  # so that all have one sign
    starts = np.column_stack([errors, errors + far, errors - far, rows, -rows])
    return max(_climb(sides, errors, rows, slope, count, of) for slope in starts.T)


def _climb(sides: Sides, errors: Floats, rows: Floats, slope: Floats, count: int, of: float) -> float:
    """The largest limit that steps reach from this slope; `rows`: by which `errors` scatter."""
    highest = -math.inf
    while True:
        chosen = np.argsort(np.abs(slope))[-count:]
        form = np.zeros(len(errors))
        form[chosen] = np.copysign(1.0 / count, slope[chosen])
        scatter, freedom = sides.scatter(*(side[None] * (1.0 + errors) for side in (form, -form)))
        reach = -float(stdtrit(freedom[0], of))
        limit = float(form @ errors) + reach * float(scatter[0])
        if limit <= highest or not scatter[0]:
            return max(highest, limit)
        highest, slope = limit, errors + reach * (rows @ (rows.T @ form)) / scatter[0]


def _share(logarithm: Floats) -> Floats:
    """A logarithm of a ratio as what the ratio is more than 1; of few prompts, limits may be beyond any number."""
    return np.expm1(np.minimum(logarithm, MOST_LOG))


def _regret(sides: Sides, chosen: int, level: Level) -> Estimate:
    """What the chosen configuration lacks of the fastest, with limits.

    It lacks no more than a bound if it does not of any other (an intersection-union test, Berger 1982), and more if it
    does of one of them.
    """
    behind = -np.expm1(sides.measured[chosen] - sides.measured)
    value = max(0.0, float(behind.max()))
    rivals = [c for c in range(len(behind)) if c != chosen]
    if not sides.known:
        return Estimate(value, math.nan, math.nan)
    if not rivals:
        return Estimate(0.0, 0.0, 0.0)
    contrasts = (np.eye(len(behind))[chosen] - np.eye(len(behind)))[rivals]
    gaps = contrasts @ sides.measured
    error, freedom = sides.scatter(np.zeros_like(contrasts), contrasts)
    most = -_share(gaps + error * stdtrit(freedom, level(1.0)))
    least = -_share(gaps - error * stdtrit(freedom, level(float(CRITERIA * len(rivals)))))
    return Estimate(value, max(0.0, float(least.max())), max(0.0, float(most.max())))


def _order(sides: Sides, level: Level, seed: int) -> Estimate:
    """Kendall's tau with limits.

    The lower one is a quantile of the tau of both sides, drawn anew by their joint law: noise breaks up an order, and
    so draws lie below the figure as the figure does below the truth. The upper one, which noise may not decide, counts
    the pairs that are shown to be in the other order, as a partial conjunction of all pairs.
    """
    value = float(kendall_tau(sides.predicted, sides.measured[None])[0])
    count = len(sides.predicted)
    if not sides.known or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    predicted, measured = (np.tile(side, (DRAWS, 1)) for side in (sides.predicted, sides.measured))
    for source in sides.sources:
        noise = rng.standard_normal((DRAWS, source.predicted.shape[1]))
        noise *= np.sqrt(source.freedom / rng.chisquare(source.freedom, (DRAWS, 1)))  # Student's t
        predicted += noise @ source.predicted.T
        measured += noise @ source.measured.T
    drawn = np.sort(np.nan_to_num(kendall_tau(predicted, measured), nan=-1.0))
    below = math.floor(level(1.0) * DRAWS)
    low = float(drawn[below - 1]) if below >= 1 else -1.0
    above, beneath = np.triu_indices(count, k=1)
    pairs = np.eye(count)[above] - np.eye(count)[beneath]
    nothing = np.zeros_like(pairs)
    chances = []
    for side, weights in ((sides.predicted, (pairs, nothing)), (sides.measured, (nothing, pairs))):
        error, freedom = sides.scatter(*weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(pairs @ side) / error
        chances.append(np.where(np.isnan(apart), 1.0, stdtr(freedom, -np.nan_to_num(apart, posinf=np.inf))))
    against = np.sign(pairs @ sides.predicted) * np.sign(pairs @ sides.measured) < 0
    chance = np.sort(np.where(against, 2.0 * np.maximum(*chances), 1.0))
    total = len(chance)
    shown = 0
    while shown < total and chance[shown] <= level(float(CRITERIA * (total - shown))):
        shown += 1
    return Estimate(value, low, 1.0 - 2.0 * shown / total)


def kendall_tau(predicted: Floats, measured: Floats) -> Floats:
    """Kendall's tau-b of the rows of `predicted` and `measured` [..., n]; NaN where a side has no order at all."""
    above, below = np.triu_indices(predicted.shape[-1], k=1)
    expected = np.sign(predicted[..., above] - predicted[..., below])
    found = np.sign(measured[..., above] - measured[..., below])
    with np.errstate(invalid="ignore"):
        tau: Floats = (found * expected).sum(axis=-1) / np.sqrt(
            (expected**2).sum(axis=-1) * (found**2).sum(axis=-1)
        )
    return tau


def ninth_in_ten(errors: Floats) -> Floats:
    """The least size within which nine in ten of each row's errors lie."""
    bound: Floats = np.quantile(np.abs(errors), 0.9, axis=-1, method="inverted_cdf")
    return bound
