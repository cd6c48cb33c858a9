"""What forwards of several requests take, by costs or hardware that a scenario states."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.runtime.scheduler import Model
from scenarios.stated import LinearCosts
from scenarios.stated_hardware import Hardware, Timed
from scenarios.what_if import WhatIf
from sim.world.serving import ForwardCost, LinearForwardCost


@dataclass(frozen=True)
class HardwareForwardCost:
    """By a roofline or a profile, `speed` times as fast: all rows are read at once, behind the cache of all texts."""

    times: Timed
    speed: float = 1.0

    def __call__(self, rows: int, sequences: int, cache_tokens: int) -> float:
        return self.times.seconds(rows, cache_tokens - rows) / self.speed


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


def hardware_forward_costs(hardware: Hardware, what_if: WhatIf, shared: bool) -> Mapping[Model, ForwardCost]:
    """Of other hardware; `shared`: one device for both models."""
    return {
        "target": HardwareForwardCost(hardware.target, what_if.target_speed),
        "draft": HardwareForwardCost(hardware.draft_times(shared), what_if.draft_speed),
    }
