"""Throughput in closed form, for independent acceptance and constant durations."""

from collections.abc import Sequence

from engine.policies.tree import Shape


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
