"""What a search is after, what it must not exceed, and what it trades: objectives, bounds and the Pareto front."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import Estimate, between, ratio_of_sums
from engine.naming import in_words
from engine.runtime.placement import Placement, Seat

Objective = Literal["tokens-per-second", "tokens-per-device-second", "p95-token-seconds"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
RESAMPLES = 2000
PERCENTILE = 95.0

Floats = NDArray[np.float64]


class Bounds(BaseModel):
    """What a configuration may cost beside time; none: anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rollback_rate: float | None = Field(default=None, ge=0, le=1, description="of the followed line's tokens")
    hedge_rate: float | None = Field(default=None, ge=0, le=1, description="of all drafted tokens")
    devices: int | None = Field(default=None, ge=1, description="cores or devices it occupies")

    def hold(self, rollback_rate: float, hedge_rate: float, devices: int) -> bool:
        """Whether so much is within them."""
        found = (rollback_rate, self.rollback_rate), (hedge_rate, self.hedge_rate), (devices, self.devices)
        return all(most is None or value <= most for value, most in found)


class Tallied(Protocol):
    """What is known of a configuration on some prompts."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def rollback_rate(self) -> float: ...
    @property
    def hedge_rate(self) -> float: ...
    @property
    def devices(self) -> int: ...


T = TypeVar("T", bound=Tallied)


@dataclass(frozen=True)
class Occupancy:
    """How many cores or devices each placement occupies: with the target alone, and with the draft too."""

    target: Mapping[Placement, int]
    both: Mapping[Placement, int]

    @classmethod
    def of(cls, artifact: Artifact) -> "Occupancy":
        """As the calibration seated the models."""
        seats = {
            costs.placement: (Seat.of(costs.target_seat).units, Seat.of(costs.draft_seat).units)
            for costs in artifact.costs.placements
        }
        return cls(
            {placement: len(target) for placement, (target, _) in seats.items()},
            {placement: len(target | draft) for placement, (target, draft) in seats.items()},
        )

    def devices(self, configuration: Configuration) -> int:
        """What a configuration occupies."""
        counts = self.both if "draft" in configuration.uses else self.target
        return counts[configuration.placement]


def compare(
    objective: Objective,
    mine: Sequence[float],
    theirs: Sequence[float],
    tokens: Sequence[int],
    devices: tuple[int, int] = (1, 1),
    seed: int = 0,
) -> Estimate:
    """How many times as good `mine` is as `theirs`, with the paired 95% interval over prompts.

    Both are seconds by prompt for `tokens` each; `devices` are what each occupies. Sums go by the delta method, the
    percentile by a bootstrap of prompts.
    """
    if objective == "p95-token-seconds":
        return _compare_percentiles(mine, theirs, tokens, seed)
    if objective == "tokens-per-device-second":
        mine, theirs = ([n * s for s in some] for n, some in zip(devices, (mine, theirs), strict=True))
    return ratio_of_sums(theirs, mine)


def cost(objective: Objective, seconds: Sequence[float], tokens: Sequence[int], devices: int) -> float:
    """What an objective makes small: seconds a token, device-seconds a token, or the percentile of the former."""
    if objective == "p95-token-seconds":
        return float(np.percentile(np.divide(seconds, tokens), PERCENTILE))
    each = sum(seconds) / sum(tokens)
    return each * devices if objective == "tokens-per-device-second" else each


def _compare_percentiles(
    mine: Sequence[float], theirs: Sequence[float], tokens: Sequence[int], seed: int
) -> Estimate:
    each = np.divide(np.array([theirs, mine]), np.asarray(tokens, dtype=float))
    above, below = np.percentile(each, PERCENTILE, axis=1)
    value = float(above / below)
    if len(tokens) < 2:
        return Estimate(value, float("nan"), float("nan"))
    picks = np.random.default_rng(seed).integers(len(tokens), size=(RESAMPLES, len(tokens)))
    drawn: Floats = np.percentile(each[:, picks], PERCENTILE, axis=2)
    return between(value, drawn[0] / drawn[1], len(tokens) - 1)


def within(scored: Sequence[T], bounds: Bounds) -> list[T]:
    """Those that keep to the bounds, in their order. ConfigurationError, naming the nearest, if none does."""
    limits: list[tuple[str, float, Callable[[T], float]]] = []
    if bounds.rollback_rate is not None:
        limits.append(("rollback rate", bounds.rollback_rate, lambda s: s.rollback_rate))
    if bounds.hedge_rate is not None:
        limits.append(("hedge rate", bounds.hedge_rate, lambda s: s.hedge_rate))
    if bounds.devices is not None:
        limits.append(("devices", bounds.devices, lambda s: s.devices))
    kept = [s for s in scored if bounds.hold(s.rollback_rate, s.hedge_rate, s.devices)]
    if kept or not scored:
        return kept
    nearest = min(scored, key=lambda s: sum(max(0.0, of(s) - most) for _, most, of in limits))
    shown = ", ".join(f"{name} {of(nearest):.3g} of at most {most:g}" for name, most, of in limits)
    raise ConfigurationError(
        f"no configuration keeps to the bounds; the nearest, {in_words(nearest.configuration)}, has {shown}."
    )


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points [n, k], more being better in each coordinate, that no other point dominates.

    A point dominates another if it is as good in all coordinates and better in one.
    """
    values = np.asarray(points, dtype=float)
    return [
        index
        for index, point in enumerate(values)
        if not ((values >= point).all(axis=1) & (values > point).any(axis=1)).any()
    ]
