"""What a forward takes as a function of rows, sequences and cache tokens, fitted to measured cells. Torch-free.

seconds = f(rows) + k x cache tokens + a x attended + c x (sequences - 1), where f never falls and k, a and c are not
negative; *attended* is the sum over the rows of the cache tokens that each of them sees. Weights are read once whatever
is read with them, which is f(1); each further row is computed, each token of the cache is read, and multiplied with
each row that sees it; and each further sequence takes attention of its own. Published fits of served models have these
terms but for a, which accelerators hide, with k the bytes of a cache token over the memory's bandwidth.

Another kernel may take over where there are more rows (`calibrate.costs.measurement`), and then k, a and c are other
ones. So there may be a *knee*: of more rows than that they have values of their own, if Akaike's criterion, corrected
for few cells (Hurvich and Tsai 1989), says that this tells more than it costs.

It is for batches, whose cells cannot cover three coordinates. For one sequence, `sim.costs.measured.Table` goes through
its own cells (docs/design.md, "Costs of a batch").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.cost_records import Cell
from engine.errors import CalibrationError

Floats = NDArray[np.float64]


class Terms(NamedTuple):
    """k, a and c, in seconds."""

    cache_token: float = 0.0
    attended: float = 0.0
    sequence: float = 0.0


@dataclass(frozen=True)
class ForwardFit:
    """`base` seconds of f at as many `rows`, ascending, and the terms of `few` rows, up to `knee`, and of `many`.

    Without a knee both are the same, and it is 0. c is 0 where all cells have as many sequences, and k and a where they
    have as many cache tokens: then nothing tells them. a is 0 too where it cannot be told from k, as of cells that have
    as many rows. `residuals`: of each cell in the order given, what was fitted over its median, less 1.
    """

    rows: tuple[int, ...]
    base: tuple[float, ...]
    few: Terms
    many: Terms
    knee: int
    residuals: tuple[float, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "ForwardFit":
        """By least squares of residuals as shares of the cells' medians, so that short forwards count as long ones do.

        CalibrationError without cells, or where they cannot tell rows, sequences and cache tokens apart.
        """
        if not cells:
            raise CalibrationError("a forward's time cannot be fitted to no cells.")
        plain = _fitted(cells, 0)
        if plain is None:
            raise CalibrationError(
                "the measured forwards do not tell rows, sequences and cache tokens apart; measure the same rows of "
                "several sequences and behind several contexts."
            )
        counts = sorted({cell.rows for cell in cells})
        found = [plain, *filter(None, (_fitted(cells, knee) for knee in counts[:-1]))]
        return min(found, key=lambda one: one[1])[0]

    @property
    def residual(self) -> float:
        """The root of the mean squared residual, as a share."""
        return float(np.sqrt(np.mean(np.square(self.residuals))))

    def terms(self, rows: int) -> Terms:
        """Of a forward of so many rows."""
        return self.few if rows <= self.knee else self.many

    def seconds(
        self,
        rows: ArrayLike,
        sequences: ArrayLike,
        cache_tokens: ArrayLike,
        attended: ArrayLike | None = None,
    ) -> Floats:
        """Of forwards, float64 [n]: f is linear between the counts of rows measured, and goes on as the last two do.

        `attended`: None where each sequence has as many rows and as many cache tokens.
        """
        rows, sequences, cache = (np.asarray(x, dtype=float) for x in (rows, sequences, cache_tokens))
        seen = rows * cache / sequences if attended is None else np.asarray(attended, dtype=float)
        base = np.interp(rows, self.rows, self.base)
        if len(self.rows) > 1:
            slope = (self.base[-1] - self.base[-2]) / (self.rows[-1] - self.rows[-2])
            base = base + slope * np.maximum(0.0, rows - self.rows[-1])
        k, a, c = (
            np.where(rows <= self.knee, few, many) for few, many in zip(self.few, self.many, strict=True)
        )
        return np.asarray(base + k * cache + a * seen + c * (sequences - 1.0))


def _fitted(cells: Sequence[Cell], knee: int) -> tuple[ForwardFit, float] | None:
    """The fit with a knee (0: without), and Akaike's criterion of it, of which less is better; None: nothing tells."""
    from scipy.optimize import nnls  # here, since it takes a while to import

    rows, sequences, cache = (
        np.array([getattr(cell, name) for cell in cells], dtype=float)
        for name in ("rows", "sequences", "cache_tokens")
    )
    medians = np.array([np.median(cell.seconds) for cell in cells])
    counts = np.unique(rows)
    # f is a sum of steps up, one at each count of rows; what all cells have alike is a part of the first.
    steps = (rows[:, None] >= counts).astype(float)
    terms: dict[str, Floats] = dict(
        zip(Terms._fields, (cache, rows * cache / sequences, sequences - 1.0), strict=True)
    )
    sides = {
        side: rows <= knee if side == "few" else rows > knee
        for side in (("few", "many") if knee else ("many",))
    }
    further = {
        (side, name): np.where(there, column, 0.0)
        for side, there in sides.items()
        for name, column in terms.items()
        if np.ptp(column[there])
    }
    design, size = _scaled(steps, further, medians)
    for key in [key for key in further if key[1] == "attended"]:
        if not _is_told(design):
            del further[key]
            design, size = _scaled(steps, further, medians)
    if not _is_told(design):
        return None
    shares, _ = nnls(design, np.ones(len(cells)))
    found = dict(zip(further, (shares / size)[len(counts) :].tolist(), strict=True))
    few, many = (Terms(*(found.get((side, name), 0.0) for name in Terms._fields)) for side in ("few", "many"))
    residuals = design @ shares - 1.0
    fit = ForwardFit(
        tuple(counts.astype(int).tolist()),
        tuple(np.cumsum((shares / size)[: len(counts)]).tolist()),
        few if knee else many,
        many,
        knee,
        tuple(residuals.tolist()),
    )
    return fit, _criterion(residuals, len(size) + (1 if knee else 0))


def _scaled(
    steps: Floats, further: Mapping[tuple[str, str], Floats], medians: Floats
) -> tuple[Floats, Floats]:
    """The design of shares of medians with columns of one size, and their sizes."""
    design = np.column_stack([steps, *further.values()]) / medians[:, None]
    size = np.linalg.norm(design, axis=0)
    return design / size, size


def _is_told(design: Floats) -> bool:
    """Whether no column of a design is made of others."""
    return bool(np.linalg.matrix_rank(design) == design.shape[1])


def _criterion(residuals: Floats, parameters: int) -> float:
    """Akaike's, corrected for few residuals; infinite where there are too few of them."""
    count = len(residuals)
    if count <= parameters + 1:
        return math.inf
    # What is exact within rounding is not to be told from what is more so.
    spread = max(float(np.mean(np.square(residuals))), 1e-18)
    return count * math.log(spread) + 2.0 * parameters * count / (count - parameters - 1)
