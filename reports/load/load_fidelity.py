"""Whether predictions of served requests held: sizes of their errors, with limits, and regret. Torch-free.

A verification of loads asks one question: is the model right, given the machine's speed meanwhile? Both sides have the
same texts, so each sample of the requests is a pair, and limits are those of `reports.verify.criteria`, with samples
in the place of prompts. They are few, so how much they scatter is told by all loads and configurations together
(`reports.verify.shared_scatter`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from engine.metrics import Estimate
from engine.naming import in_words
from engine.runtime.workload import Arrivals
from engine.service_metrics import FIGURES
from reports.load.verifying import ComparedLoad
from reports.verify.check import Check
from reports.verify.criteria import Finding, Sides, median_error, paired, tail_error
from reports.verify.fidelity import Word
from reports.verify.looks import ERROR
from reports.verify.shared_scatter import with_shared_scatter
from reports.verify.steadiness import steadiness_of
from reports.verify.tolerance import Tolerance
from scenarios.served import Batching
from sim.sweeps.served_outcome import gain, objective_at


class Bound(NamedTuple):
    """What is asked of a figure's errors: of half of them, if anything, and of nine in ten."""

    figure: str
    name: str
    median: float | None
    tail: float


BOUNDS = (
    Bound("tokens_per_second", "tokens/s", 0.05, 0.12),
    Bound("token_median", "time per token, median", 0.05, 0.12),
    Bound("first_token_p95", "first token, 95th percentile", None, 0.15),
)


@dataclass(frozen=True)
class LoadCheck:
    """A criterion: which figure's errors, and what was found of them."""

    figure: str
    finding: Finding


@dataclass(frozen=True)
class Regret:
    """What the configuration that is predicted to be the best at a load lacks of the best measured one, as a share."""

    load: str
    chosen: str
    fastest: str
    lacks: Estimate


@dataclass(frozen=True)
class LoadFidelity:
    """All criteria, the verdict on them, and the regret at each load; `steadiness`: of the machine."""

    verdict: Word
    steadiness: Check
    checks: tuple[LoadCheck, ...]
    regrets: tuple[Regret, ...]


def judge_loads(compared: Sequence[ComparedLoad], reference: Sequence[float] = ()) -> LoadFidelity:
    """TOO NOISY TO TELL on an unsteady machine, else FAIL for a criterion that is broken, else TOO NOISY TO TELL for
    one that is open, else PASS. `reference`: seconds of the reference operation, in the order timed."""
    waited = [one.waited for one in compared if one.waited is not None]
    steady = steadiness_of(fmean(waited) if waited else 0.0, reference, Tolerance())
    checks: list[LoadCheck] = []
    for bound in BOUNDS:
        sides = _sides(compared, bound.figure)
        if bound.median is not None:
            checks.append(LoadCheck(bound.name, median_error(sides, bound.median, _level)))
        checks.append(LoadCheck(bound.name, tail_error(sides, bound.tail, _level)))
    outcomes = {steady.outcome} if steady.outcome != "held" else {check.finding.outcome for check in checks}
    verdict: Word = (
        "FAIL" if "broken" in outcomes else "TOO NOISY TO TELL" if "undecided" in outcomes else "PASS"
    )
    return LoadFidelity(verdict, steady, tuple(checks), tuple(_regrets(compared)))


def _level(parts: float) -> float:
    return ERROR / parts


def _sides(compared: Sequence[ComparedLoad], figure: str) -> Sides:
    """A figure on both sides, by load and configuration, and sample."""
    of = FIGURES[figure]
    predicted, measured = (
        np.array([[of(m) for m in getattr(one, side).samples] for one in compared])
        for side in ("predicted", "measured")
    )
    return with_shared_scatter(
        paired((predicted, np.ones_like(predicted)), (measured, np.ones_like(measured)))
    )


def _regrets(compared: Sequence[ComparedLoad]) -> list[Regret]:
    by_load: dict[tuple[Batching, Arrivals], list[ComparedLoad]] = {}
    for one in compared:
        by_load.setdefault((one.measured.batching, one.measured.arrivals), []).append(one)
    return [_regret(here, arrivals) for (_, arrivals), here in by_load.items()]


def _regret(here: Sequence[ComparedLoad], arrivals: Arrivals) -> Regret:
    objective = objective_at(arrivals)
    chosen = max(here, key=lambda one: objective.worth(one.predicted)).measured
    best = max((one.measured for one in here), key=objective.worth)
    share = gain(chosen, best, objective)
    return Regret(
        arrivals.label(),
        in_words(chosen.configuration),
        in_words(best.configuration),
        Estimate(1.0 - share.value, 1.0 - share.high, 1.0 - share.low),
    )
