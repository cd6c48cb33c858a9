"""What a forward takes as a function of rows, sequences and cache tokens, fitted to measured cells. Torch-free.

seconds = f(rows) + k x cache tokens + a x attended + c x (sequences - 1) + h x scored, where f never falls and k, a, c
and h are not negative; *attended* is the sum over the rows of the cache tokens that each of them sees, and *scored* are
the rows whose logits are wanted: all of a batch that is verified, of a prompt the last. Weights are read once whatever
is read with them, which is f(1); each further row is computed, each token of the cache is read, and multiplied with
each row that sees it; each further sequence takes attention of its own, and each scored row the head. Published fits
of served models have these terms but for a, which accelerators hide, and h, with k the bytes of a cache token over the
memory's bandwidth.

Another kernel may take over where there are more rows (`calibrate.costs.measurement`), and then all of these are other
ones, and f may be less. So there may be a *knee*: of more rows than that f and the terms have values of their own, if
Akaike's criterion says that this tells more than it costs.

It is for batches, whose cells cannot cover three coordinates. For one sequence, `sim.costs.measured.Table` goes through
its own cells (docs/design.md, "Costs of a batch").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.cost_records import Cell
from engine.errors import CalibrationError

Floats = NDArray[np.float64]

EXACT = 1e-6  # share of a time, a difference below which is none


class Terms(NamedTuple):
    """k, a, c and h, in seconds."""

    cache_token: float = 0.0
    attended: float = 0.0
    sequence: float = 0.0
    scored: float = 0.0


class Side(NamedTuple):
    """Of few rows, or of many: `base` seconds of f at as many `rows`, ascending, and the terms."""

    rows: tuple[int, ...]
    base: tuple[float, ...]
    terms: Terms

    def seconds(self, rows: Floats) -> Floats:
        """f of so many rows, float64 [n]: linear between those measured, and level beyond them."""
        base: Floats = np.interp(rows, self.rows, self.base)
        return base


@dataclass(frozen=True)
class ForwardFit:
    """What was found of `few` rows, up to `knee`, and of `many`; without a knee, which is 0 then, both are the same.

    c is 0 where all cells of a side have as many sequences, and k and a where they have as many cache tokens: then
    nothing tells them. a is 0 too where it cannot be told from k, as of cells that have as many rows, and h where there
    are no cells of as many rows of which more and fewer are scored: then it is a part of f. `residuals`: of each cell
    in the order given, what was fitted over its median, less 1.
    """

    few: Side
    many: Side
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
        knees = [knee for knee in sorted({cell.rows for cell in cells})[:-1] if _both_tell(cells, knee)]
        found = [plain, *filter(None, (_fitted(cells, knee) for knee in knees))]
        return min(found, key=lambda one: one[1])[0]

    @property
    def residual(self) -> float:
        """The root of the mean squared residual, as a share."""
        return float(np.sqrt(np.mean(np.square(self.residuals))))

    @property
    def further(self) -> float:
        """Seconds of each row beyond the most that were measured: what f grew by up to these from half as many or less.

        Of such counts it is the one from which f grew the most. The last two will not do: they may be a batch, of whose
        rows the head scores each, and a prompt, of which it scores the last alone. So f, which never falls, can be
        level between 144 rows of the one and 184 of the other, though each row takes as long as before.
        """
        knots = [
            *zip(self.few.rows, self.few.base, strict=True),
            *zip(self.many.rows, self.many.base, strict=True),
        ]
        last, most = knots[-1]
        fewer = [(rows, base) for rows, base in knots if 2 * rows <= last] or [
            knot for knot in knots[:1] if knot[0] < last
        ]
        return max([0.0, *((most - base) / (last - rows) for rows, base in fewer)])

    def side(self, rows: int) -> Side:
        """That of a forward of so many rows."""
        return self.few if rows <= self.knee else self.many

    def seconds(
        self,
        rows: ArrayLike,
        sequences: ArrayLike,
        cache_tokens: ArrayLike,
        attended: ArrayLike | None = None,
        scored: ArrayLike | None = None,
    ) -> Floats:
        """Of forwards, float64 [n].

        `attended`: None where each sequence has as many rows and cache tokens; `scored`: None where all rows are.
        """
        rows, sequences, cache = (np.asarray(x, dtype=float) for x in (rows, sequences, cache_tokens))
        seen = rows * cache / sequences if attended is None else np.asarray(attended, dtype=float)
        judged = rows if scored is None else np.asarray(scored, dtype=float)
        few, many = (
            side.seconds(rows)
            + side.terms.cache_token * cache
            + side.terms.attended * seen
            + side.terms.sequence * (sequences - 1.0)
            + side.terms.scored * judged
            for side in (self.few, self.many)
        )
        many = many + self.further * np.maximum(0.0, rows - self.many.rows[-1])
        return np.asarray(np.where(rows <= self.knee, few, many))


def _both_tell(cells: Sequence[Cell], knee: int) -> bool:
    """Whether both sides of a knee tell what a further sequence takes, or none of the cells does.

    A side that is prompts alone, of one sequence each, would say that further ones take nothing.
    """
    few, many = ({c.sequences for c in cells if (c.rows <= knee) is there} for there in (True, False))
    return (len(few) > 1 and len(many) > 1) or len(few | many) == 1


def _fitted(cells: Sequence[Cell], knee: int) -> tuple[ForwardFit, float] | None:
    """The fit with a knee (0: without), and Akaike's criterion of it, of which less is better; None: nothing tells."""
    sides, residuals, parameters = [], np.zeros(len(cells)), 1 if knee else 0
    rows = np.array([cell.rows for cell in cells])
    for there in (rows <= knee, rows > knee) if knee else (rows > knee,):
        found = _side([cell for cell, its in zip(cells, there, strict=True) if its])
        if found is None:
            return None
        side, residuals[there], count = found
        sides.append(side)
        parameters += count
    spread = max(float(np.mean(np.square(residuals))), EXACT**2)
    criterion = len(cells) * math.log(spread) + 2.0 * parameters
    return ForwardFit(sides[0], sides[-1], knee, tuple(residuals.tolist())), criterion


def _side(cells: Sequence[Cell]) -> tuple[Side, Floats, int] | None:
    """What these cells tell, the residual of each, and how many parameters that took; None: they do not tell it."""
    from scipy.optimize import nnls  # here, since it takes a while to import

    rows, sequences, cache, unscored = (
        np.array([getattr(cell, name) for cell in cells], dtype=float)
        for name in ("rows", "sequences", "cache_tokens", "unscored")
    )
    medians = np.array([np.median(cell.seconds) for cell in cells])
    counts = np.unique(rows)
    # f is a sum of steps up, one at each count of rows; what all cells have alike is a part of the first.
    steps = (rows[:, None] >= counts).astype(float)
    columns = {"cache_token": cache, "sequence": sequences - 1.0}
    columns = {name: column for name, column in columns.items() if np.ptp(column)}
    design, size = _scaled([steps, *columns.values()], medians)
    if not _is_told(design):
        return None
    for name, column in (("attended", rows * cache / sequences), ("scored", rows - unscored)):
        if np.ptp(column):
            more, sizes = _scaled([steps, *columns.values(), column], medians)
            if _is_told(more):
                columns[name], design, size = column, more, sizes
    shares, _ = nnls(design, np.ones(len(cells)))
    found = (shares / size).tolist()
    base = tuple(np.cumsum(found[: len(counts)]).tolist())
    terms = Terms(**dict(zip(columns, found[len(counts) :], strict=True)))
    return Side(tuple(counts.astype(int).tolist()), base, terms), design @ shares - 1.0, len(size)


def _scaled(columns: Sequence[Floats], medians: Floats) -> tuple[Floats, Floats]:
    """The design of shares of medians with columns of one size, and their sizes."""
    design = np.column_stack(columns) / medians[:, None]
    size = np.linalg.norm(design, axis=0)
    return design / size, size


def _is_told(design: Floats) -> bool:
    """Whether no column of a design is made of others."""
    return bool(np.linalg.matrix_rank(design) == design.shape[1])
