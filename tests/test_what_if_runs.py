"""What is simulated beside a verification: changes that must help, hurt or change nothing."""

from dataclasses import replace

import artifacts
import pytest

from calibrate.artifact import Artifact
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.configuration import Configuration
from reports.verify import what_if_runs
from reports.verify.what_if_runs import COUNTS, WORLDS
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature

MADE = artifacts.artifact(prompts=4, tokens=32, slow_downs=(1.3, 1.2))
SPECBRANCH = Configuration(policy="specbranch", draft="int4", draft_length=4, branches=2)
ALONE = Configuration(policy="autoregressive")


def test_without_overheads_or_contention_everything_is_faster() -> None:
    rows = what_if_runs.overheads(MADE, [SPECBRANCH, ALONE])
    own = {
        (r.configuration.policy, r.what_if): r.speed.value
        for r in rows
        if r.over_one is None and r.configuration in (SPECBRANCH, ALONE)
    }
    everything, no_overheads, no_contention, neither = (own["specbranch", w] for w in WORLDS)
    assert everything < no_contention
    assert max(everything, no_overheads, no_contention) <= neither
    assert own["autoregressive", WORLDS[0]] == own["autoregressive", WORLDS[2]]  # nothing runs beside it


def test_branches_are_counted_in_every_world_against_one() -> None:
    rows = [r for r in what_if_runs.overheads(MADE, [ALONE, SPECBRANCH, SPECBRANCH]) if r.over_one]
    assert [(r.what_if, r.configuration.branches) for r in rows] == [(w, k) for w in WORLDS for k in COUNTS]
    for r in rows:
        one = next(o for o in rows if (o.what_if, o.configuration.branches) == (r.what_if, 1))
        assert r.over_one
        assert r.over_one.value == pytest.approx(r.speed.value / one.speed.value)


def test_drawn_drafts_are_shifted_too() -> None:
    drawn = SPECBRANCH.model_copy(update={"draw_drafts": True})
    warm = at_temperature(artifacts.artifact(prompts=4, tokens=32, drawn=True), 1.0)
    for chosen in (SPECBRANCH, drawn):
        assert len({r.what_if.alignment for r in what_if_runs.sensitivities(warm, chosen)}) == 3


def test_sensitivities_go_the_way_they_must() -> None:
    found = what_if_runs.sensitivities(MADE, SPECBRANCH)
    mine, alone = ({r.what_if: r for r in found if r.configuration.drafts is d} for d in (True, False))
    base = mine[WhatIf()].speed.value
    share = first_token_shares(MADE)["int4"]
    up = [
        WhatIf(draft_speed=1.5),
        WhatIf(target_speed=1.5),
        WhatIf(alignment=share + 0.1),
        WhatIf(contention=False),
    ]
    down = [WhatIf(draft_speed=1 / 1.5), WhatIf(target_speed=1 / 1.5), WhatIf(alignment=share - 0.1)]
    assert all(mine[w].speed.value > base for w in up)
    assert all(mine[w].speed.value < base for w in down)
    assert alone[WhatIf(target_speed=1.5)].speed.value > 1.3 * alone[WhatIf()].speed.value
    assert {r.best_speed_up.value for r in alone.values()} == {1.0}
    assert set(mine) == set(alone) == {*up, *down, WhatIf(), WhatIf(overheads=False)}


def test_what_does_not_draft_with_a_model_is_asked_less() -> None:
    changes = list(what_if_runs.changes(MADE, Configuration(policy="prompt-lookup")))
    assert all(c.alignment is None and c.draft_speed == 1.0 and c.contention for c in changes)


def test_a_placement_occupies_its_seats() -> None:
    made = artifacts.artifact(prompts=1)
    at_once, in_turn = made.costs.placements
    gpu = {"target_seat": "cuda:0", "draft_seat": "cuda:0"}
    both = {"target_seat": "cpu cores 0,1,2", "draft_seat": "cpu cores 3"}
    placements = (at_once.model_copy(update=both), in_turn.model_copy(update=gpu))
    costs = made.costs.model_copy(update={"placements": placements})
    found = what_if_runs.occupied(replace(made, costs=costs))
    assert [(o.target, o.both, o.unit) for o in found] == [(3, 4, "core"), (1, 1, "device")]


def test_the_sweep_covers_methods_drafts_and_alignments() -> None:
    few = artifacts.artifact(prompts=2, tokens=12, drafts={"a": (0.9, 0.01), "b": (0.5, 0.01)})
    heard: list[str] = []
    points = what_if_runs.sweep(few, advance=heard.append)
    assert len(heard) == what_if_runs.count_steps(few)
    kinds = {(p.configuration.policy, p.configuration.draft, p.alignment) for p in points}
    assert kinds == {
        (policy, draft, alignment)
        for policy in ("speculative", "pearl", "specbranch")
        for draft in "ab"
        for alignment in (None, *what_if_runs.ALIGNMENTS)
    }
    assert len({(p.configuration, p.alignment) for p in points}) == len(points)


def test_more_alignment_is_more_speed_in_the_sweep() -> None:
    made: Artifact = artifacts.artifact(prompts=3, tokens=24, drafts={"a": (0.7, 0.01)})
    points = what_if_runs.sweep(made)
    low, high = what_if_runs.ALIGNMENTS
    speeds = {
        a: {
            p.configuration: p.speed.value
            for p in points
            if p.alignment == a and p.configuration.draft_length > 2
        }
        for a in (low, high)
    }
    assert all(speeds[high][c] >= speeds[low][c] for c in speeds[low])
