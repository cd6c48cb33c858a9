"""ECHO's gates: areas and thresholds of lines whose confidences are known to tell, or not to."""

from dataclasses import replace

import artifacts
import numpy as np
import pytest
from test_acceptance_statistics import DRAFT

from calibrate.artifact import Artifact
from calibrate.trace_records import Trace
from calibrate.traces.gates import DEEPEST, best_gates, describe_gates, gate_qualities
from engine.policies.settings import Settings


def of(hits: str, sure: list[float], off: float = 0.5) -> Artifact:
    """One text of right (1) and wrong (0) first candidates, which the draft gives these shares."""
    made = artifacts.artifact(prompts=1, drafts=DRAFT, tokens=len(hits))
    seen, path = made.traces[0].drafts["d"], np.arange(len(hits), dtype=np.int32)
    tokens = np.full((len(hits), 8), -1, dtype=np.int32)
    tokens[:, 0] = np.where([hit == "1" for hit in hits], path, -1)
    chances = np.zeros((len(hits), 8), dtype=np.float32)
    chances[:, 0] = sure
    behind = np.full_like(seen.off_chances, off)
    trace = replace(seen, tokens=tokens, chances=chances, off_chances=behind)
    return replace(made, traces=(Trace(made.traces[0].prompt, path, {"d": trace}),))


def test_a_draft_that_knows_is_told_apart_at_once() -> None:
    made = of("110110110", [0.9, 0.9, 0.2] * 3)
    first = gate_qualities(made, "d")[0]
    assert (first.depth, first.area, first.right, first.wrong) == (1, 1.0, 1.0, 0.0)
    assert 0.2 <= first.threshold < 0.9
    (said,) = describe_gates(made)
    assert "1.00 at 1" in said


def test_a_draft_that_knows_nothing_is_right_half_the_time() -> None:
    first = gate_qualities(of("10" * 20, [0.7] * 40), "d")[0]
    assert first.area == 0.5
    assert first.right == first.wrong


def test_deeper_gates_are_of_lines_that_are_right_so_far() -> None:
    """By hand: at depth 2 the lines from 0, 1 and 3 are right before; the products of the two that go on are larger."""
    made = of("11011", [0.9, 0.8, 0.1, 0.6, 0.5])
    qualities = {gate.depth: gate for gate in gate_qualities(made, "d")}
    # From 0: .9 x .8, right; from 1: .8 x .1, wrong; from 3: .6 x .5, right.
    assert qualities[2].area == 1.0
    assert qualities[2].threshold == pytest.approx(0.08)
    assert max(qualities) <= DEEPEST


def test_one_wrong_among_right_ones_has_the_area_of_its_rank() -> None:
    """Shares .1 to .9; the wrong token's is the third: six of eight right ones have more."""
    sure = [0.1 * (1 + i) for i in range(9)]
    first = gate_qualities(of("110111111", sure), "d")[0]
    assert first.area == pytest.approx(6 / 8)


def test_the_best_are_what_the_setting_takes() -> None:
    made = artifacts.artifact(prompts=4, tokens=80)
    for draft in made.recorded.drafts:
        qualities = gate_qualities(made, draft)
        said = best_gates(qualities)
        assert Settings(policy="echo", gates=said).gates == said
        areas = {gate.depth: gate.area for gate in qualities}
        taken = {int(word.split(":")[0]) for word in said.split("/")}
        assert min(areas[depth] for depth in taken) >= max(areas[depth] for depth in set(areas) - taken)


def test_a_draft_that_is_always_right_has_no_gates() -> None:
    assert gate_qualities(of("1" * 12, [0.9] * 12), "d") == ()
    assert list(describe_gates(of("1" * 12, [0.9] * 12))) == []
