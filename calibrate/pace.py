"""The machine's pace: how long a model's step takes now, over what it took when it was calibrated. Torch-free.

A calibration is of the minutes in which it was made, and a shared machine does not stay as it was: other tenants take
memory bandwidth and caches from some models and placements more than from others. So one cell of each model in each
placement, its step over one token, can be timed again at any time as the calibration timed it, and all of that
model's costs in that placement are taken to be as much longer as its step is. What they are in comparison with each
other, and what the models do to each other when both run, stays as it was calibrated.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from calibrate.artifact import Artifact, Calibration, Cell, DraftCosts, PlacementCosts
from calibrate.intervals import half_width, visits_of
from calibrate.laps import STEP, time_cell
from engine.errors import CalibrationError
from engine.metrics import Estimate
from engine.models import TARGET
from engine.pair import Pair
from engine.placement import Placement

Seated = tuple[Placement, str]  # a model where it sits


class Pace(BaseModel):
    """A model's step in a placement, in seconds, each a mean of a visit's samples: when calibrated, and now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    placement: Placement
    model: str
    calibrated: tuple[float, ...] = Field(min_length=1)
    now: tuple[float, ...] = Field(min_length=1)

    @property
    def factor(self) -> Estimate:
        """How many times as long a step takes now; its 95% interval is by Student's t over visits on either side.

        Means, since it is their sum that a text takes: what disturbs one step in ten is a part of the pace.
        """
        sides = fmean(self.calibrated), fmean(self.now)
        widths = (half_width([[s] for s in some]) for some in (self.calibrated, self.now))
        factor = sides[1] / sides[0]
        half = factor * math.hypot(*(width / side for width, side in zip(widths, sides, strict=True)))
        return Estimate(factor, factor - half, factor + half) if math.isfinite(half) else _alone(factor)


def _alone(factor: float) -> Estimate:
    return Estimate(factor, math.nan, math.nan)


def time_steps(pair: Pair, placement: Placement, draft: str | None) -> tuple[dict[Seated, float], float]:
    """Seconds of a step of the target and of the draft, if there is one, and of the reference operation before them."""
    target, drafter = pair.players(placement, draft)
    samples, reference = time_cell(target, STEP, None)
    found: dict[Seated, float] = {(placement, TARGET): fmean(samples)}
    if drafter is not None:
        after = TARGET if pair.seating(placement).shared else None
        found[placement, drafter.model] = fmean(time_cell(drafter, STEP, after)[0])
    return found, reference


def paces(calibration: Calibration, now: Mapping[Seated, Sequence[float]]) -> Iterator[Pace]:
    """The pace of each model that was timed again. CalibrationError if it was not calibrated."""
    for (placement, model), seconds in now.items():
        then = step_of(calibration.costs(placement), model)
        visits = tuple(fmean(samples) for samples in visits_of(then))
        yield Pace(placement=placement, model=model, calibrated=visits, now=tuple(seconds))


def step_of(costs: PlacementCosts, model: str) -> Cell:
    """The cell that tells a model's pace. CalibrationError if it was not measured."""
    known = costs.target if model == TARGET else costs.drafts[model].forward if model in costs.drafts else ()
    for cell in known:
        if (cell.tokens, cell.context) == STEP[1:]:
            return cell
    raise CalibrationError(
        f"the calibration did not measure a step of '{model}' in placement '{costs.placement}'."
    )


def at_pace(artifact: Artifact, found: Sequence[Pace]) -> Artifact:
    """The calibration as it would be at this pace; what has none is as it was calibrated."""
    pace = {(one.placement, one.model): one.factor.value for one in found}

    def scaled(costs: PlacementCosts) -> PlacementCosts:
        placement = costs.placement
        target = pace.get((placement, TARGET), 1.0)
        update: dict[str, object] = {
            name: _longer(getattr(costs, name), target)
            for name in ("target", "rollback", "draw", "foresight")
        }
        update["drafts"] = {
            name: _draft(mine, pace.get((placement, name), 1.0)) for name, mine in costs.drafts.items()
        }
        return costs.model_copy(update=update)

    placements = tuple(map(scaled, artifact.calibration.placements))
    return replace(artifact, calibration=artifact.calibration.model_copy(update={"placements": placements}))


def _draft(costs: DraftCosts, pace: float) -> DraftCosts:
    """What models do to each other when both run is as it was: a ratio."""
    names = ("forward", "branch", "burst", "fork", "draw")
    return costs.model_copy(update={name: _longer(getattr(costs, name), pace) for name in names})


def _longer(cells: Sequence[Cell], pace: float) -> tuple[Cell, ...]:
    def times(seconds: Sequence[float]) -> tuple[float, ...]:
        return tuple(pace * second for second in seconds)

    return tuple(
        cell.model_copy(update={"seconds": times(cell.seconds), "excluded": times(cell.excluded)})
        for cell in cells
    )
