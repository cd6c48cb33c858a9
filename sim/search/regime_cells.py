"""The cells of a map of regimes at one alignment: every method at its best, and what takes of SpecBranch's gain."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.metrics import Estimate, ratio_of_sums
from engine.runtime.placement import Placement
from scenarios.what_if import WhatIf
from sim.search.cost_ratios import AtRatios, Scale
from sim.search.grid import PARALLEL, simplicity
from sim.search.processes import no_collections
from sim.search.regimes import Cell, Entry, Part, Where
from sim.world.replay import Replay

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """One alignment at one temperature, for all ratios; `ideal` has the same texts with every first token right.

    `scales`: of the models, for each ratio. `plain` and `helped` are settings, to be tried in every placement. `draft`:
    its name, where the pair is the calibration's own.
    """

    artifact: Artifact
    ideal: Artifact
    ratios: tuple[float, ...]
    scales: tuple[Scale, ...]
    alignment: float
    placements: tuple[Placement, ...]
    plain: tuple[Configuration, ...]
    helped: tuple[Configuration, ...]
    what_if: WhatIf
    seed: int
    draft: str | None = None


_Key = tuple[Where, bool]
Row = dict[_Key, list[Cell]]  # by placement and helpers, over ratios
Worked = tuple[Row, float]  # with the processor's seconds


@dataclass(frozen=True)
class _Timed:
    """A configuration at one ratio: seconds of each prompt, and its rollback tokens."""

    configuration: Configuration
    seconds: Floats
    rollback: int

    @property
    def total(self) -> float:
        return float(self.seconds.sum())


def row_of(piece: Piece) -> Worked:
    """Runs in a worker process."""
    begun = time.process_time()
    base = Replay(piece.artifact, piece.what_if, piece.seed)
    base.texts.kept = len(piece.plain) + len(piece.helped) + 1
    alone = [Configuration(policy="autoregressive", placement=p) for p in piece.placements]
    with no_collections():
        worlds = AtRatios(base, piece.scales)
        plain, helped = (
            _play(piece, worlds, [c for setting in some for c in _placed(setting, piece)])
            for some in ([*alone, *piece.plain], piece.helped)
        )
        losses = _Losses(piece, base)
        row: Row = {}
        for where in _places(piece.placements):
            for helpers in (False, True) if piece.helped else (False,):
                row[where, helpers] = [
                    _cell(piece, at, _of(where, plain[at] + (helped[at] if helpers else [])), losses)
                    for at in range(len(piece.ratios))
                ]
    return row, time.process_time() - begun


def _places(placements: Sequence[Placement]) -> tuple[Where, ...]:
    return ("best", *placements) if len(placements) > 1 else tuple(placements)


def _placed(setting: Configuration, piece: Piece) -> Iterator[Configuration]:
    """A setting in every placement; autoregressive decoding comes placed."""
    if not setting.drafts:
        yield setting
        return
    draft = piece.draft if "draft" in setting.uses else None
    for placement in piece.placements:
        yield setting.model_copy(update={"placement": placement, "draft": draft})


def _play(piece: Piece, worlds: AtRatios, configurations: Sequence[Configuration]) -> list[list[_Timed]]:
    """For each ratio, those configurations that may be worth it there."""
    found: list[list[_Timed]] = [[] for _ in piece.ratios]
    for c in configurations:
        places = [at for at, ratio in enumerate(piece.ratios) if _may_pay(c, ratio)]
        if not places:
            continue
        for at, tallies in zip(places, worlds.tallies(c, places), strict=True):
            seconds = np.array([t.seconds for t in tallies])
            found[at].append(_Timed(c, seconds, sum(t.rollback for t in tallies)))
    return found


def _may_pay(c: Configuration, ratio: float) -> bool:
    """Whether a parallel method's length is near enough to the ratio.

    While the target verifies, `ratio` tokens can be drafted. Much longer lines keep the target waiting for tokens that
    one round cannot use, much shorter ones keep the draft idle and gain nothing by it.
    """
    if c.policy not in PARALLEL or c.placement == "in-turn":
        return True
    return ratio / 8.0 <= c.draft_length <= 2.0 * ratio + 2.0


def _of(where: Where, timed: Sequence[_Timed]) -> list[_Timed]:
    return [p for p in timed if where in ("best", p.configuration.placement)]


def _cell(piece: Piece, at: int, timed: Sequence[_Timed], losses: "_Losses") -> Cell:
    best: dict[str, _Timed] = {}
    for p in sorted(timed, key=lambda p: (p.total, simplicity(p.configuration))):
        best.setdefault(p.configuration.policy, p)
    ranked = list(best.values())
    baseline, first = best["autoregressive"], ranked[0]
    second = ranked[1] if len(ranked) > 1 else first
    tokens = sum(len(trace.path) for trace in piece.artifact.traces)
    mine = best.get("specbranch")
    return Cell(
        ratio=piece.ratios[at],
        alignment=piece.alignment,
        entries=tuple(
            Entry(
                configuration=p.configuration,
                speed_up=_over(p, baseline),
                rollback=round(p.rollback / tokens, 4),
            )
            for p in ranked
        ),
        lead=_over(first, second),
        tied=tuple(p.configuration.policy for p in ranked if p is first or not _over(first, p).low > 1.0),
        over={rival: _over(mine, best[rival]) for rival in ("pearl", "speculative") if rival in best}
        if mine
        else {},
        without=losses.of(at, mine.configuration) if mine else {},
    )


def _over(one: _Timed, other: _Timed) -> Estimate:
    """One's tokens/s over the other's, with its paired interval; rounded, for there are thousands of them."""
    found = ratio_of_sums(other.seconds.tolist(), one.seconds.tolist())
    return Estimate(*(round(x, 4) for x in (found.value, found.low, found.high)))


class _Losses:
    """What overheads, contention and rollback take of SpecBranch's speed, each found once."""

    def __init__(self, piece: Piece, world: Replay) -> None:
        ideal = Replay(piece.ideal, piece.what_if, piece.seed)
        ideal.texts.kept = world.texts.kept
        self._places = range(len(piece.ratios))
        self._world = AtRatios(world, piece.scales)
        without: dict[Part, Replay] = {
            "overheads": world.under(piece.what_if.model_copy(update={"overheads": False})),
            "contention": world.under(piece.what_if.model_copy(update={"contention": False})),
            "rollback": ideal,
        }
        self._others = {part: AtRatios(other, piece.scales) for part, other in without.items()}
        self._known: dict[Configuration, list[dict[Part, float]]] = {}

    def of(self, at: int, c: Configuration) -> dict[Part, float]:
        """How many times as fast a configuration would be at a ratio, by what it would be without."""
        if c not in self._known:  # what is the best at one ratio mostly is at several
            real = self._seconds(self._world, c)
            by_part = {part: self._seconds(world, c) for part, world in self._others.items()}
            self._known[c] = [
                {part: round(took / seconds[i], 4) for part, seconds in by_part.items()}
                for i, took in enumerate(real)
            ]
        return self._known[c][at]

    def _seconds(self, world: AtRatios, c: Configuration) -> list[float]:
        """Over all texts, for each ratio."""
        return [sum(t.seconds for t in tallies) for tallies in world.tallies(c, self._places)]
