"""How tokens are drawn from a distribution. Torch-free.

A token is drawn as the largest of the logits after each has got noise of Gumbel's law, times the temperature. The
noise of a token (`engine.kernels.noise`) follows from the seed and the place in the text alone, and both models get the
same. So a seed is one text under every policy and every draft: the target's greedy text, had its logits been these. And
a draft that adds the noise too draws a token of its own law, which is the target's nearly as often as any two such
draws can agree: from (1 - D) / (1 + D) to 1 - D, where D is the total variation distance of their laws (Daliri, Musco
and Suresh 2024, arXiv 2408.07978).
"""

import hashlib

from pydantic import BaseModel, ConfigDict, Field


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
