"""Where a draft's confidence tells best whether to go deeper: ECHO's gates, from a calibration's traces. Torch-free.

At each depth, of lines that are the target's own text up to the token before, the share that the draft gives its whole
line is held against whether the token at this depth is right, too. The area under the curve of that test is the chance
that a right one's share is larger than a wrong one's. ECHO (arXiv 2604.09603) asks at the depths where it is largest;
where its thresholds come from it does not say. Here a threshold is where the shares of right and of wrong tokens that
pass are farthest apart (Youden 1950).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Artifact
from calibrate.trace_records import DraftTrace, Trace
from engine.policies.by_place import write_gates

DEEPEST, GATES = 6, 2


@dataclass(frozen=True)
class Gate:
    """A depth, from 1: the area under the curve, the threshold, and the shares of right and wrong tokens that pass."""

    depth: int
    area: float
    threshold: float
    right: float
    wrong: float


def gate_qualities(artifact: Artifact, draft: str) -> tuple[Gate, ...]:
    """Each depth at which some of the draft's tokens are right and some wrong, over its greedy texts."""
    lines = [_lines(trace, trace.drafts[draft]) for trace in artifact.traces]
    found = []
    for depth in range(1, DEEPEST + 1):
        given = np.concatenate([shares[:, depth - 1] for shares, _ in lines])
        right = np.concatenate([flags[:, depth] for _, flags in lines])
        known = np.isfinite(given) & np.concatenate([flags[:, depth - 1] for _, flags in lines])
        if len(set(right[known].tolist())) == 2:
            found.append(_gate(depth, given[known], right[known]))
    return tuple(found)


def best_gates(qualities: Sequence[Gate], count: int = GATES) -> str:
    """Those of the largest areas, as the setting `gates` has them; of equal ones the shallower. Empty if none is known.

    Thresholds are rounded down, so that what passed at the threshold still does.
    """
    best = sorted(qualities, key=lambda gate: (-gate.area, gate.depth))[:count]
    chosen = sorted(best, key=lambda gate: gate.depth)
    return write_gates(tuple((gate.depth, float(np.floor(1e3 * gate.threshold)) / 1e3) for gate in chosen))


def describe_gates(artifact: Artifact) -> Iterator[str]:
    """A line for each draft, for a person."""
    for draft in artifact.recorded.drafts:
        qualities = gate_qualities(artifact, draft)
        if qualities:
            areas = ", ".join(f"{gate.area:.2f} at {gate.depth}" for gate in qualities)
            yield f"{draft}: as ECHO's 'gates' has them: {best_gates(qualities)}; areas by depth: {areas}"


def _gate(depth: int, given: NDArray[np.float64], right: NDArray[np.bool_]) -> Gate:
    good, bad = np.sort(given[right]), np.sort(given[~right])
    below = (np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")) / 2.0
    thresholds = np.unique(given)
    passed_right, passed_wrong = (
        1.0 - np.searchsorted(some, thresholds, "right") / len(some) for some in (good, bad)
    )
    at = int(np.argmax(passed_right - passed_wrong))
    return Gate(
        depth,
        float(below.mean() / len(bad)),
        float(thresholds[at]),
        float(passed_right[at]),
        float(passed_wrong[at]),
    )


def _lines(trace: Trace, seen: DraftTrace) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of the draft's own lines from each position: the share given to its first tokens, and whether these are right.

    [T, DEEPEST] by depth from 1, NaN where nothing was recorded; and [T, 1 + DEEPEST] by depth from 0.
    """
    count = len(trace.path)
    hits = seen.tokens[:, 0] == trace.path
    shares = np.full((count, DEEPEST), np.nan)
    flags = np.zeros((count, 1 + DEEPEST), dtype=bool)
    for begin in range(count):
        misses = np.flatnonzero(~hits[begin : begin + DEEPEST])
        on_path = min(int(misses[0]) + 1 if len(misses) else DEEPEST, count - begin)
        line = seen.chances[begin : begin + on_path, 0].astype(float)
        if len(misses) and on_path < DEEPEST:
            line = np.concatenate([line, seen.off_chances[begin + on_path - 1].astype(float)])
        line = line[:DEEPEST]
        shares[begin, : len(line)] = np.cumprod(line)
        flags[begin, : 1 + (int(misses[0]) if len(misses) else on_path)] = True
    return shares, flags
