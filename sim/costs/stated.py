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
        further = self.target_token_ms, self.target_cache_token_ms
        return _seconds(self.target_forward_ms, further, operations)

    def draft_forward(self, operations: Operations) -> Floats:
        return _seconds(self.draft_step_ms, (self.draft_token_ms, self.draft_cache_token_ms), operations)

    def branch_step(self, operations: Operations) -> Floats:
        return _seconds(self.draft_step_ms, (self.draft_branch_ms, self.draft_cache_token_ms), operations)

    def fork(self, operations: Operations) -> float:
        return self.fork_ms / 1e3

    def hand_over(self, operations: Operations) -> float:
        return self.hand_over_ms / 1e3


def _seconds(first: float, further: tuple[float, float], operations: Operations) -> Floats:
    """Of forwards, with what each token beyond the first and each one of the cache adds, in milliseconds."""
    token, cache_token = further
    milliseconds = first + token * (operations.tokens - 1)
    if cache_token:
        milliseconds = milliseconds + cache_token * (operations.context + operations.tokens)
    return np.asarray(milliseconds, dtype=float) / 1e3
