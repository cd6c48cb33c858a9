"""What operations cost in simulated seconds, stated by the user; measured costs are in sim/calibrated_costs.py."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from sim.what_if import WhatIf


class Costs(Protocol):
    """Durations in seconds of operations over `tokens` tokens behind `context` tokens."""

    @property
    def slow_downs(self) -> tuple[float, float]:
        """Of the target and of the draft, while both compute; at least 1."""
        ...

    def target_forward(self, tokens: int, context: int) -> float: ...

    def draft_forward(self, tokens: int, context: int) -> float:
        """Reading tokens in a row and choosing candidates."""
        ...

    def branch_steps(self, branches: Sequence[int], context: int) -> float:
        """All steps of a job: the i-th extends `branches[i]` branches, behind `context` + i tokens."""
        ...

    def fork(self, branches: int, context: int) -> float:
        """Moving the branch that is kept, one of `branches`, behind the prefix."""
        ...

    def hand_over(self, context: int) -> float:
        """A job's seconds beyond what its device is busy with."""
        ...

    def target_draw(self, tokens: int) -> float:
        """Drawing the target's tokens at a temperature, beyond choosing them."""
        ...

    def draft_draw(self, tokens: int) -> float:
        """Drawing draft tokens at a temperature, beyond choosing candidates."""
        ...

    def foresight(self) -> float:
        """H-RAD's inference."""
        ...


class LinearCosts(BaseModel):
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
    def slow_downs(self) -> tuple[float, float]:
        return self.target_slow_down, self.draft_slow_down

    def target_forward(self, tokens: int, context: int) -> float:
        return (self.target_forward_ms + self.target_token_ms * (tokens - 1)) / 1e3

    def draft_forward(self, tokens: int, context: int) -> float:
        return (self.draft_step_ms + self.draft_token_ms * (tokens - 1)) / 1e3

    def branch_steps(self, branches: Sequence[int], context: int) -> float:
        extra = sum(branches) - len(branches)
        return (self.draft_step_ms * len(branches) + self.draft_branch_ms * extra) / 1e3

    def fork(self, branches: int, context: int) -> float:
        return self.fork_ms / 1e3

    def hand_over(self, context: int) -> float:
        return self.hand_over_ms / 1e3

    def target_draw(self, tokens: int) -> float:
        return 0.0

    def draft_draw(self, tokens: int) -> float:
        return 0.0

    def foresight(self) -> float:
        return 0.0

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
