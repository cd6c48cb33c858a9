"""How much a benchmark runs, and on which prompts. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibrate.prompts import Prompt
from reports.bench.contestants import Mode


@dataclass(frozen=True)
class BenchmarkEffort:
    """How much is run.

    `first` and `more` are prompts of the sweep: each family's candidates meet the first ones, and its best `kept`
    the others too, with `trial_tokens` of text; `candidates`: so many a family at most. Drawn texts are swept on
    `sampled` prompts. `prompts` held-out prompts and `tokens` of text at most, by mode; `repeats` passes over them.
    """

    name: str
    first: int
    more: int
    kept: int
    sampled: int
    trial_tokens: int
    prompts: Mapping[Mode, int]
    tokens: Mapping[Mode, int]
    repeats: int = 1
    candidates: int | None = None


EFFORTS = {
    effort.name: effort
    for effort in (
        BenchmarkEffort(
            "quick",
            first=1,
            more=0,
            kept=1,
            sampled=0,
            trial_tokens=16,
            prompts={"greedy": 2, "sampled": 2},
            tokens={"greedy": 24, "sampled": 16},
            candidates=1,
        ),
        BenchmarkEffort(
            "default",
            first=1,
            more=2,
            kept=2,
            sampled=2,
            trial_tokens=32,
            prompts={"greedy": 8, "sampled": 6},
            tokens={"greedy": 96, "sampled": 64},
        ),
        BenchmarkEffort(
            "full",
            first=2,
            more=4,
            kept=3,
            sampled=3,
            trial_tokens=32,
            prompts={"greedy": 18, "sampled": 18},
            tokens={"greedy": 96, "sampled": 64},
        ),
    )
}


@dataclass(frozen=True)
class Prompts:
    """The prompts of the sweep, and others for the final run."""

    selection: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]


def used(prompts: Sequence[Prompt], wanted: int) -> int:
    """How many of `wanted` prompts there are."""
    return min(len(prompts), wanted)
