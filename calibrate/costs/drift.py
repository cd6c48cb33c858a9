"""The machine's pace: how long a model's step takes now, over what it took when it was calibrated. Torch-free.

A calibration is of the minutes in which it was made, and a shared machine does not stay as it was: other tenants take
memory bandwidth and caches from some models and placements more than from others. So one cell of each model in each
placement, its step over one token, can be timed again at any time as the calibration timed it, and each of that model's
forwards in that placement is taken to be longer by what its step is. For what changes is mostly how fast weights come
from memory, which every forward reads once, be it of one token or a prompt's (docs/validation.md). What takes less than
a step changes in proportion. What the models do to each other when both run does not stay either: where a process's
weights happen to lie in the machine's memory decides over it, so it is timed again in the processes at hand.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from calibrate.artifact import Artifact
from calibrate.cost_records import (
    DRAFT_CELLS,
    TARGET_CELLS,
    Cell,
    DraftCosts,
    MeasuredCosts,
    PlacementCosts,
    Together,
    step_of,
)
from calibrate.intervals import visits_of
from calibrate.records import Record
from engine.metrics import Estimate
from engine.models.specs import TARGET
from engine.runtime.placement import Placement

PlacedModel = tuple[Placement, str]  # a model where it sits
Costs = TypeVar("Costs", PlacementCosts, DraftCosts)

QUANTILES = 64  # that stand for the spread of more timings
INTERRUPTED = 3.0  # times the median, which no mood of a machine makes of a step
RESAMPLES = 2000


class Drift(Record):
    """A model's step in a placement, in seconds, each a mean of a visit's samples: when calibrated, and now."""

    placement: Placement
    model: str
    calibrated: tuple[float, ...] = Field(min_length=1)
    now: tuple[float, ...] = Field(min_length=1)

    @property
    def step(self) -> float:
        """What a step took, in seconds."""
        return float(np.median(self.calibrated))

    @property
    def counted(self) -> NDArray[np.float64]:
        """Steps now, in seconds; what took more than `INTERRUPTED` times the median counts as so much."""
        steps: NDArray[np.float64] = np.array(self.now)
        return steps.clip(max=INTERRUPTED * float(np.median(steps)))

    @property
    def longer(self) -> tuple[float, ...]:
        """By how many seconds steps take longer now: all of them, or `QUANTILES` of many, ascending."""
        steps = np.sort(self.counted)
        if len(steps) > QUANTILES:
            steps = np.quantile(steps, (np.arange(QUANTILES) + 0.5) / QUANTILES)
        return tuple((steps - self.step).tolist())

    @property
    def factor(self) -> Estimate:
        """How many times as long a step takes now, and its 95% percentile interval over visits on either side.

        A mean over a median: what disturbs one step in ten now is a part of the pace, while of the few visits of a
        calibration one that was disturbed says nothing of the rest. An interruption of tens of milliseconds is a part
        of neither: one among a few dozen timings of a step of 3 ms would foretell a third more for each, and texts, of
        thousands of steps, hardly ever meet one.
        """
        now, then = self.counted, np.array(self.calibrated)
        value = float(now.mean() / np.median(then))
        if min(len(now), len(then)) < 2:
            return Estimate(value, math.nan, math.nan)
        rng = np.random.default_rng(0)
        draws = (rng.choice(side, (RESAMPLES, len(side))) for side in (now, then))
        means, medians = next(draws).mean(axis=1), np.median(next(draws), axis=1)
        low, high = np.percentile(means / medians, [2.5, 97.5])
        return Estimate(value, float(low), float(high))


class ContentionSample(Record):
    """The target and a draft at once, in a placement that lets them: as a calibration times it, but now.

    Of one sequence, and perhaps of several.
    """

    placement: Placement
    draft: str
    together: tuple[Together, ...] = Field(min_length=1)


def share_of_step(operation: str, tokens: int, seconds: float, step: float) -> float:
    """The share of a slow-down of the model's step that an operation suffers; it takes `seconds`, and a step `step`.

    Once for each of its forwards; what takes less than a step changes in proportion.
    """
    return min(float(tokens if operation == "burst" else 1), seconds / step)


def drifts(costs: MeasuredCosts, now: Mapping[PlacedModel, Sequence[float]]) -> Iterator[Drift]:
    """The pace of each model that was timed again. CalibrationError if it was not calibrated."""
    for (placement, model), seconds in now.items():
        then = step_of(costs.at(placement), model)
        visits = tuple(fmean(samples) for samples in visits_of(then))
        yield Drift(placement=placement, model=model, calibrated=visits, now=tuple(seconds))


def adjusted_for_drift(
    artifact: Artifact, found: Sequence[Drift], crowds: Sequence[ContentionSample] = ()
) -> Artifact:
    """The calibration as it would be at this pace; what has none, and what no crowd is of, is as it was calibrated.

    A cell keeps its median, and each of its forwards what a step takes longer now: so it also varies as steps do now.
    """
    by_model = {(one.placement, one.model): one for one in found}
    together = {(one.placement, one.draft): one.together for one in crowds}

    def moved(costs: PlacementCosts) -> PlacementCosts:
        drafts = {
            name: _at(mine, DRAFT_CELLS, by_model.get((costs.placement, name)))
            for name, mine in costs.drafts.items()
        }
        for name in drafts:
            if (costs.placement, name) in together:
                drafts[name] = _beside(drafts[name], together[costs.placement, name])
        target = _at(costs, TARGET_CELLS, by_model.get((costs.placement, TARGET)))
        return target.model_copy(update={"drafts": drafts})

    placements = tuple(map(moved, artifact.costs.placements))
    return replace(artifact, costs=artifact.costs.model_copy(update={"placements": placements}))


def _beside(costs: DraftCosts, together: Sequence[Together]) -> DraftCosts:
    """A draft's costs with what it and the target do to each other now; of several sequences, if that was timed."""
    one, several = (tuple(t for t in together if (t.sequences > 1) is many) for many in (False, True))
    found = {"together": one, "batched_together": several}
    return costs.model_copy(update={name: its for name, its in found.items() if its})


def _at(costs: Costs, operations: Sequence[str], pace: Drift | None) -> Costs:
    """These costs with other samples in the cells of these operations, unless nothing is known of now."""
    if pace is None:
        return costs

    def at(operation: str, cell: Cell) -> Cell:
        middle = float(np.median(cell.seconds))
        share = share_of_step(operation, cell.rows, middle, pace.step)
        seconds = tuple(middle + share * more for more in pace.longer)
        return cell.model_copy(update={"seconds": seconds, "visits": (), "excluded": ()})

    return costs.model_copy(
        update={name: tuple(at(name, cell) for cell in getattr(costs, name)) for name in operations}
    )
