"""When a verification looks at what it has, and how much of its error each look may spend. Torch-free.

A rule that looks often is wrong more often than one that looks once, unless each look spends a part of the error that
was planned. The parts are those of Lan and DeMets (1983, Discrete sequential boundaries for clinical trials) with
O'Brien and Fleming's shape: almost nothing early, almost everything at the end. Bounds follow from the looks' joint
normal law, in which two looks at m and n prompts correlate by sqrt(m / n) (Jennison and Turnbull 2000, Group Sequential
Methods, sections 7.2 and 19.2); their nominal levels are then put to Student's t (section 4.4). What all looks have in
common, such as the calibration's own sample, correlates them more, and makes errors rarer.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtr, ndtri

from engine.frozen_record import FrozenRecord

ERROR = 0.025  # the chance of a wrong PASS, and of a wrong FAIL, over all looks
LOOKS = 4
POINTS = 401  # of the grid on which the joint law is integrated

Decision = Literal["held", "broken", "undecided"]


class Look(FrozenRecord):
    """What was known after so many prompts: each criterion's outcome, for either question.

    `spent`: the error that was spent by then. A criterion that was decided stays so.
    """

    prompts: int = Field(ge=1)
    spent: float = Field(gt=0, lt=1)
    forecast: dict[str, Decision]
    model: dict[str, Decision]

    @property
    def decided(self) -> bool:
        """Whether nothing is open."""
        return "undecided" not in {*self.forecast.values(), *self.model.values()}


class Looks(FrozenRecord):
    """The plan, fixed before the first run, and the looks that were taken.

    `planned`: the number of prompts at each look, the last of which is the most. `minutes`: of runs, at most; none: no
    limit. `error`: one-sided, for either question. `ended`: by what.
    """

    planned: tuple[int, ...] = Field(min_length=1)
    minutes: float | None = None
    error: float = ERROR
    taken: tuple[Look, ...] = ()
    ended: Literal["decided", "minutes", "prompts"] | None = None

    @property
    def most(self) -> int:
        """Prompts, at most."""
        return self.planned[-1]

    def decided_before(self, question: Literal["forecast", "model"]) -> dict[str, tuple[Decision, int]]:
        """The criteria that a look has decided, with their outcome and the prompts at that look."""
        found: dict[str, tuple[Decision, int]] = {}
        for look in self.taken:
            for name, outcome in getattr(look, question).items():
                if outcome != "undecided":
                    found.setdefault(name, (outcome, look.prompts))
        return found


def plan_looks(most: int, looks: int = LOOKS) -> tuple[int, ...]:
    """How many prompts there are at each look: even shares of `most`, and two or more."""
    return tuple(sorted({max(2, math.ceil(most * (k + 1) / looks)) for k in range(looks)}))


def spent(share: float, error: float = ERROR) -> float:
    """The error that may be spent when `share` of the prompts are there, O'Brien and Fleming's shape."""
    return float(2.0 * ndtr(ndtri(error / 2.0) / math.sqrt(min(share, 1.0))))


@cache
def level_at(counts: tuple[int, ...], most: int, error: float = ERROR, last: bool = False) -> float:
    """The one-sided level at which the last of the looks at `counts` prompts, ascending, may decide.

    `last`: nothing comes behind it, for whatever reason that has nothing to do with what was seen (the time is over),
    so that it spends all that is left.
    """
    *before, now = counts
    times = [count / most for count in (*dict.fromkeys(n for n in before if n < now), now)]
    shares = [spent(time, error) for time in times]
    if last:
        shares[-1] = error
    return float(ndtr(-_bounds(times, shares)[-1]))


def _bounds(times: Sequence[float], shares: Sequence[float]) -> list[float]:
    """The normal bound of each look, where looks until then are to cross with the chances `shares`.

    Recursion over the density of a Brownian motion at these times that has not crossed yet (Armitage, McPherson and
    Rowe 1969), by the trapezoid rule.
    """
    bounds: list[float] = []
    grid, density = np.zeros(1), np.ones(1)
    before, crossed = 0.0, 0.0
    for time, share in zip(times, shares, strict=True):
        step = math.sqrt(time - before)

        def crossing(
            bound: float, grid: np.ndarray = grid, mass: np.ndarray = density, step: float = step
        ) -> float:
            return float(mass @ ndtr((grid - bound) / step))

        low, high = -8.0 * math.sqrt(time), 8.0 * math.sqrt(time)
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if crossing(middle) > share - crossed else (low, middle)
        bounds.append(high / math.sqrt(time))
        points = np.linspace(-8.0 * math.sqrt(time), high, POINTS)
        kernel = np.exp(-0.5 * ((points[:, None] - grid) / step) ** 2) / (step * math.sqrt(2.0 * math.pi))
        weights = np.full(POINTS, points[1] - points[0])
        weights[[0, -1]] /= 2.0
        grid, density = points, (kernel @ density) * weights
        before, crossed = time, share
    return bounds
