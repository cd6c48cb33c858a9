"""Timing again, at any time, what tells how a machine drifted since its calibration (`calibrate.costs.drift`)."""

from collections.abc import Iterable
from statistics import fmean

from calibrate.cost_records import PROMPT, STEP
from calibrate.costs.contention import ONE, ContentionTimes, Crossed, add_together, time_together
from calibrate.costs.drift import PlacedModel, Timing
from calibrate.costs.sampling_plan import time_cell
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement
from engine.runtime.session import Player

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


def time_pace(pair: Pair, placement: Placement, draft: str | None) -> tuple[dict[PlacedModel, Timing], float]:
    """What the target and the draft, if there is one, take now, and the reference operation before them, in seconds."""
    target, drafter = pair.players(placement, draft)
    timing, reference = _timed(target, None)
    found: dict[PlacedModel, Timing] = {(placement, TARGET): timing}
    if drafter is not None:
        after = TARGET if pair.seating(placement).shared else None
        found[placement, drafter.model], _ = _timed(drafter, after)
    return found, reference


def _timed(player: Player, after: str | None) -> tuple[Timing, float]:
    """A model's timing, and the reference operation's before it; `after`: see `time_cell`."""
    steps, reference, _ = time_cell(player, STEP, after)
    # Once: it is dear, and the step before it has warmed up what there is to warm up.
    (prompt,), _, _ = time_cell(player, PROMPT, after, samples=1, warm=True)
    return Timing(fmean(steps), prompt), reference
