"""The settling test, by records in which it is known how each published claim falls."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import artifacts
import pytest
from verifications import at_speeds, verification

from engine.errors import CalibrationError
from reports.verify.settle import HALF, PUBLISHED, Claim, choose_drafts, contestants, settle, summary
from reports.verify.verification import Verification
from scenarios.what_if import WhatIf
from sim.search.grid import Grid
from sim.search.tune import tune

BASE = verification(prompts=6, settling=True)
SPEEDS = {"autoregressive": 10.0, "speculative": 15.0, "pearl": 18.0, "specbranch": 20.0}


def record(
    speeds: Mapping[str, float] = SPEEDS, noise: float = 0.0, rollback: Mapping[str, int] | None = None
) -> Verification:
    """A record in which each policy runs at one speed, and rolls back so many tokens of ten drafted in each round."""
    v = at_speeds(BASE, [speeds[c.configuration.policy] for c in BASE.compared], noise)
    if rollback is None:
        return v
    compared = []
    for c in v.compared:
        lost = rollback.get(c.configuration.policy, 0)
        samples = []
        for s in c.samples:
            rounds = tuple(replace(r, drafted=10, hedge=0, rollback=lost, emitted=2) for r in s.run.rounds)
            samples.append(s.model_copy(update={"run": replace(s.run, rounds=rounds)}))
        compared.append(c.model_copy(update={"samples": tuple(samples)}))
    return v.model_copy(update={"compared": tuple(compared)})


def claims(v: Verification, letter: str) -> list[Claim]:
    found = settle(v)
    assert found
    return [c for c in found.claims if c.claim == letter]


def test_a_record_of_another_kind_settles_nothing() -> None:
    assert settle(verification()) is None


@pytest.mark.parametrize(
    ("speed", "outcome"), [(20.0, "for"), (44.0, "for"), (17.0, "against"), (46.0, "against")]
)
def test_the_published_range(speed: float, outcome: str) -> None:
    found = claims(record({**SPEEDS, "specbranch": speed}), "a")
    assert {c.outcome for c in found} == {outcome}
    assert {c.draft for c in found} == set(BASE.settling.drafts if BASE.settling else ())
    for c in found:
        assert c.figure.value == pytest.approx(speed / 10.0)
        assert (c.least, c.most) == PUBLISHED
        assert c.rival.startswith("autoregressive")


@pytest.mark.parametrize(("speed", "outcomes"), [(20.0, ["for", "for"]), (16.0, ["for", "against"])])
def test_it_is_faster_than_each_rival_or_not(speed: float, outcomes: list[str]) -> None:
    found = claims(record({**SPEEDS, "specbranch": speed}), "b")
    assert [c.outcome for c in found] == outcomes * 2  # with each draft
    assert [c.figure.value for c in found[:2]] == pytest.approx([speed / 15.0, speed / 18.0])


def test_the_best_autoregressive_set_up_is_the_one_that_counts() -> None:
    v = record()
    alone = [i for i, c in enumerate(v.compared) if c.configuration.policy == "autoregressive"]
    speeds = [SPEEDS[c.configuration.policy] for c in v.compared]
    speeds[alone[1]] = 12.5
    found = [c.figure.value for c in claims(at_speeds(v, speeds), "a")]
    assert found == pytest.approx([20.0 / 12.5] * 2)


def test_rollback_is_halved_or_not() -> None:
    found = claims(record(rollback={"specbranch": 2, "speculative": 6, "pearl": 3}), "c")
    assert BASE.settling
    assert {c.draft for c in found} == {BASE.settling.poor}
    assert [c.outcome for c in found] == ["for", "for", "against", "against"]
    assert [c.figure.value for c in found] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert {c.most for c in found} == {HALF}


def test_a_rival_that_rolled_nothing_back_leaves_it_open() -> None:
    found = claims(record(rollback={"specbranch": 2}), "c")
    assert {c.outcome for c in found} == {"undecided"}
    assert all(math.isnan(c.figure.low) for c in found)


def test_noise_leaves_it_open() -> None:
    v = record()
    noisy = record(noise=0.2)
    # The rivals ran smoothly, so that the noise does not cancel.
    mixed = [
        n if n.configuration.policy == "specbranch" else c
        for n, c in zip(noisy.compared, v.compared, strict=True)
    ]
    found = settle(v.model_copy(update={"compared": tuple(mixed)}))
    assert found
    assert {c.outcome for c in found.claims if c.claim == "a"} == {"undecided"}
    assert "stays undecided here" in found.answers[0]


def test_one_comparison_against_it_breaks_a_claim() -> None:
    found = settle(record({**SPEEDS, "specbranch": 16.0}))
    assert found
    assert "holds here" not in found.answers[1]
    assert "does not hold here" in found.answers[1]
    assert "does not hold here" in found.answers[0]
    assert f"{len(found.claims)} comparisons" in summary(found)


def test_the_drafts_are_the_usual_ones_or_the_extremes() -> None:
    usual = choose_drafts(artifacts.artifact())
    assert (usual.well, usual.poor) == ("int8", "distilled")
    other = choose_drafts(
        artifacts.artifact(drafts={"a": (0.6, 0.01), "b": (0.95, 0.01), "c": (0.1, 0.01)}, tokens=60)
    )
    assert (other.well, other.poor) == ("b", "c")
    assert other.alignment["b"] > other.alignment["c"]
    only = choose_drafts(artifacts.artifact(drafts={"a": (0.6, 0.01)}))
    assert only.drafts == ("a",)
    with pytest.raises(CalibrationError, match="no draft"):
        choose_drafts(artifacts.artifact(drafts={}))


def test_each_method_runs_at_its_own_best_with_each_draft() -> None:
    artifact = artifacts.artifact(prompts=3, tokens=24)
    grid = Grid(draft_lengths=(1, 3), branches=(1, 4), cuts=(0.0,))
    tuned = contestants(artifact, Path("c"), choose_drafts(artifact), grid=grid)
    everything = (tuned.chosen, *tuned.baselines)
    kinds = [(c.policy, c.draft) for c in everything if c.drafts]
    assert sorted(kinds) == sorted(
        (policy, draft)
        for policy in ("speculative", "pearl", "specbranch")
        for draft in ("int8", "distilled")
    )
    assert {c.placement for c in everything if not c.drafts} == {"at-once", "in-turn"}
    pearl = next(c for c in everything if (c.policy, c.draft) == ("pearl", "int8"))
    only = grid.model_copy(update={"policies": ("pearl",), "drafts": ("int8",)})
    assert tune(artifact, only, jobs=1).best.configuration == pearl


def test_methods_are_at_their_best_at_the_temperature_that_was_tuned_for() -> None:
    artifact = artifacts.artifact(prompts=3, tokens=24, drawn=True)
    grid = Grid(draft_lengths=(1, 3), branches=(1, 4), cuts=(0.0,), draw_drafts=(False, True))
    settling = choose_drafts(artifact)
    tuned = contestants(artifact, Path("c"), settling, grid=grid, temperature=1.0)
    assert tuned.what_if == WhatIf(temperature=1.0)
    pearl = next(c for c in (tuned.chosen, *tuned.baselines) if (c.policy, c.draft) == ("pearl", "int8"))
    only = grid.model_copy(update={"policies": ("pearl",), "drafts": ("int8",)})
    assert tune(artifact, only, what_if=tuned.what_if, jobs=1).best.configuration == pearl
