"""What a user can set of a policy; the one schema for configurations and scenarios."""

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A policy by name (a module of this folder that defines `decode`) and its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str
    draft_length: int = Field(default=4, ge=1, le=64, description="draft forwards in a round, gamma")
    branches: int = Field(default=1, ge=1, le=64, description="branches opened at once, k_max")
    min_confidence: float = Field(default=0.0, ge=0.0, le=1.0, description="cut before a token under this")
    adaptive_branches: bool = True
