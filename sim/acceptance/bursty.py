"""Stated acceptance whose right tokens come in runs: a two-state chain, right or wrong, along the text.

Let `a` be the share of right tokens and `r` the mean length of a run of them. A right token is followed by a right one
with chance c = 1 - 1 / r and, since the shares of both states stay as they are, a wrong one by a right one with chance
w = a / ((1 - a) r). With r = 1 / (1 - a) both are `a`: positions are then independent.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sim.acceptance.sources import IndependentAcceptance


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

    def draw(self, length: int, seed: int) -> IndependentAcceptance:
        """A path of `length` tokens from `seed`, which begins in either state by its share.

        The draft writes as it does where positions are independent, and with the same constant confidence: nothing
        tells it which state it is in. Where its first token is wrong, each further one takes the share `acceptance`
        of what is left.
        """
        rng = np.random.default_rng(seed)
        ranks = rng.geometric(self.acceptance, size=length)  # of a token that is not the first one
        behind_right, behind_wrong = self.chances
        chance, path = self.acceptance, []
        for draw, rank in zip(rng.random(length).tolist(), ranks.tolist(), strict=True):
            right = draw < chance
            path.append(0 if right else rank)
            chance = behind_right if right else behind_wrong
        return IndependentAcceptance(tuple(path), self.acceptance)


@dataclass(frozen=True)
class RoundsOfRuns:
    """Closed forms of speculative decoding over such a text, for drafts of `draft_length` tokens.

    A round that starts behind a right token accepts its j-th drafted token with chance c^j, and behind a wrong one
    with w c^(j-1); it ends in a right token only if all g were right and the target's own continues the run. So the
    share q of rounds that start behind a right token solves q = q c^(g+1) + (1 - q) w c^g.
    """

    bursty: Bursty
    draft_length: int

    @property
    def behind_right(self) -> float:
        """The share of rounds that start behind a right token."""
        right, wrong = self.bursty.chances
        into = wrong * right**self.draft_length
        return into / (1.0 - right ** (self.draft_length + 1) + into) if into else 0.0

    @property
    def tokens(self) -> float:
        """Tokens a round: 1 + (q c + (1 - q) w) (1 - c^g) / (1 - c)."""
        right, wrong = self.bursty.chances
        first = self.behind_right * right + (1.0 - self.behind_right) * wrong
        return 1.0 + first * (1.0 - right**self.draft_length) / (1.0 - right)
