"""Whether measured texts are the target's own, token by token.

A seed is one text under every policy and draft, so each token is held against what the target itself takes there: its
favourite or, at a temperature, what it draws with that place's noise. Reading several tokens at once moves logits a
little, so a token may be another's neighbour; how far its logit lies below the best is its *gap*. One pass over a whole
text is itself but one way to read it (docs/lab-notes.md, "Numeric ties and exactness").
"""

from calibrate.traces import observation
from calibrate.traces.observation import Text
from engine.models.specs import TARGET
from engine.runtime.pair import Pair

# The largest gap between the logits of the target's favourite and of an emitted token that counts as a numeric
# tie. bfloat16 logits near 20 lie 0.125 apart, and reading several tokens at once moves both by a few steps.
TIES = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.0625}

LINE = 2  # tokens that are read at once where one pass is not enough

Gaps = tuple[tuple[int, float], ...]
"""The places of tokens that are not what the target takes itself, and how far off each is, in logits."""


def audit(pair: Pair, prompt: list[int], text: Text, tie: float) -> Gaps:
    """The gaps of a text behind its prompt, which the target reads once.

    If any is beyond `tie`, it reads the text again in short lines, as it was written, and the smaller gap counts.
    """
    player, _ = pair.players("in-turn", None)

    def gaps(line: int) -> list[float]:
        found: list[float] = player.worker.call(
            observation.audit,
            name=TARGET,
            prompt=prompt,
            path=text.path,
            sampling=text.sampling.model_dump(mode="json"),
            line=line,
        )
        return found

    found = gaps(0)
    if any(gap > tie for gap in found):
        found = [min(gap, other) for gap, other in zip(found, gaps(LINE), strict=True)]
    return tuple((place, gap) for place, gap in enumerate(found) if gap > 0.0)
