"""A sweep over processes is the scenario itself, piece by piece, and goes on where a table ends."""

from pathlib import Path

from engine.configuration import Configuration
from scenarios.schema import load_scenario
from scenarios.what_if import WhatIf
from sim.sweeps.run import run_scenario
from sim.sweeps.sweep import in_order, parts, sweep

TEXT = """
title: a sweep
acceptance: {independent: 0.7}
costs: {draft_step_ms: 5, target_forward_ms: 40}
workload: {prompts: 4, tokens: 24}
what_if: {draft_speed: [1, 2]}
configurations:
  - {policy: speculative, draft_length: [1, 2, 3, 4, 5, 6], min_confidence: [0, 0.1, 0.2, 0.5]}
"""


def test_processes_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    scenario = load_scenario(tmp_path / "s.yaml")
    expected = list(run_scenario(scenario))
    assert in_order(scenario, sweep(scenario, jobs=2)) == expected
    assert in_order(scenario, sweep(scenario, jobs=1)) == expected


def test_what_is_skipped_is_all_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    scenario = load_scenario(tmp_path / "s.yaml")

    def skip(what_if: WhatIf, configuration: Configuration) -> bool:
        return what_if.draft_speed == 1 and (
            configuration.draft_length > 1 or configuration.min_confidence > 0
        )

    found = in_order(scenario, sweep(scenario, jobs=1, skip=skip))
    left = [(o.what_if.draft_speed, o.configuration.draft_length) for o in found]
    assert left == [(1, 1), *((2, n) for n in range(1, 7) for _ in range(4))]
    assert sum(piece.outcomes for piece in parts(scenario, skip)) == len(left)


def test_pieces_are_as_many_as_asked_for_and_hold_all(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    scenario = load_scenario(tmp_path / "s.yaml")
    pieces = parts(scenario, count=5)
    assert len(pieces) == 5
    held = [(what_if, c) for piece in pieces for what_if in piece.what_if for c in piece.configurations]
    assert len(held) == len(set(held)) == scenario.outcomes
