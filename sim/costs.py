"""What operations cost in simulated seconds."""

from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field


class Costs(Protocol):
    """Durations in seconds."""

    def draft_step(self, branches: int, context: int) -> float: ...

    def target_forward(self, tokens: int, context: int) -> float: ...

    def hand_over(self) -> float: ...


class LinearCosts(BaseModel):
    """Costs that grow linearly with branches and tokens; stated by the user, in milliseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    draft_step_ms: float = Field(gt=0)
    draft_branch_ms: float = Field(default=0.0, ge=0, description="added for each branch beyond the first")
    target_forward_ms: float = Field(gt=0)
    target_token_ms: float = Field(default=0.0, ge=0, description="added for each token beyond the first")
    hand_over_ms: float = Field(default=0.0, ge=0, description="between the workers, after each job")

    def draft_step(self, branches: int, context: int) -> float:
        return (self.draft_step_ms + self.draft_branch_ms * (branches - 1)) / 1e3

    def target_forward(self, tokens: int, context: int) -> float:
        return (self.target_forward_ms + self.target_token_ms * (tokens - 1)) / 1e3

    def hand_over(self) -> float:
        return self.hand_over_ms / 1e3
