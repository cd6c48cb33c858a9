"""Costs of hardware that was not measured here, by what a scenario states of it (`scenarios.stated_hardware`)."""

from dataclasses import dataclass, field

import numpy as np

from scenarios.stated_hardware import Hardware, Timed
from scenarios.what_if import WhatIf
from sim.costs.contention import FREE, Contention
from sim.costs.durations import Floats, Greedy, Operations


def hardware_costs(hardware: Hardware, what_if: WhatIf, shared: bool) -> "HardwareCosts":
    """Its costs with the speeds and overheads that a what-if wishes; `shared`: one device for both models."""
    overheads = 1.0 if what_if.overheads else 0.0
    return HardwareCosts(
        target=Forwards("target forwards", hardware.target, what_if.target_speed),
        draft=Forwards("draft forwards", hardware.draft_times(shared), what_if.draft_speed),
        hand_over_seconds=overheads * hardware.hand_over_ms / 1e3,
        fork_seconds=overheads * hardware.fork_ms / (1e3 * what_if.draft_speed),
    )


@dataclass
class Forwards:
    """A model's forwards, `speed` times as fast; `most`: tokens in the longest of them so far."""

    name: str
    times: Timed
    speed: float = 1.0
    most: int = 0
    _known: dict[tuple[int, int], float] = field(default_factory=dict)

    def seconds(self, operations: Operations) -> Floats:
        """One forward each."""
        pairs = zip(operations.tokens.tolist(), operations.context.tolist(), strict=True)
        return np.array([self._known.get(pair) or self._find(*pair) for pair in pairs])

    def _find(self, tokens: int, context: int) -> float:
        seconds = self._known[tokens, context] = self.times.seconds(tokens, context) / self.speed
        self.most = max(self.most, tokens)
        return seconds

    def notes(self) -> tuple[str, ...]:
        """A sentence if some were longer than any that was measured."""
        if self.most <= self.times.longest:
            return ()
        return (
            f"{self.name} over more than {self.times.longest} tokens, such as a prompt, are beyond the profile: their "
            "times go on as its last two do",
        )


@dataclass(frozen=True)
class HardwareCosts(Greedy):
    """Implements `sim.costs.durations.Costs`."""

    target: Forwards
    draft: Forwards
    hand_over_seconds: float = 0.0
    fork_seconds: float = 0.0

    @property
    def contention(self) -> Contention:
        return FREE

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the forwards so far."""
        return self.target.notes() + self.draft.notes()

    def target_forward(self, operations: Operations) -> Floats:
        return self.target.seconds(operations)

    def draft_forward(self, operations: Operations) -> Floats:
        return self.draft.seconds(operations)

    def branch_step(self, operations: Operations) -> Floats:
        return self.draft.seconds(operations)

    def fork(self, operations: Operations) -> float:
        return self.fork_seconds

    def hand_over(self, operations: Operations) -> float:
        return self.hand_over_seconds
