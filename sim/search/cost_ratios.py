"""Costs of pairs that do not exist: models scaled until a target's step is so many times as dear as a draft's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from calibrate.artifact import Artifact
from calibrate.cost_records import MeasuredCosts, step_of
from engine.configuration import Configuration
from engine.models.specs import TARGET
from sim.world.replay import Replay, Tally


def step_ratio(artifact: Artifact, draft: str) -> float:
    """A target step's time over the draft's, where each has a device of its own (or the first placement's)."""
    costs = artifact.costs.placements[0]
    costs = next((c for c in artifact.costs.placements if c.placement == "at-once"), costs)
    target, drafted = (median(step_of(costs, model).seconds) for model in (TARGET, draft))
    return target / drafted


@dataclass(frozen=True)
class Scale:
    """Whose costs a draft has, and how many times as fast as measured the models are."""

    costs: str
    target: float = 1.0
    draft: float = 1.0


def scale_to(artifact: Artifact, drafts: Sequence[str], ratio: float) -> Scale:
    """What comes to a ratio of the steps: the nearest of these drafts, and a dearer target, or a dearer draft."""
    measured = {name: step_ratio(artifact, name) for name in drafts}
    nearest = min(drafts, key=lambda name: abs(math.log(measured[name] / ratio)))
    share = measured[nearest] / ratio
    return Scale(nearest, target=share) if share <= 1.0 else Scale(nearest, draft=1.0 / share)


def _with_costs(artifact: Artifact, of: str) -> MeasuredCosts:
    """What was measured, where the only draft of the texts costs what another one does."""
    (name,) = artifact.recorded.drafts
    placements = tuple(
        costs.model_copy(update={"drafts": {name: costs.drafts[of]}}) for costs in artifact.costs.placements
    )
    return artifact.costs.model_copy(update={"placements": placements})


class AtRatios:
    """A world whose models are scaled to each of a piece's ratios; all share its texts."""

    def __init__(self, world: Replay, scales: Sequence[Scale]) -> None:
        self._scales = scales
        self._worlds = {
            (costs, draft): world.under(
                world.what_if.model_copy(update={"draft_speed": draft}), _with_costs(world.artifact, costs)
            )
            for costs, draft in dict.fromkeys((scale.costs, scale.draft) for scale in scales)
        }

    def tallies(self, c: Configuration, places: Sequence[int]) -> list[list[Tally]]:
        """What each text came to, at each of these places among the ratios."""
        found: dict[int, list[Tally]] = {}
        for (costs, draft), world in self._worlds.items():
            mine = [at for at in places if (self._scales[at].costs, self._scales[at].draft) == (costs, draft)]
            if mine:
                speeds = [self._scales[at].target for at in mine]
                found |= zip(mine, world.tallies_at(c, speeds), strict=True)
        return [found[at] for at in places]
