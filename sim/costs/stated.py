"""What operations cost (`sim.costs.durations.Costs`), stated by the user; measured ones: `sim.costs.measured`."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from scenarios.what_if import WhatIf
from sim.costs.contention import Contention
from sim.costs.durations import Floats, Greedy, Operations


class LinearCosts(Greedy, BaseModel):
    """Costs that grow linearly with branches and tokens; stated by the user, in milliseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    draft_step_ms: float = Field(gt=0)
    draft_branch_ms: float = Field(default=0.0, ge=0, description="added for each branch beyond the first")
    draft_token_ms: float = Field(default=0.0, ge=0, description="added for each token read beyond the first")
    target_forward_ms: float = Field(gt=0)
    target_token_ms: float = Field(default=0.0, ge=0, description="added for each token beyond the first")
    fork_ms: float = Field(default=0.0, ge=0, description="moving the branch that is kept")
    hand_over_ms: float = Field(default=0.0, ge=0, description="between the workers, for each job")
    target_slow_down: float = Field(default=1.0, ge=1, description="while the draft computes")
    draft_slow_down: float = Field(default=1.0, ge=1, description="while the target computes")

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

    def under(self, what_if: WhatIf) -> "LinearCosts":
        """These costs with the speeds, contention and overheads that a what-if wishes."""
        target, draft = what_if.target_speed, what_if.draft_speed
        changed: dict[str, float] = {
            "target_forward_ms": self.target_forward_ms / target,
            "target_token_ms": self.target_token_ms / target,
            "draft_step_ms": self.draft_step_ms / draft,
            "draft_branch_ms": self.draft_branch_ms / draft,
            "draft_token_ms": self.draft_token_ms / draft,
            "fork_ms": self.fork_ms / draft if what_if.overheads else 0.0,
        }
        if not what_if.overheads:
            changed["hand_over_ms"] = 0.0
        if not what_if.contention:
            changed["target_slow_down"] = changed["draft_slow_down"] = 1.0
        return self.model_copy(update=changed)
