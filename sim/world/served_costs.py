"""What forwards of several requests take: by a calibration, or by costs or hardware that a scenario states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from calibrate.cost_records import Cell, MeasuredCosts
from engine.errors import CalibrationError
from engine.runtime.placement import Placement
from engine.service_record import Model
from scenarios.stated import LinearCosts
from scenarios.stated_hardware import Hardware, Timed
from scenarios.what_if import WhatIf
from sim.costs.contention import FREE, Contention
from sim.costs.forward_cost import ForwardCost, LinearForwardCost
from sim.costs.forwards import FittedForwardCost, forward_costs
from sim.costs.measured import draw_block


@dataclass(frozen=True)
class ServingCosts:
    """What `sim.world.serving.serve` goes by: forwards by model, a hand-over in seconds, and contention."""

    forwards: Mapping[Model, ForwardCost]
    hand_over: float = 0.0
    contention: Contention = FREE


@dataclass(frozen=True)
class HardwareForwardCost:
    """By a roofline or a profile, `speed` times as fast: all rows are read at once, behind the cache of all texts."""

    times: Timed
    speed: float = 1.0

    def __call__(
        self, rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0
    ) -> float:
        return self.times.seconds(rows, cache_tokens - rows) / self.speed


@dataclass(frozen=True)
class VaryingForwardCost:
    """Another cost, `speed` times as fast, each forward's times one of `factors`, in their order and then anew."""

    cost: ForwardCost
    speed: float = 1.0
    factors: Sequence[float] = (1.0,)
    _left: "cycle[float]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_left", cycle(factor / self.speed for factor in self.factors))

    def __call__(
        self, rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0
    ) -> float:
        return self.cost(rows, sequences, cache_tokens, attended, unscored) * next(self._left)


def calibrated_costs(
    costs: MeasuredCosts,
    placement: Placement,
    draft: str | None,
    what_if: WhatIf,
    seed: int,
    known: dict[tuple[Placement, str | None], dict[Model, FittedForwardCost]] | None = None,
) -> ServingCosts:
    """Of a calibration: fitted forwards, as spread as its cells are, the median hand-over, and contention.

    `known`: fits that were made before, which this one is added to. CalibrationError where a placement, a draft or
    forwards of several sequences were not measured.
    """
    measured = costs.at(placement)
    fits = {} if known is None else known
    if (placement, draft) not in fits:
        fits[placement, draft] = forward_costs(measured, draft)
        if any(fit.most_sequences == 1 for fit in fits[placement, draft].values()):
            raise CalibrationError(
                "the calibration has no forwards of several requests; 'specbranch calibrate --again --batches' measures"
                " them."
            )
    forwards: dict[Model, ForwardCost] = {}
    for stream, (model, fit) in enumerate(fits[placement, draft].items()):
        speed = what_if.target_speed if model == "target" else what_if.draft_speed
        spread = what_if.jitter and what_if.overheads
        factors = (
            draw_block(_residuals(fit.cells), np.random.default_rng([seed, 16 + stream])) if spread else None
        )
        forwards[model] = VaryingForwardCost(fit, speed, (1.0,) if factors is None else factors.tolist())
    together = measured.drafts[draft] if draft is not None else None
    return ServingCosts(
        forwards,
        float(np.median(measured.hand_over)) if what_if.overheads else 0.0,
        Contention.of((*together.together, *together.batched_together))
        if together is not None and what_if.contention
        else FREE,
    )


def _residuals(cells: Sequence[Cell]) -> list[float]:
    """All samples over their cells' medians."""
    medians = [float(np.median(cell.seconds)) for cell in cells]
    return [
        second / median
        for cell, median in zip(cells, medians, strict=True)
        for second in cell.seconds
        if median
    ]


def stated_costs(costs: LinearCosts) -> ServingCosts:
    """Of costs that are stated, of which the first row and the first request are a part of a forward's time."""
    return ServingCosts(linear_forward_costs(costs), costs.hand_over_ms / 1e3)


def linear_forward_costs(costs: LinearCosts) -> Mapping[Model, ForwardCost]:
    """Of costs whose first row and first request are a part of a forward's time."""
    target, draft = (
        LinearForwardCost(
            seconds=(first - row - sequence) / 1e3,
            row=row / 1e3,
            sequence=sequence / 1e3,
            cache_token=cache_token / 1e3,
        )
        for first, row, sequence, cache_token in (
            (
                costs.target_forward_ms,
                costs.target_token_ms,
                costs.target_sequence_ms,
                costs.target_cache_token_ms,
            ),
            (costs.draft_step_ms, costs.draft_token_ms, costs.draft_sequence_ms, costs.draft_cache_token_ms),
        )
    )
    return {"target": target, "draft": draft}


def hardware_costs(hardware: Hardware, what_if: WhatIf, shared: bool) -> ServingCosts:
    """Of other hardware; `shared`: one device for both models."""
    hand_over = hardware.hand_over_ms / 1e3 if what_if.overheads else 0.0
    return ServingCosts(hardware_forward_costs(hardware, what_if, shared), hand_over)


def hardware_forward_costs(hardware: Hardware, what_if: WhatIf, shared: bool) -> Mapping[Model, ForwardCost]:
    """Of other hardware; `shared`: one device for both models."""
    return {
        "target": HardwareForwardCost(hardware.target, what_if.target_speed),
        "draft": HardwareForwardCost(hardware.draft_times(shared), what_if.draft_speed),
    }
