"""What a user can set of a policy; the one schema for configurations and scenarios."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

LONGEST_DRAFT = 64


class Settings(BaseModel):
    """A policy by name (a module of this folder that defines `decode`) and its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str
    draft_length: int = Field(
        default=4, ge=1, le=LONGEST_DRAFT, description="draft forwards in a round, gamma"
    )
    branches: int = Field(default=1, ge=1, le=64, description="branches opened at once, k_max")
    min_confidence: float = Field(default=0.0, ge=0.0, le=1.0, description="cut before a token under this")
    adaptive_branches: bool = True
    draw_drafts: bool = Field(
        default=False, description="at a temperature, draw draft tokens instead of taking the most likely"
    )
    hrad: bool = Field(default=False, description="cut the line to judge as H-RAD foresees")
    redraft: bool = Field(
        default=False, description="after a rejection draft a line first, not beside the target's next token"
    )
    min_bound: float = Field(
        default=0.4, ge=0.0, le=1.0, description="AdaEDL: stop where the acceptance bound is under this"
    )
    guesses: int = Field(
        default=0,
        ge=0,
        le=16,
        description="tokens of repetitions and n-grams that a draft forward checks, at most",
    )
    repeats: int = Field(
        default=0,
        ge=0,
        le=LONGEST_DRAFT,
        description="lengthen lines up to so many by the text's repetitions",
    )
    second_under: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="where the draft gave its token less, the target judges its second choice, too",
    )
    longest_match: int = Field(default=3, ge=1, le=16, description="prompt lookup: tokens to match, at most")
    first_match: bool = Field(
        default=False,
        description="prompt lookup: go by where they occurred first, as serving systems do, not last",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `first_match` where it is not set, so that records from before there was one keep their bytes."""
        written: dict[str, Any] = dump(self)
        if not self.first_match:
            written.pop("first_match", None)
        return written
