"""Measured costs: medians of a calibration's cells, interpolated, and the spread around them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Cell, PlacementCosts
from engine.errors import CalibrationError
from sim.what_if import WhatIf

BLOCK = 4096  # residuals drawn for each cell; a power of two, so that an offset wraps by a mask
_MASK = BLOCK - 1

LEAST_ROW = 256  # contexts; a row that is too short is made anew, at twice the length
FAR = 1 << 32  # a token more is farther than any context

_Medians = tuple[NDArray[np.float64], int, int, NDArray[np.int64]]


@dataclass
class Table:
    """One operation's times over tokens x context, with `factors` drawn from the residuals of each cell.

    A context is a column of cells; between two columns that reach the tokens asked for, and between the cells
    of a column, times are interpolated linearly. Outside they go on as the last two cells do, but never
    downwards, and every such use is counted.
    """

    name: str
    columns: list[tuple[int, list[int], list[float]]]
    factors: dict[tuple[int, int], list[float]]
    _known: dict[tuple[int, int], "_Medians"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._blocks = np.array(list(self.factors.values()))

    @classmethod
    def of(cls, name: str, cells: Sequence[Cell], speed: float, seed: Sequence[int] | None) -> "Table":
        """From cells, `speed` times as fast; without a seed every factor is 1. CalibrationError without cells."""
        if not cells:
            raise CalibrationError(
                f"the calibration has no measurement of {name}; run 'specbranch calibrate --again'."
            )
        columns: dict[int, dict[int, float]] = {}
        factors: dict[tuple[int, int], list[float]] = {}
        rng = np.random.default_rng(seed)
        for cell in cells:
            median = float(np.median(cell.seconds))
            columns.setdefault(cell.context, {})[cell.tokens] = median / speed
            factors[cell.tokens, cell.context] = (
                [1.0] * BLOCK if seed is None else draw_factors(cell.seconds, median, rng)
            )
        ordered = [
            (context, sorted(column), [column[tokens] for tokens in sorted(column)])
            for context, column in sorted(columns.items())
        ]
        return cls(name, ordered, factors)

    def row(self, tokens: int, offset: int, contexts: int) -> "Row":
        """Times behind 0, 1, ... tokens of context, at least `contexts` many, by the factors from `offset` on."""
        contexts = max(LEAST_ROW, 1 << (contexts - 1).bit_length())
        medians, first, last, nearest = self._medians(tokens, contexts)
        places = (np.arange(contexts) + offset) & _MASK
        return Row((medians * self._blocks[nearest, places]).tolist(), first, last)

    def _medians(self, tokens: int, contexts: int) -> "_Medians":
        """Medians by context, the first and last context measured, and of each context the nearest cell."""
        key = tokens, contexts
        if key not in self._known:
            reaching = [c for c in self.columns if c[1][0] <= tokens <= c[1][-1]]
            columns = reaching or self.columns
            measured = [context for context, _, _ in columns]
            seconds = [float(_line(known, times, np.array([tokens]))[0]) for _, known, times in columns]
            behind = np.arange(contexts)
            first, last = (measured[0], measured[-1]) if reaching else (contexts, -1)
            # Few tokens matter more to a time's spread than context does, hence nearest by tokens first.
            cells = np.array(list(self.factors))
            away = np.abs(cells[:, :1] - tokens) * FAR + np.abs(cells[:, 1:] - behind)
            self._known[key] = _line(measured, seconds, behind), first, last, away.argmin(axis=0)
        return self._known[key]


def _line(xs: Sequence[int], ys: Sequence[float], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Linear between the points; beyond the last two (or first two) along them, if that does not fall."""
    line: NDArray[np.float64] = np.interp(at, xs, ys)
    if len(xs) > 1:
        for i, j, edge, beyond in ((0, 1, 0, at < xs[0]), (-2, -1, -1, at > xs[-1])):
            slope = max(0.0, (ys[j] - ys[i]) / (xs[j] - xs[i]))
            line[beyond] = np.maximum(0.0, ys[edge] + slope * (at[beyond] - xs[edge]))
    return line


def draw_factors(samples: Sequence[float], median: float, rng: np.random.Generator) -> list[float]:
    """A block of sample over median, drawn anew from the samples."""
    drawn: list[float] = (rng.choice(np.asarray(samples), size=BLOCK) / median).tolist()
    return drawn


@dataclass
class CostTables:
    """The tables of one placement and draft under a what-if; `of_run` gives the costs of a single run."""

    target: Table
    forward: Table | None
    branch: Table | None
    moves: Table | None
    hand_overs: list[float]
    slow_downs: tuple[float, float]
    target_draws: dict[int, float] = field(default_factory=dict)
    draft_draws: dict[int, float] = field(default_factory=dict)
    foresight: float = 0.0
    _runs: dict[int, "CalibratedCosts"] = field(default_factory=dict)

    @classmethod
    def of(cls, measured: PlacementCosts, draft: str | None, what_if: WhatIf, seed: int) -> "CostTables":
        """CalibrationError if the draft or one of its operations was not measured in this placement."""
        spread = what_if.jitter and what_if.overheads

        def table(name: str, cells: Sequence[Cell], speed: float, stream: int) -> Table:
            return Table.of(name, cells, speed, [seed, stream] if spread else None)

        forward = branch = moves = None
        slow_downs = (1.0, 1.0)
        if draft is not None:
            if draft not in measured.drafts:
                raise CalibrationError(
                    f"the calibration did not measure draft '{draft}' in placement '{measured.placement}'."
                )
            costs, speed = measured.drafts[draft], what_if.draft_speed
            forward = table("draft forwards", costs.forward, speed, 1)
            branch = table("branch steps", costs.branch, speed, 2)
            if what_if.overheads and costs.fork:
                moves = table("forks", costs.fork, speed, 3)
            if what_if.contention and costs.together is not None:
                slow_downs = costs.together.slow_down()
        return cls(
            target=table("target forwards", measured.target, what_if.target_speed, 0),
            forward=forward,
            branch=branch,
            moves=moves,
            hand_overs=_hand_overs(measured.hand_over, what_if, seed),
            slow_downs=slow_downs,
            target_draws=_medians(measured.draw, what_if.target_speed),
            draft_draws=_medians(measured.drafts[draft].draw, what_if.draft_speed) if draft else {},
            foresight=next(iter(_medians(measured.foresight, what_if.target_speed).values()), 0.0),
        )

    def of_run(self, index: int) -> "CalibratedCosts":
        """Costs for the text of this index, whose factors start at a place of their own in the blocks.

        Asked for again, the rows are those made before, and nothing is counted yet.
        """
        if index not in self._runs:
            # Multiples of the golden ratio lie as far apart as can be, so that texts share few draws.
            self._runs[index] = self._run(int(index * 0.6180339887498949 % 1.0 * BLOCK))
        run = self._runs[index]
        run.outside.clear()
        return run

    def _run(self, offset: int) -> "CalibratedCosts":
        outside: Counter[str] = Counter()

        def rows(table: Table | None) -> "Rows | None":
            return Rows(table, offset, outside) if table else None

        return CalibratedCosts(
            target=Rows(self.target, offset, outside),
            forward=rows(self.forward),
            branch=rows(self.branch),
            moves=rows(self.moves),
            hand_overs=self.hand_overs,
            offset=offset,
            slow_downs=self.slow_downs,
            outside=outside,
            tables=self,
        )


def _hand_overs(samples: Sequence[float], what_if: WhatIf, seed: int) -> list[float]:
    if not what_if.overheads:
        return [0.0] * BLOCK
    median = float(np.median(samples))
    if not what_if.jitter or median <= 0.0:
        return [median] * BLOCK
    factors = draw_factors(samples, median, np.random.default_rng([seed, 4]))
    return [median * factor for factor in factors]


@dataclass(slots=True)
class Row:
    """One operation over as many tokens, in one run: `seconds` behind 0, 1, ... tokens of context.

    Those from `first` to `last` were measured.
    """

    seconds: list[float]
    first: int
    last: int


@dataclass(slots=True)
class Rows:
    """A table's rows in one run, made when they are first asked for; `outside` counts as `Table.look_up` does."""

    table: Table
    offset: int
    outside: Counter[str]
    known: dict[int, Row] = field(default_factory=dict)

    def one(self, tokens: int, context: int) -> float:
        """Seconds of one operation."""
        row = self.known.get(tokens)
        if row is None or context >= len(row.seconds):
            row = self._make(tokens, context + 1)
        if not row.first <= context <= row.last:
            self.outside[self.table.name] += 1
        return row.seconds[context]

    def several(self, tokens: int, context: int, count: int) -> float:
        """Seconds of `count` operations, each behind one token more than the one before."""
        end = context + count
        row = self.known.get(tokens)
        if row is None or end > len(row.seconds):
            row = self._make(tokens, end)
        if context < row.first or end - 1 > row.last:
            inside = min(end - 1, row.last) - max(context, row.first) + 1
            self.outside[self.table.name] += count - max(0, inside)
        return sum(row.seconds[context:end])

    def _make(self, tokens: int, contexts: int) -> Row:
        row = self.known[tokens] = self.table.row(tokens, self.offset, contexts)
        return row


@dataclass
class CalibratedCosts:
    """Implements `sim.costs.Costs` for one run.

    A factor belongs to the operation and the place in the text, not to the order of calls, so that
    configurations meet the same ones. `outside` counts operations beyond what was measured, by name.
    """

    target: Rows
    forward: Rows | None
    branch: Rows | None
    moves: Rows | None
    hand_overs: list[float]
    offset: int
    slow_downs: tuple[float, float]
    outside: Counter[str]
    tables: CostTables

    def target_forward(self, tokens: int, context: int) -> float:
        return self.target.one(tokens, context)

    def draft_forward(self, tokens: int, context: int) -> float:
        return self.forward.one(tokens, context) if self.forward else 0.0

    def branch_steps(self, branches: Sequence[int], context: int) -> float:
        if self.branch is None:
            return 0.0
        most, count = branches[0], len(branches)
        if branches[-1] == most:  # a branch that has stopped does not go on, so they never grow
            return self.branch.several(most, context, count)
        return sum([self.branch.one(n, context + step) for step, n in enumerate(branches)])

    def fork(self, branches: int, context: int) -> float:
        return self.moves.one(branches, context) if self.moves else 0.0

    def hand_over(self, context: int) -> float:
        return self.hand_overs[(context + self.offset) & _MASK]

    def target_draw(self, tokens: int) -> float:
        return _nearest(self.tables.target_draws, tokens)

    def draft_draw(self, tokens: int) -> float:
        return _nearest(self.tables.draft_draws, tokens)

    def foresight(self) -> float:
        return self.tables.foresight


def _medians(cells: Sequence[Cell], speed: float) -> dict[int, float]:
    """Seconds by tokens of an operation that is too small for its spread or its context to matter."""
    return {cell.tokens: max(0.0, float(np.median(cell.seconds))) / speed for cell in cells}


def _nearest(seconds: dict[int, float], tokens: int) -> float:
    """Those of the measured count that is nearest; nothing where none was measured."""
    return seconds[min(seconds, key=lambda n: abs(n - tokens))] if seconds and tokens else 0.0
