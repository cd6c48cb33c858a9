"""Texts of stated acceptance (`scenarios.stated`), and the closed forms of those whose right tokens come in runs."""

from dataclasses import dataclass

import numpy as np

from scenarios.stated import Acceptance, Bursty
from sim.acceptance.sources import IndependentAcceptance


def draw_stated(acceptance: Acceptance, length: int, seed: int) -> IndependentAcceptance:
    """A path of `length` tokens from `seed`, and the draft's writing along it."""
    if acceptance.bursty is not None:
        return draw_runs(acceptance.bursty, length, seed)
    assert acceptance.independent is not None
    return IndependentAcceptance.draw(length, acceptance.independent, seed)


def draw_runs(bursty: Bursty, length: int, seed: int) -> IndependentAcceptance:
    """A path of `length` tokens from `seed`, which begins in either state by its share.

    The draft writes as it does where positions are independent, and with the same constant confidence: nothing
    tells it which state it is in. Where its first token is wrong, each further one takes the share `acceptance`
    of what is left.
    """
    rng = np.random.default_rng(seed)
    ranks = rng.geometric(bursty.acceptance, size=length)  # of a token that is not the first one
    behind_right, behind_wrong = bursty.chances
    chance, path = bursty.acceptance, []
    for draw, rank in zip(rng.random(length).tolist(), ranks.tolist(), strict=True):
        right = draw < chance
        path.append(0 if right else rank)
        chance = behind_right if right else behind_wrong
    return IndependentAcceptance(tuple(path), bursty.acceptance)


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
