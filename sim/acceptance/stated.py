"""Texts of stated acceptance (`scenarios.stated`)."""

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
