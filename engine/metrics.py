"""Metrics of runs, real or simulated, from their records; defined in docs/design.md, "Words"."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from engine.record import Run

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

LEVEL = 0.95  # of every interval


class Timed(Protocol):
    """A text and the seconds that it took, whoever wrote it."""

    @property
    def tokens(self) -> Sequence[int]: ...

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval over texts (NaN bounds for a single text)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """Ratios of sums over runs. Rates and shares lie in 0..1; `tokens_per_second` counts the prompt's reading.

    `target_busy` and `draft_busy` are the models' shares of the time; the idle shares are those of the device
    each one runs on, which is the same one where they take turns. `hand_over` is the share of the time in which
    neither model computes: messages and policy. `limit` is the tokens/s if the target never waited.
    `first_token_seconds` is a mean.
    """

    tokens: int
    tokens_per_second: float
    mean_accepted_length: float
    rollback_tokens: int
    rollback_rate: float
    hedge_tokens: int
    hedge_rate: float
    target_busy: float
    draft_busy: float
    target_idle: float
    draft_idle: float
    first_token_seconds: float
    hand_over: float
    limit: float


def measure(runs: Sequence[Run]) -> Metrics:
    """Metrics over all `runs` (at least one, not empty)."""
    rounds = [r for run in runs for r in run.rounds]
    seconds = sum(run.seconds for run in runs)
    tokens = sum(r.emitted for r in rounds)
    drafted = sum(r.drafted for r in rounds)
    hedge = sum(r.hedge for r in rounds)
    rollback = sum(r.rollback for r in rounds)
    followed = drafted - hedge
    target = sum(run.busy("target") for run in runs) / seconds
    draft = sum(run.busy("draft") for run in runs) / seconds
    shared = any(run.shared for run in runs)
    return Metrics(
        tokens=tokens,
        tokens_per_second=tokens / seconds,
        mean_accepted_length=tokens / len(rounds),
        rollback_tokens=rollback,
        rollback_rate=rollback / followed if followed else 0.0,
        hedge_tokens=hedge,
        hedge_rate=hedge / drafted if drafted else 0.0,
        target_busy=target,
        draft_busy=draft,
        target_idle=1.0 - target - (draft if shared else 0.0),
        draft_idle=1.0 - draft - (target if shared else 0.0),
        first_token_seconds=sum(run.first_token_seconds for run in runs) / len(runs),
        hand_over=1.0 - sum(run.computing() for run in runs) / seconds,
        limit=tokens / (target * seconds),
    )


@cache
def student(freedom: float) -> float:
    """How many standard errors the 95% interval reaches to either side, by Student's t; NaN without any freedom."""
    from scipy.special import stdtrit

    return float(-stdtrit(freedom, (1.0 - LEVEL) / 2.0)) if freedom > 0 else float("nan")


def between(value: float, resampled: "ArrayLike", freedom: float) -> Estimate:
    """A figure with the 95% interval of its resamples, of so many degrees of freedom.

    Its ends are the 2.5th and 97.5th percentile, as far again from the figure as Student's t reaches beyond the normal
    law: percentiles alone take the spread that few texts show for the true one (Hesterberg 2015, What teachers should
    know about the bootstrap, section 3). Without an interval where a resample is undefined.
    """
    import numpy as np

    drawn = np.asarray(resampled, dtype=float)
    if not len(drawn) or not np.isfinite(drawn).all() or freedom <= 0:
        return Estimate(float(value), float("nan"), float("nan"))
    tail = 50.0 * (1.0 - LEVEL)
    wider = student(freedom) / student(float("inf"))
    low, high = (value + wider * (end - value) for end in np.percentile(drawn, [tail, 100.0 - tail]))
    return Estimate(float(value), float(low), float(high))


def ratio_of_sums(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """sum(above) / sum(below) over pairs, with its 95% interval by the delta method and Student's t (NaN for one).

    On the scale of logarithms: of what is not negative, no interval ends below zero, however few the pairs.
    """
    import numpy as np

    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    ratio = float(a.sum() / b.sum())
    if len(a) < 2:
        return Estimate(ratio, float("nan"), float("nan"))
    error = float((a - ratio * b).std(ddof=1)) / (float(b.mean()) * len(a) ** 0.5)
    reach = student(len(a) - 1) * error / ratio if ratio else 0.0
    return Estimate(ratio, ratio * math.exp(-reach), ratio * math.exp(reach))


def speed(runs: Sequence[Timed], texts: Sequence[int] | None = None) -> Estimate:
    """Tokens/s over all runs, and its 95% interval over texts.

    `texts` names the text of each run, where some were run more than once; none: each run is a text of its own.
    """
    return ratio_of_sums(
        by_text([len(run.tokens) for run in runs], texts), by_text([run.seconds for run in runs], texts)
    )


def speed_up(
    runs: Sequence[Timed], baseline: Sequence[Timed], texts: Sequence[int] | None = None
) -> Estimate:
    """Speed-up over `baseline` and its 95% interval over texts; both ran the same prompts in the same order.

    The baseline's seconds are those for as many tokens, should the two texts differ in length.
    """
    theirs = as_many_tokens(baseline, runs)
    return ratio_of_sums(by_text(theirs, texts), by_text([run.seconds for run in runs], texts))


def as_many_tokens(baseline: Sequence[Timed], runs: Sequence[Timed]) -> list[float]:
    """The seconds of each run of `baseline`, for as many tokens as its counterpart in `runs` wrote."""
    return [b.seconds * len(r.tokens) / len(b.tokens) for r, b in zip(runs, baseline, strict=True)]


def by_text(values: Sequence[float], texts: Sequence[int] | None) -> list[float]:
    """Sums of the values of each text, in the order in which the texts first come; none: a text a value."""
    if texts is None:
        return list(values)
    sums: dict[int, float] = {}
    for text, value in zip(texts, values, strict=True):
        sums[text] = sums.get(text, 0.0) + value
    return list(sums.values())
