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

from engine.policies.by_place import Lengths, read_gates, read_lengths, write_gates, write_lengths

LONGEST_DRAFT = 64
MOST_RANKS = 8  # candidates at a place, as many as a calibration records
LATER = (  # settings that older records do not have
    "first_match",
    "tree_nodes",
    "rank_acceptance",
    "lengths_by_load",
    "gates",
    "tree_width",
    "batch_nodes",
)


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
    lengths_by_load: str = Field(
        default="1-4:4/5-16:2/17-:0",
        description="length by load: draft lengths by how many requests run",
    )
    gates: str = Field(
        default="1:0.2/4:0.3",
        description="ECHO: depths, and the share that a draft has to give its line there to go on",
    )
    tree_width: int = Field(
        default=4, ge=1, le=MOST_RANKS, description="ECHO: candidates where a draft stopped, at most"
    )
    batch_nodes: int = Field(
        default=32, ge=1, le=4096, description="ECHO: nodes of all requests that a forward judges, at most"
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

    @field_validator("lengths_by_load", mode="before")
    @classmethod
    def _are_by_load(cls, said: object) -> str:
        return write_lengths(read_lengths(str(said), LONGEST_DRAFT))

    @field_validator("gates", mode="before")
    @classmethod
    def _are_gates(cls, said: object) -> str:
        return write_gates(read_gates(str(said), LONGEST_DRAFT))

    @property
    def lengths(self) -> Lengths:
        """`lengths_by_load` as numbers."""
        return read_lengths(self.lengths_by_load, LONGEST_DRAFT)

    def length_at(self, running: int) -> int:
        """The draft length by `lengths_by_load` where so many requests run."""
        return next(length for _, last, length in self.lengths if last is None or running <= last)

    @property
    def gated_stretches(self) -> tuple[tuple[int, float], ...]:
        """The levels of a draft between `gates`, up to `draft_length`, and the threshold at each one's end."""
        found: list[tuple[int, float]] = []
        before = 0
        for depth, threshold in read_gates(self.gates, LONGEST_DRAFT):
            if depth < self.draft_length:
                found.append((depth - before, threshold))
                before = depth
        return (*found, (self.draft_length - before, 1.0))

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
