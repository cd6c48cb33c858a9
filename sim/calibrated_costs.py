"""Measured costs: medians of a calibration's cells, interpolated, and the spread around them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from calibrate.artifact import Cell, PlacementCosts
from engine.errors import CalibrationError
from sim.what_if import WhatIf

BLOCK = 4096  # residuals drawn for each cell; a power of two, so that an offset wraps by a mask
_MASK = BLOCK - 1

Entry = tuple[float, list[float]]  # a median in seconds, and the factors around it


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
    inside: dict[tuple[int, int], Entry] = field(default_factory=dict)
    outside: dict[tuple[int, int], Entry] = field(default_factory=dict)

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

    def look_up(self, tokens: int, context: int, outside: Counter[str]) -> Entry:
        """The time and its factors; `outside` counts the uses beyond what was measured."""
        key = (tokens, context)
        entry = self.inside.get(key)
        if entry is not None:
            return entry
        entry = self.outside.get(key)
        if entry is None:
            seconds, measured = self._interpolate(tokens, context)
            # Few tokens matter more to a time's spread than context does, hence nearest by tokens first.
            nearest = min(self.factors, key=lambda c: (abs(c[0] - tokens), abs(c[1] - context)))
            entry = (seconds, self.factors[nearest])
            if measured:
                self.inside[key] = entry
                return entry
            self.outside[key] = entry
        outside[self.name] += 1
        return entry

    def _interpolate(self, tokens: int, context: int) -> tuple[float, bool]:
        reaching = [c for c in self.columns if c[1][0] <= tokens <= c[1][-1]]
        columns = reaching or self.columns
        contexts = [column[0] for column in columns]
        seconds = [_line(known, times, tokens) for _, known, times in columns]
        measured = bool(reaching) and contexts[0] <= context <= contexts[-1]
        return _line(contexts, seconds, context), measured


def _line(xs: Sequence[int], ys: Sequence[float], x: int) -> float:
    """Linear between the points; beyond the last two (or first two) along them, if that does not fall."""
    if xs[0] <= x <= xs[-1] or len(xs) == 1:
        return float(np.interp(x, xs, ys))
    i, j, edge = (0, 1, 0) if x < xs[0] else (-2, -1, -1)
    slope = max(0.0, (ys[j] - ys[i]) / (xs[j] - xs[i]))
    return max(0.0, ys[edge] + slope * (x - xs[edge]))


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
        )

    def of_run(self, index: int) -> "CalibratedCosts":
        """Costs for the text of this index, whose factors start at a place of their own in the blocks."""
        # Multiples of the golden ratio lie as far apart as can be, so that texts share few draws.
        return CalibratedCosts(self, int(index * 0.6180339887498949 % 1.0 * BLOCK))


def _hand_overs(samples: Sequence[float], what_if: WhatIf, seed: int) -> list[float]:
    if not what_if.overheads:
        return [0.0] * BLOCK
    median = float(np.median(samples))
    if not what_if.jitter or median <= 0.0:
        return [median] * BLOCK
    factors = draw_factors(samples, median, np.random.default_rng([seed, 4]))
    return [median * factor for factor in factors]


@dataclass
class CalibratedCosts:
    """Implements `sim.costs.Costs` for one run.

    A factor belongs to the operation and the place in the text, not to the order of calls, so that
    configurations meet the same ones. `outside` counts operations beyond what was measured, by name, and
    `operations` all of them.
    """

    tables: CostTables
    offset: int = 0
    outside: Counter[str] = field(default_factory=Counter)

    @property
    def slow_downs(self) -> tuple[float, float]:
        return self.tables.slow_downs

    def _one(self, table: Table | None, tokens: int, context: int) -> float:
        if table is None:
            return 0.0
        entry = table.inside.get((tokens, context)) or table.look_up(tokens, context, self.outside)
        return entry[0] * entry[1][(context + self.offset) & _MASK]

    def target_forward(self, tokens: int, context: int) -> float:
        return self._one(self.tables.target, tokens, context)

    def draft_forward(self, tokens: int, context: int) -> float:
        return self._one(self.tables.forward, tokens, context)

    def branch_steps(self, branches: Sequence[int], context: int) -> float:
        table, total, at = self.tables.branch, 0.0, self.offset
        if table is None:
            return 0.0
        known = table.inside
        for count in branches:
            entry = known.get((count, context)) or table.look_up(count, context, self.outside)
            total += entry[0] * entry[1][(context + at) & _MASK]
            context += 1
        return total

    def fork(self, branches: int, context: int) -> float:
        return self._one(self.tables.moves, branches, context)

    def hand_over(self, context: int) -> float:
        return self.tables.hand_overs[(context + self.offset) & _MASK]
