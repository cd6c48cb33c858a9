"""Costs that a user states (`scenarios.stated`), as the simulator asks for them; measured: `sim.costs.measured`."""

import numpy as np

from scenarios.stated import LinearCosts
from sim.costs.contention import Contention
from sim.costs.durations import Floats, Greedy, Operations


class StatedCosts(Greedy, LinearCosts):
    """Implements `sim.costs.durations.Costs`."""

    @classmethod
    def of(cls, stated: LinearCosts) -> "StatedCosts":
        """The costs that are stated."""
        return cls.model_validate(stated.model_dump())

    @property
    def contention(self) -> Contention:
        return Contention.stated(self.target_slow_down, self.draft_slow_down)

    def target_forward(self, operations: Operations) -> Floats:
        milliseconds: Floats = np.asarray(
            self.target_forward_ms + self.target_token_ms * (operations.tokens - 1), dtype=float
        )
        return milliseconds / 1e3

    def draft_forward(self, operations: Operations) -> Floats:
        milliseconds: Floats = np.asarray(
            self.draft_step_ms + self.draft_token_ms * (operations.tokens - 1), dtype=float
        )
        return milliseconds / 1e3

    def branch_step(self, operations: Operations) -> Floats:
        milliseconds: Floats = np.asarray(
            self.draft_step_ms + self.draft_branch_ms * (operations.tokens - 1), dtype=float
        )
        return milliseconds / 1e3

    def fork(self, operations: Operations) -> float:
        return self.fork_ms / 1e3

    def hand_over(self, operations: Operations) -> float:
        return self.hand_over_ms / 1e3
