"""How well drafts predict the target, on traces whose shares are known."""

import math
from collections.abc import Sequence
from dataclasses import replace

import artifacts
import numpy as np
import pytest

from calibrate.artifact import Artifact
from calibrate.trace_records import Trace
from calibrate.traces.acceptance_statistics import (
    DEPTH,
    RANKS,
    AcceptanceStatistics,
    acceptance_at_temperature,
    acceptance_statistics,
    describe_acceptance,
    describe_temperature,
    first_token_shares,
)

DRAFT = {"d": (0.7, 0.01)}


def of(
    patterns: Sequence[str], kinds: Sequence[str] | None = None, sure: float = 0.75
) -> AcceptanceStatistics:
    """Statistics of texts written as hits ("1", or the rank of the target's token from 2) and misses ("0")."""
    made = artifacts.artifact(prompts=len(patterns), drafts=DRAFT, tokens=max(map(len, patterns)) + 8)
    traces, records = [], []
    for i, pattern in enumerate(patterns):
        seen = made.traces[i].drafts["d"]
        path = np.arange(len(pattern), dtype=np.int32)
        tokens = np.full((len(pattern), 8), -1, dtype=np.int32)
        for place, letter in enumerate(pattern):
            if letter != "0":
                tokens[place, int(letter) - 1] = path[place]
        chances = np.full((len(pattern), 8), sure, dtype=np.float32)
        traces.append(
            Trace(made.traces[i].prompt, path, {"d": replace(seen, tokens=tokens, chances=chances)})
        )
        records.append(made.recorded.prompts[i].model_copy(update={"kind": kinds[i] if kinds else "chat"}))
    recorded = made.recorded.model_copy(update={"prompts": tuple(records)})
    artifact = Artifact(made.costs, recorded, tuple(traces))
    (found,) = acceptance_statistics(artifact)
    assert first_token_shares(artifact) == {"d": found.overall.within[0].value}
    return found


def test_a_draft_that_is_always_right() -> None:
    found = of(["1" * 12, "1" * 10], sure=1.0)
    assert [d.reached.value for d in found.by_depth] == [1.0] * DEPTH
    assert [d.given.value for d in found.by_depth if d.given] == [1.0] * DEPTH
    assert [r.share.value for r in found.run_lengths] == [0.0] * DEPTH + [1.0]
    assert found.miscalibration == 0.0
    assert all((e.low, e.value, e.high) == (1.0, 1.0, 1.0) for e in found.overall.within)


def test_depths_count_every_beginning_with_enough_text_left() -> None:
    found = of(["1101", "1111"])
    reached = [d.reached.value for d in found.by_depth]
    assert reached == pytest.approx([7 / 8, 4 / 6, 2 / 4, 1 / 2])
    given = [d.given.value if d.given else None for d in found.by_depth]
    # Of the beginnings with a second token behind a right first one (5 of 6), 4 go on, and so forth.
    assert given == pytest.approx([7 / 8, 4 / 5, 2 / 3, 1 / 1])


def test_runs_lie_between_misses_and_a_cut_one_does_not_count() -> None:
    found = of(["110100111", "0"])
    shares = {r.length: r.share.value for r in found.run_lengths}
    assert shares == pytest.approx({0: 2 / 4, 1: 1 / 4, 2: 1 / 4} | {n: 0.0 for n in range(3, DEPTH + 1)})


def test_candidates_and_kinds() -> None:
    found = of(["1234", "1110", "2200"], ["code", "code", "chat"])
    within = dict(zip(RANKS, (e.value for e in found.overall.within), strict=True))
    assert within == pytest.approx({1: 4 / 12, 2: 7 / 12, 4: 9 / 12, 8: 9 / 12})
    assert [(k.kind, k.prompts, k.positions) for k in found.by_kind] == [("code", 2, 8), ("chat", 1, 4)]
    assert [k.within[0].value for k in found.by_kind] == pytest.approx([0.5, 0.0])
    assert math.isnan(found.by_kind[1].within[0].low)  # one prompt has no interval
    assert 0.0 <= found.by_kind[0].within[0].low <= 0.5 <= found.by_kind[0].within[0].high <= 1.0


def test_confidence_against_the_share_right() -> None:
    found = of(["1110", "1100"], sure=0.75)
    (only,) = found.reliability
    assert (only.low, only.high, only.positions) == (0.7, 0.8, 8)
    assert only.confidence == pytest.approx(0.75)
    assert only.right.value == pytest.approx(5 / 8)
    assert found.miscalibration == pytest.approx(1 / 8)


def test_the_bins_hold_every_position_once() -> None:
    made = artifacts.artifact(prompts=5)
    for found in acceptance_statistics(made):
        assert sum(b.positions for b in found.reliability) == found.overall.positions
        assert sum(k.positions for k in found.by_kind) == found.overall.positions
        assert sum(r.share.value for r in found.run_lengths) == pytest.approx(1.0)
        depths = [d.reached.value for d in found.by_depth]
        assert depths == sorted(depths, reverse=True)


def test_a_summary_names_every_draft() -> None:
    statistics = acceptance_statistics(artifacts.artifact())
    for one in statistics:
        among = [sum(one.by_rank[:count]) for count in RANKS]
        assert among == pytest.approx([e.value for e in one.overall.within])
    lines = "\n".join(describe_acceptance(statistics))
    for name in artifacts.DRAFTS:
        assert f"{name}: right at" in lines


def test_shares_at_a_temperature() -> None:
    """Of made-up texts: the share right of either view, and the mean of min(1, q / p) in closed form."""
    made = artifacts.artifact(prompts=3, drafts=DRAFT, tokens=20, drawn=True)
    other = artifacts.artifact(prompts=3, drafts=DRAFT, tokens=20, seed=9)
    sampled = []
    for trace, another in zip(made.sampled, other.traces, strict=True):
        length = len(trace.path)
        chances = np.where(np.arange(length) % 2, 0.8, 0.2).astype(np.float32)
        seen = replace(trace.drafts["d"], true_chance=np.full(length, 0.4, dtype=np.float32))
        drawing = {"d": replace(another.drafts["d"], tokens=np.repeat(trace.path[:, None], 8, axis=1))}
        sampled.append(replace(trace, chances=chances, drafts={"d": seen}, drawing=drawing))
    artifact = replace(made, sampled=tuple(sampled))
    (found,) = acceptance_at_temperature(artifact)
    at_heat = replace(made, traces=artifact.sampled)
    assert found.likeliest.value == pytest.approx(first_token_shares(at_heat)["d"])
    assert found.drawn.value == first_token_shares(at_heat, drawn=True)["d"] == 1.0
    even = sum(int(np.ceil(len(trace.path) / 2)) for trace in sampled)
    assert found.positions == sum(len(trace.path) for trace in sampled)
    assert found.most.value == pytest.approx((even + 0.5 * (found.positions - even)) / found.positions)
    (line,) = describe_temperature([found])
    assert "d at temperature 1" in line
    assert "drawn with the target's noise at 100.0%" in line
    assert acceptance_at_temperature(replace(made, sampled=())) == ()
