"""What a forward of several requests takes: a calibration's cells, fitted (`calibrate.costs.forward_fit`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from calibrate.cost_records import Cell, DraftCosts, PlacementCosts
from calibrate.costs.forward_fit import ForwardFit
from engine.errors import CalibrationError
from engine.service_record import Model


@dataclass(frozen=True)
class FittedForwardCost:
    """Implements `sim.costs.forward_cost.ForwardCost` by what was fitted to `cells`.

    Where no cell has several sequences, a further one costs its rows and its part of the cache, and nothing else.
    """

    fit: ForwardFit
    cells: tuple[Cell, ...]
    _known: dict[int, tuple[float, float, float, float, float]] = field(
        default_factory=dict, repr=False, compare=False
    )  # of as many rows: f, k, a, c and h

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "FittedForwardCost":
        """CalibrationError where the cells do not tell what takes the time (`ForwardFit.of`)."""
        return cls(ForwardFit.of(cells), tuple(cells))

    @property
    def residual(self) -> float:
        """How far the fit is from the cells that it was made of, as a share: the root of the mean square."""
        return self.fit.residual

    @property
    def most_rows(self) -> int:
        """Of a cell, beyond which the fit goes on (`calibrate.costs.forward_fit.ForwardFit.further`)."""
        return max(cell.rows for cell in self.cells)

    @property
    def most_sequences(self) -> int:
        """Of a cell."""
        return max(cell.sequences for cell in self.cells)

    def most_context(self, sequences: int) -> int:
        """Tokens of each sequence's cache, of a cell of several sequences or, where `sequences` is 1, of one.

        Where no cell has several, those of one sequence tell what there is to tell.
        """
        alike = [cell for cell in self.cells if (cell.sequences > 1) == (sequences > 1)] or self.cells
        return max(cell.cache_tokens // cell.sequences for cell in alike)

    def __call__(
        self, rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0
    ) -> float:
        known = self._known.get(rows)
        if known is None:
            known = self._known[rows] = (
                float(self.fit.seconds(rows, 1, 0, scored=0)),
                *self.fit.side(rows).terms,
            )
        base, k, a, c, h = known
        # A cell's cache is what was there before its rows; here they are a part of it.
        return base + k * (cache_tokens - rows) + a * attended + c * (sequences - 1) + h * (rows - unscored)


def forward_costs(costs: PlacementCosts, draft: str | None = None) -> dict[Model, FittedForwardCost]:
    """What forwards take in a placement, by model, for `sim.world.serving.serve`: the target's and a draft's.

    CalibrationError if there is no such draft, or where its cells cannot be fitted.
    """
    found: dict[Model, FittedForwardCost] = {
        "target": FittedForwardCost.of((*costs.target, *costs.batched, *costs.chunked))
    }
    if draft is not None:
        if draft not in costs.drafts:
            names = ", ".join(costs.drafts) or "none"
            raise CalibrationError(f"the calibration has no draft '{draft}'; its drafts: {names}.")
        found["draft"] = FittedForwardCost.of(step_cells(costs.drafts[draft]))
    return found


def step_cells(costs: DraftCosts) -> tuple[Cell, ...]:
    """Of a draft's steps, a row for each branch of each sequence, and of what has more rows, such as a prompt.

    Lines of as few rows are left out: where models take turns they were timed behind a forward of the target, and only
    the first of a draft's steps is.
    """
    widest = max(cell.rows for cell in costs.branch)
    longer = (cell for cell in costs.forward if cell.rows > widest)
    return (*costs.branch, *longer, *costs.batched, *costs.chunked)
