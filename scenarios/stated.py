"""What a scenario states instead of measuring it: costs that grow linearly, and acceptance, even or in runs.

Acceptance in runs is a two-state chain, right or wrong, along the text.
Let `a` be the share of right tokens and `r` the mean length of a run of them. A right token is followed by a right one
with chance c = 1 - 1 / r and, since the shares of both states stay as they are, a wrong one by a right one with chance
w = a / ((1 - a) r). With r = 1 / (1 - a) both are `a`: positions are then independent.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.what_if import WhatIf


class LinearCosts(BaseModel):
    """Costs that grow linearly with branches, tokens and the cache; stated by the user, in milliseconds.

    The tokens of the cache are those of the text, read with this forward or before. In a forward of several requests
    all of their rows and cache tokens count, and a branch is a row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    draft_step_ms: float = Field(gt=0)
    draft_branch_ms: float = Field(default=0.0, ge=0, description="added for each branch beyond the first")
    draft_token_ms: float = Field(default=0.0, ge=0, description="added for each token read beyond the first")
    draft_cache_token_ms: float = Field(default=0.0, ge=0, description="added for each token of the cache")
    draft_sequence_ms: float = Field(
        default=0.0, ge=0, description="added for each request beyond the first of a forward"
    )
    target_forward_ms: float = Field(gt=0)
    target_token_ms: float = Field(default=0.0, ge=0, description="added for each token beyond the first")
    target_cache_token_ms: float = Field(default=0.0, ge=0, description="added for each token of the cache")
    target_sequence_ms: float = Field(
        default=0.0, ge=0, description="added for each request beyond the first of a forward"
    )
    fork_ms: float = Field(default=0.0, ge=0, description="moving the branch that is kept")
    hand_over_ms: float = Field(default=0.0, ge=0, description="between the workers, for each job")
    target_slow_down: float = Field(default=1.0, ge=1, description="while the draft computes")
    draft_slow_down: float = Field(default=1.0, ge=1, description="while the target computes")

    def under(self, what_if: WhatIf) -> Self:
        """These costs with the speeds, contention and overheads that a what-if wishes."""
        speeds = {"target": what_if.target_speed, "draft": what_if.draft_speed}
        changed: dict[str, float] = {
            name: getattr(self, name) / speeds[model]
            for name in type(self).model_fields
            if (model := name.partition("_")[0]) in speeds and name.endswith("_ms")
        }
        changed["fork_ms"] = self.fork_ms / speeds["draft"] if what_if.overheads else 0.0
        if not what_if.overheads:
            changed["hand_over_ms"] = 0.0
        if not what_if.contention:
            changed["target_slow_down"] = changed["draft_slow_down"] = 1.0
        return self.model_copy(update=changed)


class Bursty(BaseModel):
    """The share of positions at which the draft's first token is right, and how long it is right in a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acceptance: float = Field(gt=0.0, lt=1.0, description="share of positions where the first token is right")
    mean_run: float = Field(
        ge=1.0, description="mean length of a run of right tokens; 1 / (1 - a): independent"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Bursty":
        least = self.acceptance / (1.0 - self.acceptance)
        if self.mean_run < least:
            raise PydanticCustomError(
                "run_too_short",
                "with {share} of all tokens right, runs of them are {least} tokens long on average at the least",
                {"share": f"{self.acceptance:g}", "least": f"{least:.3g}"},
            )
        return self

    @property
    def chances(self) -> tuple[float, float]:
        """The chance of a right token behind a right one, and behind a wrong one."""
        behind_wrong = self.acceptance / ((1.0 - self.acceptance) * self.mean_run)
        return 1.0 - 1.0 / self.mean_run, min(1.0, behind_wrong)


class Acceptance(BaseModel):
    """How often the draft's first candidate is the target's token: independently at each position, or in runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    independent: float | None = Field(default=None, ge=0.0, le=1.0)
    bursty: Bursty | None = None

    @model_validator(mode="after")
    def _one(self) -> "Acceptance":
        if (self.independent is None) == (self.bursty is None):
            raise PydanticCustomError("one_of", "needs either 'independent' or 'bursty'")
        return self
