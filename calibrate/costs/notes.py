"""What a reader has to know of how costs were timed: what was excluded, is unsure, and how steady the machine was."""

from collections.abc import Sequence
from statistics import fmean

from calibrate.cost_records import Key
from calibrate.costs.sampling_plan import SamplingPlan, steps_by_lap

FEW_CROWDED = 0.05  # of all visits, that something else disturbed, beyond which a reader is told what to do


def notes(plans: Sequence[SamplingPlan]) -> list[str]:
    """What was excluded, which cells are not known as well as is wanted, and how steady the machine was."""
    visits = sum(len(plan.visits) for plan in plans)
    disturbed = sum(len(plan.sifted()[1]) for plan in plans)
    crowded = sum(visit.crowded for plan in plans for visit in plan.visits)
    left = [(plan, key) for plan in plans for key in plan.open()]
    cells = sum(len(plan.keys) for plan in plans)
    found = [
        f"{disturbed} of {visits} visits were disturbed and are excluded"
        if disturbed
        else f"none of {visits} visits was excluded"
    ]
    if crowded > FEW_CROWDED * visits:
        found.append(
            f"something else had one of the cores in {crowded} of {visits} visits: end what computes beside a "
            "calibration, and make it anew (--again)"
        )
    if left:
        shown = ", ".join(f"{plan.placement} {plan.model} {_shown(key)}" for plan, key in left[:6])
        more = f" and {len(left) - 6} more" if len(left) > 6 else ""
        found.append(f"{len(left)} of {cells} cells are not known to 2% or 20 us: {shown}{more}")
    return found + _moods(plans)


def _moods(plans: Sequence[SamplingPlan]) -> list[str]:
    """How far the machine's pace went up and down while it was calibrated, by the model that felt it most."""
    known = [(plan, list(steps_by_lap(plan.visits).values())) for plan in plans]
    sittings = [(plan, steps) for plan, steps in known if steps]
    if not sittings:  # something else had the cores whenever a step was timed
        return []
    plan, steps = max(sittings, key=lambda felt: max(felt[1]) / min(felt[1]))
    if len(steps) < 2:
        return []
    low, high = min(steps) / fmean(steps), max(steps) / fmean(steps)
    return [
        f"over {len(steps)} sittings a step took from {low:.2f} to {high:.2f} of its mean ({plan.placement} "
        f"{plan.model}, which varied most)"
    ]


def _shown(key: Key) -> str:
    sequences = f"{key.sequences}x" if key.sequences > 1 else ""
    return f"{key.operation} {sequences}{key.tokens}@{key.context}"
