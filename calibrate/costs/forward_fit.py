"""What a forward takes as a function of rows, sequences and cache tokens, fitted to measured cells. Torch-free.

seconds = f(rows) + k x cache tokens + c x (sequences - 1), where f never falls and neither k nor c is negative. Weights
are read once whatever is read with them, which is f(1); each further row is computed, each token of the cache is read,
and each further sequence takes attention of its own. Published fits of served models have these three terms, with k
the bytes of a cache token over the memory's bandwidth.

It is for batches, whose cells cannot cover three coordinates. For one sequence, `sim.costs.measured.Table` goes through
its own cells: a forward's time falls where another kernel takes over (`calibrate.costs.measurement`), which a function
that never falls cannot follow (docs/design.md, "Costs of a batch").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.cost_records import Cell
from engine.errors import CalibrationError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ForwardFit:
    """`base` seconds of f at as many `rows`, ascending; `per_cache_token` is k and `per_sequence` c, in seconds.

    c is 0 where all cells have as many sequences, and k where they have as many cache tokens: then nothing tells them.
    `residuals`: of each cell in the order given, what was fitted over its median, less 1.
    """

    rows: tuple[int, ...]
    base: tuple[float, ...]
    per_cache_token: float
    per_sequence: float
    residuals: tuple[float, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "ForwardFit":
        """By least squares of residuals as shares of the cells' medians, so that short forwards count as long ones do.

        CalibrationError without cells, or where they cannot tell rows, sequences and cache tokens apart.
        """
        from scipy.optimize import nnls  # here, since it takes a while to import

        if not cells:
            raise CalibrationError("a forward's time cannot be fitted to no cells.")
        rows, sequences, cache = (
            np.array([getattr(cell, name) for cell in cells], dtype=float)
            for name in ("rows", "sequences", "cache_tokens")
        )
        medians = np.array([np.median(cell.seconds) for cell in cells])
        counts = np.unique(rows)
        # f is a sum of steps up, one at each count of rows; what all cells have alike is a part of the first.
        steps = (rows[:, None] >= counts).astype(float)
        further = [cache, sequences - 1.0]
        told = [column for column in further if np.ptp(column)]
        design = np.column_stack([steps, *told]) / medians[:, None]
        size = np.linalg.norm(design, axis=0)
        if np.linalg.matrix_rank(design / size) < len(size):
            raise CalibrationError(
                "the measured forwards do not tell rows, sequences and cache tokens apart; measure the same rows of "
                "several sequences and behind several contexts."
            )
        found = nnls(design / size, np.ones(len(cells)))[0] / size
        left = iter(found[len(counts) :].tolist())
        per_cache_token, per_sequence = (next(left) if np.ptp(column) else 0.0 for column in further)
        return cls(
            tuple(counts.astype(int).tolist()),
            tuple(np.cumsum(found[: len(counts)]).tolist()),
            per_cache_token,
            per_sequence,
            tuple((design @ found - 1.0).tolist()),
        )

    @property
    def residual(self) -> float:
        """The root of the mean squared residual, as a share."""
        return float(np.sqrt(np.mean(np.square(self.residuals))))

    def seconds(self, rows: ArrayLike, sequences: ArrayLike, cache_tokens: ArrayLike) -> Floats:
        """Of forwards, float64 [n]: f is linear between the counts of rows measured, and goes on as the last two do."""
        rows, sequences, cache = (np.asarray(x, dtype=float) for x in (rows, sequences, cache_tokens))
        base = np.interp(rows, self.rows, self.base)
        if len(self.rows) > 1:
            slope = (self.base[-1] - self.base[-2]) / (self.rows[-1] - self.rows[-2])
            base = base + slope * np.maximum(0.0, rows - self.rows[-1])
        return np.asarray(base + self.per_cache_token * cache + self.per_sequence * (sequences - 1.0))
