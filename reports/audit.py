"""Whether measured texts are the target's own, token by token.

A seed is one text under every policy and draft, so each token is held against what the target itself takes there: its
favourite or, at a temperature, what it draws with that place's noise. Reading several tokens at once moves logits a
little, so a token may be another's neighbour; how far its logit lies below the best is its *gap*.
"""

from calibrate import observation
from calibrate.observation import Text
from engine.models import TARGET
from engine.pair import Pair

# The largest gap between the logits of the target's favourite and of an emitted token that counts as a numeric
# tie. bfloat16 logits near 20 lie 0.125 apart, and reading several tokens at once moves both by a few steps.
TIES = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.0625}

Gaps = tuple[tuple[int, float], ...]
"""The places of tokens that are not what the target takes itself, and how far off each is, in logits."""


def audit(pair: Pair, prompt: list[int], text: Text) -> Gaps:
    """The gaps of a text behind its prompt, which the target reads once."""
    player, _ = pair.players("in-turn", None)
    gaps: list[float] = player.worker.call(
        observation.audit,
        name=TARGET,
        prompt=prompt,
        path=text.path,
        sampling=text.sampling.model_dump(mode="json"),
    )
    return tuple((place, gap) for place, gap in enumerate(gaps) if gap > 0.0)
