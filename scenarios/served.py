"""What a scenario says of how much text there is and, where requests arrive, of how they are served."""

from pydantic import BaseModel, ConfigDict, Field

from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline
from engine.runtime.workload import REQUESTS, Arrivals, Drawn, Limits, Tokens, Workload


class ScenarioWorkload(BaseModel):
    """How much text is simulated; of a calibration all of it, unless said otherwise.

    With `arrivals`, requests are served together, and each of them makes a load. Without, each text is written alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="of a calibration's prompts; none: all kinds"
    )
    prompts: int | None = Field(default=None, ge=1, description="none: all of a calibration's, or 60")
    tokens: Tokens | None = Field(default=None, description="for each prompt; none: whole texts, or 128")
    prompt_tokens: Tokens = Field(default=1, description="for stated acceptance; a calibration has its own")
    seed: int = Field(default=0, ge=0)
    arrivals: tuple[Arrivals, ...] = Field(default=(), description="requests that are served together")
    requests: int | None = Field(
        default=None, ge=1, description=f"of a load; none: all of a trace, or {REQUESTS}"
    )
    samples: int = Field(
        default=1, ge=1, description="of the requests, each drawn anew; figures of several have intervals"
    )
    limits: Limits = Field(default=Limits(), description="what a request may take to count as good")

    @property
    def length(self) -> int | None:
        """Tokens of each text, of texts that are written alone."""
        assert not isinstance(self.tokens, Drawn)
        return self.tokens

    @property
    def prompt_length(self) -> int:
        """Tokens of each prompt, of texts that are written alone."""
        assert not isinstance(self.prompt_tokens, Drawn)
        return self.prompt_tokens

    def under(self, arrivals: Arrivals, sample: int = 0) -> Workload:
        """The requests of one load, in one of the samples."""
        stated = {"tokens": self.tokens} if self.tokens is not None else {}
        return Workload(
            arrivals=arrivals,
            requests=self.requests,
            prompt_tokens=self.prompt_tokens,
            limits=self.limits,
            seed=self.seed + sample,
            **stated,
        )


class Batching(BaseModel):
    """How requests are served together: which forwards are one, and how much there is room for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    discipline: Discipline = Field(
        default="ready",
        description="ready: a free device runs what waits; lockstep: all draft, then all are verified",
    )
    rows: int = Field(default=DEFAULT_BUDGET.rows, ge=1, description="of a forward, at most")
    sequences: int = Field(default=DEFAULT_BUDGET.sequences, ge=1, description="requests that run at once")
    slots: int = Field(default=DEFAULT_BUDGET.slots, ge=1, description="tokens that each cache holds")
    chunks: bool = Field(
        default=True, description="prompts are read in chunks beside other rows; off: in one forward each"
    )

    @property
    def budget(self) -> Budget:
        """As the scheduler takes it."""
        return Budget(self.rows, self.sequences, self.slots)

    def label(self) -> str:
        """What differs from the defaults, in words for a table."""
        default = Batching()
        parts: list[str] = [self.discipline]
        for name in ("rows", "sequences", "slots"):
            if getattr(self, name) != getattr(default, name):
                parts.append(f"{getattr(self, name)} {name}")
        if not self.chunks:
            parts.append("prompts whole")
        return ", ".join(parts)
