"""Metrics of runs, from their rounds; definitions in docs/design.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from sim.world import SimulatedRun


@dataclass(frozen=True)
class Metrics:
    """Ratios of sums over runs. Rates and shares lie in 0..1; `tokens_per_second` in tokens/s."""

    tokens: int
    tokens_per_second: float
    mean_accepted_length: float
    rollback_rate: float
    hedge_rate: float
    target_idle: float
    draft_idle: float


def measure(runs: Sequence[SimulatedRun]) -> Metrics:
    """Metrics over all `runs` (at least one, not empty)."""
    rounds = [r for run in runs for r in run.rounds]
    seconds = sum(run.seconds for run in runs)
    tokens = sum(r.emitted for r in rounds)
    drafted = sum(r.drafted for r in rounds)
    hedge = sum(r.hedge for r in rounds)
    followed = drafted - hedge
    return Metrics(
        tokens=tokens,
        tokens_per_second=tokens / seconds,
        mean_accepted_length=tokens / len(rounds),
        rollback_rate=sum(r.rollback for r in rounds) / followed if followed else 0.0,
        hedge_rate=hedge / drafted if drafted else 0.0,
        target_idle=1.0 - sum(run.target_busy for run in runs) / seconds,
        draft_idle=1.0 - sum(run.draft_busy for run in runs) / seconds,
    )


def speed_up(
    runs: Sequence[SimulatedRun], baseline: Sequence[SimulatedRun]
) -> tuple[float, tuple[float, float]]:
    """Ratio of tokens/s and its 95% interval over paths, by the delta method for paired ratios of sums.

    Both sequences run the same paths in the same order. The interval is NaN for fewer than two paths.
    """
    import numpy as np

    mine = np.array([run.seconds for run in runs])
    theirs = np.array([run.seconds for run in baseline])
    ratio = float(theirs.sum() / mine.sum())
    if len(runs) < 2:
        return ratio, (float("nan"), float("nan"))
    residual = theirs - ratio * mine
    error = float(residual.std(ddof=1)) / (float(mine.mean()) * len(runs) ** 0.5)
    return ratio, (ratio - 1.96 * error, ratio + 1.96 * error)
