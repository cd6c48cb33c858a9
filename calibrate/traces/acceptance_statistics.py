"""How well a calibration's drafts predict the target, from its traces: by depth, by kind of text, by confidence.

Every share is a ratio of sums over positions, and its 95% interval is over prompts (`engine.metrics.ratio_of_sums`),
since positions of one text are not independent. Torch-free.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Artifact
from engine.metrics import Estimate, ratio_of_sums

DEPTH = 8  # tokens of a draft that are told apart
RANKS = (1, 2, 4, 8)  # candidates among which the target's token may be
BINS = 10  # of confidence

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class AtDepth:
    """A draft's token at a place, from 1: how often it is accepted, and how often where all before it are.

    Every position of a text with so many tokens left counts as a beginning.
    """

    depth: int
    reached: Estimate
    given: Estimate | None


@dataclass(frozen=True)
class RunLength:
    """The share of runs of right first tokens with this length, between two misses; the last is `length` or more."""

    length: int
    share: Estimate


@dataclass(frozen=True)
class OfKind:
    """Shares of positions of one kind of text at which the target's token is among the first candidates, by `RANKS`."""

    kind: str
    prompts: int
    positions: int
    within: tuple[Estimate, ...]


@dataclass(frozen=True)
class AtConfidence:
    """Positions at which the draft's highest probability lies in [low, high): its mean, and the share right."""

    low: float
    high: float
    positions: int
    confidence: float
    right: Estimate


@dataclass(frozen=True)
class AcceptanceStatistics:
    """One draft over all traces. `overall` is of kind "all"; `by_rank`: the share of positions at which the target's
    token is the candidate of each rank, best first; `miscalibration` the mean gap between confidence and share right,
    weighted by positions."""

    draft: str
    overall: OfKind
    by_rank: tuple[float, ...]
    by_depth: tuple[AtDepth, ...]
    run_lengths: tuple[RunLength, ...]
    by_kind: tuple[OfKind, ...]
    reliability: tuple[AtConfidence, ...]
    miscalibration: float


@dataclass(frozen=True)
class AtTemperature:
    """One draft over texts drawn at a temperature, as shares of positions where its token is the target's.

    `likeliest`: where it takes its most likely token; `drawn`: where it draws with the target's noise; `most`: what no
    draw of the draft's law could exceed, one less the total variation distance of the two laws, which the rejection
    rule of Leviathan et al. (2023) reaches. By theorem 3.5 there it is the mean of min(1, q(y) / p(y)) over such texts.
    """

    draft: str
    temperature: float
    positions: int
    likeliest: Estimate
    drawn: Estimate
    most: Estimate


def acceptance_statistics(artifact: Artifact) -> tuple[AcceptanceStatistics, ...]:
    """One for each draft of the calibration, in its order, over its greedy texts."""
    return tuple(_of_draft(artifact, name) for name in artifact.recorded.drafts)


def acceptance_at_temperature(artifact: Artifact) -> tuple[AtTemperature, ...]:
    """One for each draft, over the texts drawn at a temperature, if there are any."""
    texts, lengths = artifact.sampled, [len(trace.path) for trace in artifact.sampled]
    if not texts:
        return ()

    def share(hits: Sequence[Flags]) -> Estimate:
        return _share([float(some.sum()) for some in hits], lengths)

    found = []
    for name in artifact.recorded.drafts:
        likeliest, drawn = (
            [trace.views(drawn=how)[name].tokens[:, 0] == trace.path for trace in texts]
            for how in (False, True)
        )
        ratios = [
            np.minimum(1.0, trace.drafts[name].true_chance.astype(float) / trace.chances.astype(float))
            for trace in texts
        ]
        most = _share([float(ratio.sum()) for ratio in ratios], lengths)
        heat = artifact.recorded.temperature or 0.0
        found.append(AtTemperature(name, heat, sum(lengths), share(likeliest), share(drawn), most))
    return tuple(found)


def first_token_shares(artifact: Artifact, *, drawn: bool = False) -> dict[str, float]:
    """For each draft the share of recorded positions where its first candidate is the target's token.

    `drawn`: where the draft draws its tokens too.
    """
    return {
        name: float(np.concatenate([ranks == 0 for ranks in _ranks(artifact, name, drawn=drawn)]).mean())
        for name in artifact.recorded.drafts
    }


def rank_shares(artifact: Artifact, draft: str, *, drawn: bool = False) -> tuple[float, ...]:
    """The shares of recorded positions where the target's token is a draft's first candidate, its second, and so on.

    As many as were recorded, up to the last of `RANKS`. `drawn`: where the draft draws its tokens too.
    """
    ranks = np.concatenate(_ranks(artifact, draft, drawn=drawn))
    recorded = artifact.traces[0].views(drawn=drawn)[draft].tokens.shape[1]
    return tuple(float((ranks == rank).mean()) for rank in range(min(recorded, RANKS[-1])))


def describe_acceptance(statistics: Sequence[AcceptanceStatistics]) -> Iterator[str]:
    """A summary for a person, line by line."""
    for one in statistics:
        deep = one.by_depth[min(3, len(one.by_depth) - 1)]
        first = one.overall.within[0]
        yield (
            f"{one.draft}: right at {first.value:.1%} ({first.low:.1%} to {first.high:.1%}, over prompts); its first "
            f"{deep.depth} tokens are all right at {deep.reached.value:.1%} ({deep.reached.low:.1%} to "
            f"{deep.reached.high:.1%}); confidence is off by {100 * one.miscalibration:.1f} points in the mean"
        )
        among = [f"{e.value:.1%} in {k}" for k, e in zip(RANKS, one.overall.within, strict=False)]
        yield f"  the target's token among the first candidates: {', '.join(among)}"
        shares = "/".join(f"{share:.3g}" for share in one.by_rank)
        yield f"  by rank, as a static tree's 'rank_acceptance' has it: {shares}"
        kinds = [f"{k.kind} {k.within[0].value:.0%}" for k in one.by_kind]
        yield f"  right by kind of text: {', '.join(kinds)}"


def describe_temperature(statistics: Sequence[AtTemperature]) -> Iterator[str]:
    """A summary for a person, a line for each draft."""

    def shown(share: Estimate) -> str:
        return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"

    for one in statistics:
        yield (
            f"{one.draft} at temperature {one.temperature:g}: its most likely token is right at "
            f"{shown(one.likeliest)}, one drawn with the target's noise at {shown(one.drawn)}, and none drawn in any "
            f"way at more than {shown(one.most)}; {one.positions} positions"
        )


def _ranks(artifact: Artifact, draft: str, *, drawn: bool = False) -> list[NDArray[np.int64]]:
    """For each trace the rank of the target's token among the draft's candidates; their count where it is not one."""
    found = []
    for trace in artifact.traces:
        same = trace.views(drawn=drawn)[draft].tokens == trace.path[:, None]
        found.append(np.where(same.any(axis=1), same.argmax(axis=1), same.shape[1]))
    return found


def _of_draft(artifact: Artifact, name: str) -> AcceptanceStatistics:
    ranks = _ranks(artifact, name)
    hits = [r == 0 for r in ranks]
    kinds = [p.kind for p in artifact.recorded.prompts]
    sure = [trace.drafts[name].chances[:, 0].astype(float) for trace in artifact.traces]
    reliability = tuple(_reliability(sure, hits))
    positions = sum(b.positions for b in reliability)
    return AcceptanceStatistics(
        draft=name,
        overall=_of_kind("all", ranks),
        by_rank=tuple(float((np.concatenate(ranks) == rank).mean()) for rank in range(RANKS[-1])),
        by_depth=tuple(_by_depth(hits)),
        run_lengths=tuple(_run_lengths(hits)),
        by_kind=tuple(
            _of_kind(kind, [r for r, k in zip(ranks, kinds, strict=True) if k == kind])
            for kind in dict.fromkeys(kinds)
        ),
        reliability=reliability,
        miscalibration=sum(b.positions * abs(b.confidence - b.right.value) for b in reliability) / positions,
    )


def _share(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """A share with its interval, which ends at 0 and 1."""
    found = ratio_of_sums(above, below)
    return Estimate(found.value, *(float(np.clip(end, 0.0, 1.0)) for end in (found.low, found.high)))


def _of_kind(kind: str, ranks: Sequence[NDArray[np.int64]]) -> OfKind:
    lengths = [len(r) for r in ranks]
    within = tuple(_share([float((r < k).sum()) for r in ranks], lengths) for k in RANKS)
    return OfKind(kind, len(ranks), sum(lengths), within)


def _by_depth(hits: Sequence[Flags]) -> Iterator[AtDepth]:
    # By beginning: whether all tokens up to this depth, and up to the one before, are right.
    alive: Sequence[Flags] = hits
    previous: Sequence[Flags] = [np.ones_like(h) for h in hits]
    for depth in range(1, DEPTH + 1):
        lengths = [len(a) for a in alive]
        if not sum(lengths):
            return
        reached = [float(a.sum()) for a in alive]
        before = [float(b[: len(a)].sum()) for b, a in zip(previous, alive, strict=True)]
        given = _share(reached, before) if sum(before) else None
        yield AtDepth(depth, _share(reached, lengths), given)
        previous = alive
        alive = [a[:-1] & h[depth:] for a, h in zip(alive, hits, strict=True)]


def _run_lengths(hits: Sequence[Flags]) -> Iterator[RunLength]:
    """Runs that the text's end cuts off count only where they are long enough already."""
    counts = np.zeros((len(hits), DEPTH + 1))
    for row, flags in zip(counts, hits, strict=True):
        ends = np.flatnonzero(~flags)
        lengths = np.diff([-1, *ends]) - 1
        last = len(flags) - 1 - (ends[-1] if len(ends) else -1)
        complete = [*lengths.tolist(), *([last] if last >= DEPTH else [])]
        for length in complete:
            row[min(length, DEPTH)] += 1
    totals = counts.sum(axis=1)
    if totals.sum():
        for length in range(DEPTH + 1):
            yield RunLength(length, _share(counts[:, length].tolist(), totals.tolist()))


def _reliability(sure: Sequence[NDArray[np.float64]], hits: Sequence[Flags]) -> Iterator[AtConfidence]:
    places = [np.minimum((s * BINS).astype(int), BINS - 1) for s in sure]
    for place in range(BINS):
        inside = [p == place for p in places]
        positions = [int(i.sum()) for i in inside]
        if sum(positions):
            right = [float((h & i).sum()) for h, i in zip(hits, inside, strict=True)]
            mean = sum(float(s[i].sum()) for s, i in zip(sure, inside, strict=True)) / sum(positions)
            yield AtConfidence(
                place / BINS, (place + 1) / BINS, sum(positions), mean, _share(right, positions)
            )
