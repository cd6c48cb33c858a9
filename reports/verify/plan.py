"""How much a verification runs, fixed before its first run."""

from dataclasses import dataclass

from reports.verify.tolerance import Tolerance
from reports.verify.verification import Settling

STANDARD = Tolerance()


@dataclass(frozen=True)
class Plan:
    """How much is run: tokens of text at most, repeats of every prompt, and the seed of the order and the intervals.

    `tolerance`: what will be called a good prediction, and too noisy a run. `settling`: the drafts on which the
    published claims are put to the test, if they are (`reports.verify.settle`). `looks`: how often it is looked whether
    all is decided, the last time with all prompts (`reports.verify.looks`); `minutes` of runs, at most; none: no limit.
    """

    max_tokens: int
    repeats: int
    seed: int = 0
    tolerance: Tolerance = STANDARD
    settling: Settling | None = None
    looks: int = 1
    minutes: float | None = None
