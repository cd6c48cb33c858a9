"""Replay at a temperature where draft tokens are drawn, and not taken as the most likely ones.

Lossless verification makes each token y of the target's text a draw from p, whatever was drafted. Of a token that
the draft drew from q behind the right text, P(it was accepted, and the text goes on with y) = min(p(y), q(y)). So
behind a recorded y it was accepted with chance min(1, q(y) / p(y)), and replaying a recorded text with these chances
is exact in distribution (Leviathan et al. 2023, theorem 3.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.policies.words import Draft, DraftLimits, Line, Outlook
from engine.sampling import uniform
from sim.acceptance import TraceAcceptance, cut, steps_of


@dataclass(frozen=True)
class DrawnAcceptance:
    """A recorded text at a temperature, and a draft that draws where it is asked to.

    `accepted`: for each token of the path, min(1, q(y) / p(y)). Candidates at branch points are the recorded ones. A
    wrong token that was drawn is nobody's candidate, so what follows it has confidences from elsewhere.
    """

    trace: TraceAcceptance
    accepted: tuple[float, ...]
    seed: int

    @classmethod
    def of(
        cls, trace: TraceAcceptance, draft: NDArray[np.float32], target: NDArray[np.float32], seed: int
    ) -> "DrawnAcceptance":
        """From q(y) and p(y), float32 [T] each."""
        ratio = np.minimum(1.0, draft.astype(float) / np.maximum(target.astype(float), 1e-30))
        return cls(trace, tuple(ratio.tolist()), seed)

    @property
    def path(self) -> tuple[int, ...]:
        """The tokens the target writes."""
        return self.trace.path

    def foresee(self, position: int, count: int) -> Outlook:
        """See `TraceAcceptance`."""
        return self.trace.foresee(position, count)

    def write(self, position: int, line: Sequence[int], agreed: int, limits: DraftLimits) -> Draft:
        """See `sim.acceptance.AcceptanceSource`. No two drafts of a text draw with the same numbers."""
        if limits.drawn_from is None:
            return self.trace.write(position, line, agreed, limits)
        start, path = position + len(line), self.trace.path
        right = agreed == len(line) and start < len(path)
        # What deterministic drafting would put at the branch point: the recorded candidates, and how many of them.
        points = self.trace.write(position, line, agreed, limits).branches

        def written(rank: int, point: Line) -> Line:
            tokens, confidences = list(point.tokens[:1]), list(point.confidences[:1])
            on = right
            if limits.drawn_from == 0:
                on = on and self._accepts(start, position, len(line), rank)
                tokens = [path[start] if on else _unknown(start)]
            elif on:
                on = tokens[0] == path[start]
            for place in range(start + 1, start + limits.length):
                known = on and place < len(path)
                confidences.append(self.trace.chances[place][0] if known else self.trace.drawn[rank][place])
                on = known and self._accepts(place, position, len(line), rank)
                tokens.append(path[place] if on else _unknown(place))
            return cut((tuple(tokens), tuple(confidences)), limits)

        branches = tuple(written(rank, point) for rank, point in enumerate(points))
        return Draft(branches, steps_of(branches, limits))

    def _accepts(self, place: int, position: int, ahead: int, rank: int) -> bool:
        return uniform(self.seed, "accept", place, position, ahead, rank) < self.accepted[place]


def _unknown(place: int) -> int:
    """A drawn token that the target does not write there."""
    return -1 - place
