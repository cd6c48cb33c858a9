"""What a user can set of a policy; the one schema for configurations and scenarios."""

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

LONGEST_DRAFT = 64
MOST_RANKS = 8  # candidates at a place, as many as a calibration records
LATER = ("first_match", "tree_nodes", "rank_acceptance")  # settings that older records do not have


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
    hrad: bool = Field(default=False, description="cut the line to judge as H-RAD predicts")
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
    tree_nodes: int = Field(default=12, ge=1, le=256, description="tree: nodes that are drafted, at most")
    rank_acceptance: str = Field(
        default="0.75/0.12/0.05/0.03",
        description="tree: how often the target's own token is the draft's first candidate, its second, and so on",
    )
    longest_match: int = Field(default=3, ge=1, le=16, description="prompt lookup: tokens to match, at most")
    first_match: bool = Field(
        default=False,
        description="prompt lookup: go by where they occurred first, as serving systems do, not last",
    )

    @field_validator("rank_acceptance", mode="before")
    @classmethod
    def _are_chances(cls, said: object) -> str:
        try:
            chances = [float(word) for word in str(said).replace("/", " ").split()]
        except ValueError:
            chances = []
        likely = all(0.0 <= chance <= 1.0 for chance in chances) and 0.0 < sum(chances) <= 1.0 + 1e-9
        if not likely or len(chances) > MOST_RANKS:
            raise ValueError(
                f"1 to {MOST_RANKS} shares, such as 0.7/0.1, which sum to more than 0 and at most 1"
            )
        return "/".join(f"{chance:g}" for chance in chances)

    @property
    def rank_chances(self) -> tuple[float, ...]:
        """`rank_acceptance` as numbers."""
        return tuple(float(word) for word in self.rank_acceptance.split("/"))

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later settings where they are not set, so that records from before them keep their bytes."""
        written: dict[str, Any] = dump(self)
        for name in LATER:
            if getattr(self, name) == type(self).model_fields[name].default:
                written.pop(name, None)
        return written
