"""What a forward of several requests takes: a calibration's cells, fitted (`calibrate.costs.forward_fit`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from calibrate.cost_records import Cell, PlacementCosts
from calibrate.costs.forward_fit import ForwardFit
from engine.errors import CalibrationError
from sim.scripts.work import Model


@dataclass(frozen=True)
class FittedForwardCost:
    """Implements `sim.world.serving.ForwardCost` by what was fitted to `cells`.

    Where no cell has several sequences, a further one costs its rows and its part of the cache, and nothing else.
    """

    fit: ForwardFit

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "FittedForwardCost":
        """CalibrationError where the cells do not tell what takes the time (`ForwardFit.of`)."""
        return cls(ForwardFit.of(cells))

    @property
    def residual(self) -> float:
        """How far the fit is from the cells that it was made of, as a share: the root of the mean square."""
        return self.fit.residual

    def __call__(self, rows: int, sequences: int, cache_tokens: int) -> float:
        return float(self.fit.seconds(rows, sequences, cache_tokens))


def forward_costs(costs: PlacementCosts, draft: str | None = None) -> dict[Model, FittedForwardCost]:
    """What forwards take in a placement, by model, for `sim.world.serving.serve`: the target's and a draft's.

    A draft's forwards of several branches are taken for as many rows of one. CalibrationError if there is no such
    draft, or where its cells cannot be fitted.
    """
    found: dict[Model, FittedForwardCost] = {"target": FittedForwardCost.of((*costs.target, *costs.batched))}
    if draft is not None:
        if draft not in costs.drafts:
            names = ", ".join(costs.drafts) or "none"
            raise CalibrationError(f"the calibration has no draft '{draft}'; its drafts: {names}.")
        mine = costs.drafts[draft]
        found["draft"] = FittedForwardCost.of((*mine.forward, *mine.batched))
    return found
