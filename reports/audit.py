"""Whether measured texts are the target's own: token by token, or, where the draft's chance decides, in law.

A seed is one text under every policy whose draft tokens are deterministic, so each of its tokens is held against what
the target itself takes there: its favourite, or at a temperature what it draws with that place's number. Reading
several tokens at once moves logits a little, so a token may be another's neighbour; how far logits would have to move
for it is its *gap*. Where draft tokens are drawn, no single token can be told right or wrong. But with L the chance of
all likelier tokens and u a number of chance's, L(y) + u p(y) lies uniformly in [0, 1) for tokens y of the target's law:
all tokens together are tested for that. Text that is too likely, or of another temperature, crowds at one end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calibrate import observation
from calibrate.observation import Text
from engine.models import TARGET
from engine.pair import Pair

# The largest gap between the logits of the target's favourite and of an emitted token that counts as a numeric
# tie. bfloat16 logits near 20 lie 0.125 apart, and reading several tokens at once moves both by a few steps.
TIES = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.0625}


class Audited(NamedTuple):
    """A text's tokens against the target's one pass over it.

    `gaps`: the places of tokens that are not what the target takes itself, and how far off each is, in logits. `ranks`
    of each token: the chance of all likelier ones, and its own; nothing of greedy texts.
    """

    gaps: tuple[tuple[int, float], ...]
    ranks: tuple[tuple[float, float], ...]


def audit(pair: Pair, prompt: list[int], text: Text) -> Audited:
    """Read a text behind its prompt, once, with the target."""
    player, _ = pair.players("in-turn", None)
    seen = player.worker.call(
        observation.audit,
        name=TARGET,
        prompt=prompt,
        path=text.path,
        sampling=text.sampling.model_dump(mode="json"),
    )
    gaps = tuple((place, gap) for place, gap in enumerate(seen["gaps"]) if gap > 0.0)
    return Audited(gaps, tuple(zip(seen["likelier"], seen["chances"], strict=True)))


def lawful(texts: Sequence[Audited], seed: int = 0) -> float:
    """The p-value of the tokens of these texts, all drawn from the target's law (Kolmogorov and Smirnov)."""
    from scipy.stats import kstest  # half a second that 'simulate' does without

    likelier, chances = np.array([rank for text in texts for rank in text.ranks]).T
    places = likelier + np.random.default_rng(seed).random(len(chances)) * chances
    return float(kstest(places, "uniform").pvalue)
