"""Timing again, at any time, what tells how a machine drifted since its calibration (`calibrate.costs.drift`)."""

from collections.abc import Iterable
from statistics import fmean

from calibrate.cost_records import STEP
from calibrate.costs.contention import ONE, ContentionTimes, Crossed, add_together, time_together
from calibrate.costs.drift import PlacedModel
from calibrate.costs.sampling_plan import time_cell
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement

CONTENTION_SECONDS = 0.08  # of each operation, when both models are timed at once again


def pairs_at_once(pair: Pair, chosen: Iterable[Configuration]) -> list[tuple[Placement, str]]:
    """The placements with their drafts, of configurations, that compute beside the target; each once, in their order.

    Where models take turns on one device nothing computes beside anything.
    """
    seated = dict.fromkeys((c.placement, draft) for c in chosen if (draft := c.draft_among(pair.drafts)))
    return [(placement, draft) for placement, draft in seated if not pair.seating(placement).shared]


def time_contention(
    pair: Pair, placement: Placement, draft: str, known: ContentionTimes, crossed: Crossed = ONE
) -> None:
    """Time the target and a draft at once, and note it; a placement and a draft are one of `pairs_at_once`.

    `crossed`: what each does; all that `known` notes is of as many sequences.
    """
    target, drafter = pair.players(placement, draft)
    assert drafter is not None
    add_together(known, time_together(target, drafter, CONTENTION_SECONDS, crossed))


def time_steps(pair: Pair, placement: Placement, draft: str | None) -> tuple[dict[PlacedModel, float], float]:
    """Seconds of a step of the target and of the draft, if there is one, and of the reference operation before them."""
    target, drafter = pair.players(placement, draft)
    samples, reference, _ = time_cell(target, STEP, None)
    found: dict[PlacedModel, float] = {(placement, TARGET): fmean(samples)}
    if drafter is not None:
        after = TARGET if pair.seating(placement).shared else None
        found[placement, drafter.model] = fmean(time_cell(drafter, STEP, after)[0])
    return found, reference
