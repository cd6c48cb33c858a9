"""The machine's pace: how long a model's forwards take now, over what they took when calibrated. Torch-free.

A calibration is of the minutes in which it was made, and a shared machine does not stay as it was: other tenants take
memory bandwidth and caches from some models and placements more than from others, and cores grow slower with what
their neighbours compute. So two cells of each model in each placement can be timed again at any time as the
calibration timed them, its step over one token and its shortest prompt. A forward reads the weights once, be it of one
token or a prompt's, and computes with each of its rows. So each of that model's forwards in that placement is taken to
be longer by what its step is, which tells how fast weights come from memory; and what it takes beyond a step is taken
to be in proportion to what the prompt takes beyond one, which tells how fast cores compute (docs/lab-notes.md,
"Verification"). What takes less than a step changes in proportion to it. What the models do to each other when both run
does not stay either: where a process's weights happen to lie in the machine's memory decides over it, so it is timed
again in the processes at hand.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple, TypeVar

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
    prompt_of,
    step_of,
)
from calibrate.costs.random_effects import MEDIAN, towards_common
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
SLIGHT = 1e-6  # of a time, which nobody notices
# Of a step, that a prompt took beyond one when it was calibrated: of less, nothing is said of how rows are computed.
# Where cores have room left while weights come from memory, as on a GPU, a few rows take no longer than one.
TELLING = 0.5

Floats = NDArray[np.float64]


class Timing(NamedTuple):
    """Seconds of a model's step and, where it was timed just behind it, of its shortest prompt."""

    step: float
    prompt: float | None = None


class Drift(Record):
    """What tells a model's pace in a placement, in seconds, each a mean of a visit's samples: when calibrated, and now.

    `calibrated`, `now`: its step; `prompts_calibrated`, `prompts_now`: its shortest prompt, if that was timed, the
    latter just behind each of the steps. `dearer`: how many times as long now is what its forwards take beyond a step,
    by what all models of the placement tell (`drifts`); 1 where nothing tells.
    """

    placement: Placement
    model: str
    calibrated: tuple[float, ...] = Field(min_length=1)
    now: tuple[float, ...] = Field(min_length=1)
    prompts_calibrated: tuple[float, ...] = ()
    prompts_now: tuple[float, ...] = ()
    dearer: float = Field(default=1.0, ge=0.0)

    @property
    def step(self) -> float:
        """What a step took, in seconds."""
        return float(np.median(self.calibrated))

    @property
    def rows(self) -> float:
        """What a prompt took beyond a step, in seconds; 0: so little, or nothing is known, that it tells nothing."""
        if not self.prompts_calibrated or not self.prompts_now:
            return 0.0
        beyond = float(np.median(self.prompts_calibrated)) - self.step
        longer_now = _uninterrupted(self.prompts_now).mean() > self.counted.mean()
        return beyond if longer_now and beyond >= TELLING * self.step else 0.0

    @property
    def counted(self) -> Floats:
        """Steps now, in seconds; what took more than `INTERRUPTED` times the median counts as so much."""
        return _uninterrupted(self.now)

    @property
    def rows_counted(self) -> Floats:
        """What prompts take beyond steps now, in seconds; prompts count as steps do. Empty where `rows` is 0."""
        return _uninterrupted(self.prompts_now) - self.counted if self.rows else np.zeros(0)

    def at(self, steps: Floats, times: float = 1.0) -> "Drift":
        """This one with other steps now, and what forwards take beyond them `times` as long as it is now."""
        return self.model_copy(update={"now": tuple(steps.tolist()), "dearer": times * self.dearer})

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
        return _mean_over_median(self.counted, np.array(self.calibrated))

    @property
    def rows_factor(self) -> Estimate | None:
        """How many times as long now is what this model's prompt takes beyond a step, as `factor`; None: not told."""
        if not self.rows:
            return None
        return _mean_over_median(self.rows_counted, np.array(self.prompts_calibrated) - self.step)


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


def beyond_step(operation: str, tokens: int, seconds: float, step: float) -> float:
    """What an operation takes beyond a step for each of its forwards, in seconds: the computing of further rows."""
    return max(0.0, seconds - step * (tokens if operation == "burst" else 1))


def drifts(costs: MeasuredCosts, now: Mapping[PlacedModel, Sequence[Timing]]) -> Iterator[Drift]:
    """The pace of each model that was timed again. CalibrationError if it was not calibrated."""
    found = list(_of_each(costs, now))
    dearer: dict[PlacedModel, float] = {}
    for placement in {one.placement for one in found}:
        told = [one for one in found if one.placement == placement and one.rows]
        dearer |= zip(((placement, one.model) for one in told), _dearer(told), strict=True)
    for one in found:
        yield one.model_copy(update={"dearer": dearer.get((one.placement, one.model), 1.0)})


def _of_each(costs: MeasuredCosts, now: Mapping[PlacedModel, Sequence[Timing]]) -> Iterator[Drift]:
    """What each model tells of itself."""
    for (placement, model), timings in now.items():
        step, prompt = step_of(costs.at(placement), model), prompt_of(costs.at(placement), model)
        prompts = tuple(one.prompt for one in timings if one.prompt is not None)
        known = prompt is not None and len(prompts) == len(timings)
        yield Drift(
            placement=placement,
            model=model,
            calibrated=_by_visit(step),
            now=tuple(one.step for one in timings),
            prompts_calibrated=_by_visit(prompt) if prompt is not None and known else (),
            prompts_now=prompts if known else (),
        )


def _dearer(told: Sequence[Drift]) -> list[float]:
    """How many times as dear further rows are to models on the same cores, each of which tells it more or less well.

    Cores that compute more slowly do so for all of them, while a calibration met each model's prompt a few times only.
    So each one's ratio is brought towards that of all, in logarithms.
    """
    if not told:
        return []
    now = [one.rows_counted for one in told]
    logs = np.log([rows.mean() / one.rows for rows, one in zip(now, told, strict=True)])
    # Single timings scatter by as much now as they did then, and now they are many.
    scatter = np.array([rows.std() / rows.mean() for rows in now])
    timed = [(len(one.prompts_now), len(one.prompts_calibrated)) for one in told]
    of_each = np.array([1.0 / many + MEDIAN / few for many, few in timed])
    found: list[float] = np.exp(towards_common(logs, np.maximum(SLIGHT, scatter) ** 2 * of_each)).tolist()
    return found


def _by_visit(cell: Cell) -> tuple[float, ...]:
    """The mean of each visit to a cell, in seconds."""
    return tuple(fmean(samples) for samples in visits_of(cell))


def _mean_over_median(now: Floats, then: Floats) -> Estimate:
    """And its 95% percentile interval over both; none where either is of one visit."""
    value = float(now.mean() / np.median(then))
    if min(len(now), len(then)) < 2:
        return Estimate(value, math.nan, math.nan)
    rng = np.random.default_rng(0)
    draws = (rng.choice(side, (RESAMPLES, len(side))) for side in (now, then))
    means, medians = next(draws).mean(axis=1), np.median(next(draws), axis=1)
    low, high = np.percentile(means / medians, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _uninterrupted(seconds: Sequence[float]) -> Floats:
    found: Floats = np.array(seconds)
    return found.clip(max=INTERRUPTED * float(np.median(found)))


def adjusted_for_drift(
    artifact: Artifact, found: Sequence[Drift], crowds: Sequence[ContentionSample] = ()
) -> Artifact:
    """The calibration as it would be at this pace; what has none, and what no crowd is of, is as it was calibrated.

    A cell keeps its median, but for what it takes beyond a step, which is as much dearer as that of a prompt is; and
    each of its forwards gets what a step takes longer now: so it also varies as steps do now.
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
        middle += (pace.dearer - 1.0) * beyond_step(operation, cell.rows, middle, pace.step)
        seconds = tuple(middle + share * more for more in pace.longer)
        return cell.model_copy(update={"seconds": seconds, "visits": (), "excluded": ()})

    return costs.model_copy(
        update={name: tuple(at(name, cell) for cell in getattr(costs, name)) for name in operations}
    )
