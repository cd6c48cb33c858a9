"""Tokens a round in closed form: of independent acceptance, of token trees, and of right tokens that come in runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.policies.forms import Shape
from scenarios.stated import Bursty


def speculative_tokens_per_round(acceptance: float, draft_length: int) -> float:
    """(1 - a^(g+1)) / (1 - a): Leviathan et al. 2023, equation 1."""
    if acceptance == 1.0:
        return draft_length + 1.0
    return (1.0 - acceptance ** (draft_length + 1)) / (1.0 - acceptance)


def tree_tokens_per_round(shape: Shape, chances: Sequence[float]) -> float:
    """1 + the sum over nodes of the product of their paths' chances, of which there is one for each rank.

    A node is accepted if it and all before it are (Sequoia, arXiv 2402.12374).
    """
    worth: list[float] = []
    for parent, rank in zip(*shape, strict=True):
        worth.append((worth[parent] if parent >= 0 else 1.0) * chances[rank])
    return 1.0 + sum(worth)


def parallel_tokens_per_round(acceptance: float, draft_length: int, hit: float) -> float:
    """Long-run tokens a round of parallel drafting: `hit` is the chance that a branch holds the next token.

    A two-state chain. Restart (nothing pending) emits one token and leaves with probability `hit`; steady
    (m = g - 1 tokens pending) stays with probability a^m * hit and emits one token more than it accepts.
    """
    pending = draft_length - 1
    stay = acceptance**pending * hit
    accepted = sum(acceptance**j for j in range(1, pending + 1))
    if hit == 0.0:
        return 1.0
    steady_share = 1.0 if stay == 1.0 else hit / (hit + 1.0 - stay)
    return 1.0 + steady_share * accepted


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
