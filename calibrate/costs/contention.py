"""Both models at once: what rounds take in which a target's forward and some steps of a draft begin together."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from calibrate.cost_records import Together
from calibrate.costs import operations
from engine.runtime.channel import Ticket
from engine.runtime.session import Player

TOGETHER_CONTEXT, TOGETHER_STEPS = 128, 4  # of each sequence; of a round

# Samples of both models at once, and of each alone: by tokens and branches, and then as `Together` names them.
ContentionTimes = dict[tuple[int, int], dict[str, list[float]]]


@dataclass(frozen=True)
class Crossed:
    """What is timed at once: each number of tokens of the target's forward with each of branches of the draft's steps.

    Of `sequences` texts, as many for each. Any model that is timed has positions for it
    (`calibrate.costs.lengths.LEAST_POSITIONS`).
    """

    tokens: tuple[int, ...] = (1, 5)
    branches: tuple[int, ...] = (1, 4)
    sequences: int = 1


ONE = Crossed()
BATCHES = (Crossed(branches=(1,), sequences=4), Crossed(tokens=(1,), branches=(1,), sequences=16))


def add_together(known: ContentionTimes, found: Sequence[Sequence[Any]]) -> None:
    """Note what `time_together` found."""
    for tokens, branches, sampled in found:
        pair = known.setdefault((tokens, branches), {})
        for key, samples in sampled.items():
            pair.setdefault(key, []).extend(samples)


def as_together(known: ContentionTimes, sequences: int = 1) -> tuple[Together, ...]:
    """What was noted, as a record."""
    return tuple(
        Together.model_validate(
            {
                "target_tokens": tokens * sequences,
                "branches": branches * sequences,
                "sequences": sequences,
                "context": TOGETHER_CONTEXT,
                "steps": TOGETHER_STEPS,
                **sampled,
            }
        )
        for (tokens, branches), sampled in known.items()
    )


def time_together(
    target: Player, draft: Player, seconds: float, crossed: Crossed = ONE
) -> list[tuple[int, int, dict[str, list[float]]]]:
    """Rounds of a target forward and some steps of the draft: alone, at the same time, and alone again, `seconds` each.

    Rounds begin and end as those of a generation do: while the draft waits for the target, its weights leave the
    processor's caches, which steps without a pause beside the target's would never let go.
    """
    plan = {"context": TOGETHER_CONTEXT, "repeats": 1, "warm_ups": 0}
    several = crossed.sequences > 1

    def forward(tokens: int) -> Ticket:
        at = {"name": target.model, "tokens": tokens, **plan}
        if several:
            return target.worker.submit(operations.time_batched, sequences=crossed.sequences, **at)
        return target.worker.submit(operations.time_forward, **at)

    def steps(branches: int) -> Ticket:
        at: dict[str, Any] = {"name": draft.model, **plan}
        if several:
            at |= {"tokens": branches, "steps": TOGETHER_STEPS, "sequences": crossed.sequences}
            return draft.worker.submit(operations.time_batched, **at)
        at |= {"tokens": TOGETHER_STEPS, "branches": branches, "pause": 0.0}
        return draft.worker.submit(operations.time_burst, **at)

    def rounds(*jobs: Callable[[], Ticket]) -> list[list[float]]:
        """The seconds of each job, round for round, behind a round that warms up."""
        found: list[list[float]] = []
        until = math.inf
        while time.monotonic() < until or len(found) < 3:
            tickets = [job() for job in jobs]
            found.append([ticket.wait().value[0] for ticket in tickets])
            until = min(until, time.monotonic() + seconds)
        return [list(samples) for samples in zip(*found[1:], strict=True)]

    def of_steps(samples: Sequence[float]) -> list[float]:
        return [sample / TOGETHER_STEPS for sample in samples]

    def alone() -> tuple[dict[int, list[float]], dict[int, list[float]]]:
        return (
            {tokens: rounds(partial(forward, tokens))[0] for tokens in crossed.tokens},
            {branches: of_steps(rounds(partial(steps, branches))[0]) for branches in crossed.branches},
        )

    before, both = alone(), {}
    for pair in itertools.product(crossed.tokens, crossed.branches):
        both[pair] = rounds(partial(forward, pair[0]), partial(steps, pair[1]))
    after = alone()
    return [
        (
            tokens,
            branches,
            {
                "target_alone": before[0][tokens] + after[0][tokens],
                "target_together": together[0],
                "draft_alone": before[1][branches] + after[1][branches],
                "draft_together": of_steps(together[1]),
            },
        )
        for (tokens, branches), together in both.items()
    ]
