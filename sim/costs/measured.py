"""Measured costs: medians of a calibration's cells, interpolated, and the spread around them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibrate.cost_records import PAUSE, Cell, DraftCosts, PlacementCosts
from engine.errors import CalibrationError
from scenarios.what_if import WhatIf
from sim.costs.contention import FREE, Contention
from sim.costs.durations import Counts, Floats, Operations, StartUp

BLOCK = 4096  # residuals drawn for each operation; a power of two, so that an offset wraps by a mask
_MASK = BLOCK - 1

LEAST_CONTEXTS = 256  # of a grid; one that is too narrow is made anew, at twice the width


class _Grid(NamedTuple):
    """Of k counts of tokens, behind 0, 1, ... tokens of context: medians, and whether they were measured.

    `row` [tokens] leads to the k rows of both.
    """

    row: Counts
    medians: Floats
    measured: NDArray[np.bool_]


@dataclass
class Table:
    """One operation's times over tokens x context, for one sequence.

    `factors` are drawn from samples over their cell's median. All cells share their residuals: the half a dozen samples
    of one say little of how it varies, and the mean of them over their median is mostly chance.

    A context is a column of cells; between two columns that reach the tokens asked for, and between the cells
    of a column, times are interpolated linearly. Outside they go on as the last two cells do, but never
    downwards, and `outside` counts every such use. So measured times are met to the last digit, which a function of
    fewer figures does not (`calibrate.costs.forward_fit`, for batches).
    """

    name: str
    columns: list[tuple[int, list[int], list[float]]]
    factors: Floats  # float64 [BLOCK]
    outside: int = 0
    _known: dict[int, tuple[Floats, NDArray[np.bool_]]] = field(default_factory=dict)
    _grid: _Grid | None = None

    @classmethod
    def of(cls, name: str, cells: Sequence[Cell], speed: float, seed: Sequence[int] | None) -> "Table":
        """From cells, `speed` times as fast; without a seed every factor is 1. CalibrationError without cells."""
        if not cells:
            raise CalibrationError(
                f"the calibration has no measurement of {name}; run 'specbranch calibrate --again'."
            )
        columns: dict[int, dict[int, float]] = {}
        residuals: list[float] = []
        for cell in cells:
            median = float(np.median(cell.seconds))
            columns.setdefault(cell.cache_tokens, {})[cell.rows] = median / speed
            residuals += [second / median for second in cell.seconds if median > 0.0]
        ordered = [
            (context, sorted(column), [column[tokens] for tokens in sorted(column)])
            for context, column in sorted(columns.items())
        ]
        if seed is None or not residuals:
            return cls(name, ordered, np.ones(BLOCK))
        return cls(name, ordered, draw_block(residuals, np.random.default_rng(seed)))

    def seconds(self, operations: Operations) -> Floats:
        """Of one operation each. A factor belongs to the place in the text."""
        tokens, context, text = operations
        if not len(tokens):
            return np.zeros(0)
        grid = self._reaching(tokens, int(context.max()))
        row = grid.row[tokens]
        self.outside += int(len(tokens) - np.count_nonzero(grid.measured[row, context]))
        factors = self.factors[(context + offset(text)) & _MASK]
        seconds: Floats = grid.medians[row, context] * factors
        return seconds

    def _reaching(self, tokens: Counts, context: int) -> _Grid:
        """A grid with all of these tokens, behind at least as much context."""
        grid, most = self._grid, int(tokens.max())
        wide = grid is not None and context < grid.medians.shape[1] and most < len(grid.row)
        if grid is not None and wide and grid.row[tokens].min() >= 0:
            return grid
        contexts = LEAST_CONTEXTS if grid is None else grid.medians.shape[1]
        if context >= contexts:
            contexts = 1 << context.bit_length()
            self._known.clear()
        for count in np.unique(tokens).tolist():
            if count not in self._known:
                self._known[count] = self._row(count, contexts)
        row = np.full(max(self._known) + 1, -1)
        row[list(self._known)] = np.arange(len(self._known))
        rows = self._known.values()
        self._grid = _Grid(row, *(np.stack(part) for part in zip(*rows, strict=True)))
        return self._grid

    def _row(self, tokens: int, contexts: int) -> tuple[Floats, NDArray[np.bool_]]:
        reaching = [c for c in self.columns if c[1][0] <= tokens <= c[1][-1]]
        columns = reaching or self.columns
        measured = [context for context, _, _ in columns]
        seconds = [float(_line(known, times, np.array([tokens]))[0]) for _, known, times in columns]
        behind = np.arange(contexts)
        inside = (behind >= measured[0]) & (behind <= measured[-1]) & bool(reaching)
        return _line(measured, seconds, behind), inside


def offset(text: Counts) -> Counts:
    """Where a text's factors begin in the blocks: multiples of the golden ratio lie as far apart as can be."""
    return (text * 0.6180339887498949 % 1.0 * BLOCK).astype(np.int64)


def _line(xs: Sequence[int], ys: Sequence[float], at: Counts) -> Floats:
    """Linear between the points; beyond the last two (or first two) along them, if that does not fall."""
    line: Floats = np.interp(at, xs, ys)
    if len(xs) > 1:
        for i, j, edge, beyond in ((0, 1, 0, at < xs[0]), (-2, -1, -1, at > xs[-1])):
            slope = max(0.0, (ys[j] - ys[i]) / (xs[j] - xs[i]))
            line[beyond] = np.maximum(0.0, ys[edge] + slope * (at[beyond] - xs[edge]))
    return line


def draw_block(samples: Sequence[float], rng: np.random.Generator) -> Floats:
    """A block of samples, drawn anew from those there are."""
    drawn: Floats = rng.choice(np.asarray(samples), size=BLOCK)
    return drawn


@dataclass
class CalibratedCosts:
    """Implements `sim.costs.durations.Costs`: one placement and draft under a what-if.

    A factor belongs to the operation and the place in the text, not to the order of calls, so that configurations
    meet the same ones.
    """

    target: Table
    forward: Table | None
    branch: Table | None
    moves: Table | None
    hand_overs: Floats
    contention: Contention
    target_draws: "Small"
    draft_draws: "Small"
    inference: float = 0.0
    start_up: StartUp | None = None

    @classmethod
    def of(cls, measured: PlacementCosts, draft: str | None, what_if: WhatIf, seed: int) -> "CalibratedCosts":
        """CalibrationError if the draft or one of its operations was not measured in this placement."""
        spread = what_if.jitter and what_if.overheads

        def table(name: str, cells: Sequence[Cell], speed: float, stream: int) -> Table:
            return Table.of(name, cells, speed, [seed, stream] if spread else None)

        forward = branch = moves = None
        contention = FREE
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
            if what_if.contention:
                contention = Contention.of(costs.together)
        inference = Small.of(measured.foresight, what_if.target_speed).seconds
        return cls(
            target=table("target forwards", measured.target, what_if.target_speed, 0),
            forward=forward,
            branch=branch,
            moves=moves,
            hand_overs=_hand_overs(measured.hand_over, what_if, seed),
            contention=contention,
            target_draws=Small.of(measured.draw, what_if.target_speed),
            draft_draws=Small.of(measured.drafts[draft].draw if draft else (), what_if.draft_speed),
            inference=float(inference[0]) if len(inference) else 0.0,
            start_up=_start_up(measured.drafts[draft], what_if.draft_speed)
            if draft is not None and what_if.overheads
            else None,
        )

    @property
    def outside(self) -> Counter[str]:
        """Operations so far that went beyond what was measured, by name."""
        tables = (self.target, self.forward, self.branch, self.moves)
        return Counter({table.name: table.outside for table in tables if table and table.outside})

    def target_forward(self, operations: Operations) -> Floats:
        return self.target.seconds(operations)

    def draft_forward(self, operations: Operations) -> Floats | float:
        return self.forward.seconds(operations) if self.forward else 0.0

    def branch_step(self, operations: Operations) -> Floats | float:
        return self.branch.seconds(operations) if self.branch else 0.0

    def fork(self, operations: Operations) -> Floats | float:
        return self.moves.seconds(operations) if self.moves else 0.0

    def hand_over(self, operations: Operations) -> Floats:
        return np.take(self.hand_overs, (operations.context + offset(operations.text)) & _MASK)

    def target_draw(self, operations: Operations) -> Floats | float:
        return self.target_draws.nearest(operations.tokens)

    def draft_draw(self, operations: Operations) -> Floats | float:
        return self.draft_draws.nearest(operations.tokens)

    def prediction(self) -> float:
        return self.inference


def _start_up(costs: DraftCosts, speed: float) -> StartUp | None:
    """By how much bursts behind a pause took longer than as many steady steps behind the same context."""
    if not costs.burst:
        return None
    bursts = sorted(costs.burst, key=lambda cell: cell.rows)
    steady = next(c for c in costs.branch if c.rows == 1 and c.cache_tokens == bursts[0].cache_tokens)
    step = float(np.median(steady.seconds))
    extra = [max(0.0, float(np.median(cell.seconds)) - cell.rows * step) / speed for cell in bursts]
    # What caches have taken in they keep for the rest of the job.
    return StartUp(np.array([c.rows for c in bursts]), np.maximum.accumulate(extra), PAUSE)


def _hand_overs(samples: Sequence[float], what_if: WhatIf, seed: int) -> Floats:
    if not what_if.overheads:
        return np.zeros(BLOCK)
    median = float(np.median(samples))
    if not what_if.jitter or median <= 0.0:
        return np.full(BLOCK, median)
    return draw_block(samples, np.random.default_rng([seed, 4]))


@dataclass(frozen=True)
class Small:
    """An operation that is too small for its spread or its context to matter: medians by tokens, ascending."""

    tokens: Counts
    seconds: Floats

    @classmethod
    def of(cls, cells: Sequence[Cell], speed: float) -> "Small":
        """From cells, `speed` times as fast."""
        ordered = sorted(cells, key=lambda cell: cell.rows)
        medians = [max(0.0, float(np.median(cell.seconds))) / speed for cell in ordered]
        return cls(np.array([cell.rows for cell in ordered], dtype=np.int64), np.array(medians))

    def nearest(self, tokens: Counts) -> Floats | float:
        """Those of the measured count that is nearest; nothing where none was measured."""
        if not len(self.tokens):
            return 0.0
        seconds: Floats = self.seconds[np.abs(self.tokens[:, None] - tokens).argmin(axis=0)]
        return seconds
