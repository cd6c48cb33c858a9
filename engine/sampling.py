"""How tokens are drawn from a distribution, and the numbers that chance is made of. Torch-free.

Every draw has a purpose and a place in the text, and its number follows from these and the seed alone. So a
text drawn with one seed is the same under every policy whose draft tokens are deterministic: the token at a
place is the same function of the target's distribution, however many tokens were verified at once.
"""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Purpose = Literal["text", "accept", "residual", "draft"]


class Sampling(BaseModel):
    """Temperature 0 is greedy; else the target's distribution after temperature, top-k and top-p, in that order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=0.0, ge=0.0, le=10.0, description="0: the most likely token")
    top_k: int | None = Field(default=None, ge=1, description="keep the k most likely tokens")
    top_p: float = Field(default=1.0, gt=0.0, le=1.0, description="keep the likeliest tokens of this mass")
    seed: int = Field(default=0, ge=0)

    @property
    def greedy(self) -> bool:
        """Whether nothing is left to chance."""
        return self.temperature == 0.0

    def of_text(self, name: str) -> "Sampling":
        """The same, with a seed for the text of this name alone: texts then share no numbers, nor any luck.

        Greedy sampling, which draws nothing, stays what it is.
        """
        if self.greedy:
            return self
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=6).digest()
        return self.model_copy(update={"seed": int.from_bytes(digest, "big")})


GREEDY = Sampling()


def uniform(seed: int, purpose: Purpose, place: int, *more: int) -> float:
    """A number in [0, 1) of 53 random bits; independent for different arguments."""
    key = f"{seed}:{purpose}:{place}:{more}".encode()
    return (int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 11) * 2.0**-53
