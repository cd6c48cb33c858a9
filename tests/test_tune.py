"""Tuning: the grid is distinct, ties are reported, the simplest wins, and files come back as they were."""

import itertools
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from artifacts import artifact, replay

from calibrate.artifact import Artifact
from calibrate.traces.acceptance_statistics import rank_shares
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.policies.tree_drafting import best_shape
from engine.runtime.placement import Placement
from sim.search.grid import PARALLEL, Grid, has_helpers, simplicity
from sim.search.objectives import OBJECTIVES, Bounds, Objective
from sim.search.tune import LEAD, Tuning, tune
from sim.search.tuned import TunedConfiguration, load_tuned, save_tuned
from sim.world.replay import Replay

SMALL = Grid(draft_lengths=(2, 4), branches=(1, 3), cuts=(0.0, 0.5), bounds=(0.4,))


@cache
def tuning() -> Tuning:
    return tune(artifact(prompts=5, tokens=30), SMALL, jobs=1)


def test_grid_holds_what_each_policy_uses_once() -> None:
    found = SMALL.configurations(("a", "b"), ("at-once", "in-turn"))
    assert len(found) == len(set(found))
    counts = {policy: sum(c.policy == policy for c in found) for policy in SMALL.policies}
    # Placements x drafts x lengths x cuts, with nothing that helps, with guesses or with second choices, too;
    # SpecBranch has three ways of branching, with redrafting or without, less one branch with neither that nor a cut.
    assert counts == {
        "autoregressive": 2,
        "prompt-lookup": 2 * 2 * 2,
        "adaedl": 2 * 2 * 2 * 2,
        "speculative": 2 * 2 * 2 * 2 * 3,
        "pearl": 2 * 2 * 2 * 3,
        "specbranch": 2 * 2 * 2 * 3 * (2 * 3 * 2 - 1),
        "tree": 0,  # they come with a draft's shares
    }


def test_a_single_token_is_never_cut() -> None:
    grid = Grid(draft_lengths=(1,), branches=(1,), cuts=(0.0, 0.5))
    found = grid.configurations(("a",), ("in-turn",))
    policies = [c.policy for c in found if not c.guesses]
    assert policies == ["autoregressive", "prompt-lookup", "speculative", "pearl"]
    # With right guesses behind it, there are more tokens, of which the draft may be unsure.
    assert {c.min_confidence for c in found if c.guesses and c.policy == "speculative"} == {0.0, 0.5}


def test_every_configuration_is_scored_and_the_fastest_comes_first() -> None:
    result = tuning()
    grid = SMALL.configurations(("int8", "int4", "distilled"), ("at-once", "in-turn"))
    # And PEARL with the length that its paper sets, where the grid lacks it.
    trees = {s.configuration for s in result.scored if s.configuration.policy == "tree"}
    more = {s.configuration for s in result.scored} - set(grid) - trees
    assert len(result.scored) == len(grid) + len(trees) + len(more)
    lengths = {(c.policy, c.placement, c.draft): c.draft_length for c in more}
    costs = artifact(prompts=5, tokens=30).costs.at("at-once").drafts
    for (policy, placement, draft), length in lengths.items():
        assert (policy, placement) == ("pearl", "at-once")
        (together,) = costs[str(draft)].together
        assert length == round(together.target_together[0] / together.draft_together[0])
    assert more
    assert {s.prompts for s in result.scored} == {tuple(range(5))}
    seconds = [sum(s.seconds) for s in result.scored]
    assert seconds == sorted(seconds)
    assert result.tied[0] is result.best
    assert result.chosen in result.tied
    assert all(simplicity(result.chosen.configuration) <= simplicity(s.configuration) for s in result.tied)
    for s in result.scored[::17]:
        runs = replay(artifact(prompts=5, tokens=30), s.configuration)
        assert [run.seconds for run in runs] == pytest.approx(s.seconds)


def test_trees_are_of_the_shares_at_which_a_drafts_candidates_are_right() -> None:
    made = artifact(prompts=5, tokens=30)
    trees = [s.configuration for s in tuning().scored if s.configuration.policy == "tree"]
    drafts = list(made.recorded.drafts)
    assert {(c.draft, c.placement) for c in trees} == set(itertools.product(drafts, ("at-once", "in-turn")))
    for draft in drafts:
        ranks = np.concatenate([t.drafts[draft].tokens == t.path[:, None] for t in made.traces]).mean(axis=0)
        mine = [c for c in trees if c.draft == draft and c.placement == "in-turn"]
        shapes = {best_shape(c.rank_chances, c.tree_nodes, c.draft_length) for c in mine}
        assert len(shapes) == len(mine)
        assert shapes == {
            shape
            for nodes, length in itertools.product(SMALL.tree_nodes, SMALL.draft_lengths)
            if not (shape := best_shape(thousandths(ranks), nodes, length)).parents.is_chain
        }
        for c in mine:
            assert c.rank_chances == pytest.approx(ranks[: len(c.rank_chances)], abs=0.001)


def thousandths(shares: np.ndarray) -> tuple[float, ...]:
    return tuple((np.floor(1000 * shares) / 1000).tolist())


def test_a_tree_of_one_candidate_is_a_line_and_left_out() -> None:
    assert SMALL.trees(("in-turn",), "a", (0.7,)) == []
    assert SMALL.trees(("in-turn",), "a", (0.0, 0.0)) == []
    # Shares that sum to 1 still do so at most as they are written.
    assert SMALL.trees(("in-turn",), "a", (1 / 6,) * 6)


def test_what_verify_gets() -> None:
    result = tuning()
    alone = [s for s in result.baselines if s.configuration.policy == "autoregressive"]
    assert [s.configuration.placement for s in alone] == ["in-turn", "at-once"]
    assert result.baselines[0] is alone[0]
    assert alone[0].speed_up.value == pytest.approx(1.0)
    kinds = [(s.configuration.policy, s.configuration.draft) for s in [result.chosen, *result.baselines[2:]]]
    with_model = itertools.product(
        ("speculative", "adaedl", "pearl", "specbranch", "tree"), ("int8", "int4", "distilled")
    )
    assert set(kinds) == {("prompt-lookup", None), *with_model}
    assert len(set(kinds)) == len(kinds)
    run = {s.configuration for s in [result.chosen, *result.baselines, *result.others]}
    assert len(run) == 1 + len(result.baselines) + len(result.others) >= 6


def test_processes_change_nothing() -> None:
    alone = tuning()
    seen: list[tuple[int, int]] = []
    spread = tune(
        artifact(prompts=5, tokens=30), SMALL, jobs=2, progress=lambda done, of: seen.append((done, of))
    )
    assert spread == alone
    assert seen[-1] == (len(alone.scored), len(alone.scored))


def test_the_leaders_meet_all_prompts() -> None:
    many = artifact(prompts=30, tokens=12)
    grid = Grid(draft_lengths=(2, 6), branches=(1, 3), cuts=(0.0,))
    totals: list[int] = []
    result = tune(many, grid, jobs=1, progress=lambda done, of: totals.append(of - done))
    assert totals[-1] == 0
    whole = [s for s in result.scored if len(s.prompts) == 30]
    sampled = [s for s in result.scored if len(s.prompts) < 30]
    assert list(result.scored) == whole + sampled
    assert sampled
    assert {s.configuration for s in [*result.tied, result.chosen, *result.baselines]} <= {
        s.configuration for s in whole
    }
    # What was left out is indeed no leader.
    world = Replay(many)
    for s in sampled:
        seconds = sum(tally.seconds for tally in world.tallies(s.configuration))
        assert sum(result.best.seconds) / seconds < LEAD + 0.05


def test_a_bad_draft_is_not_worth_it() -> None:
    poor = artifact(prompts=4, tokens=30, drafts={"slow": (0.1, 0.05)})
    result = tune(poor, SMALL, jobs=1)
    assert not result.speculate
    assert result.chosen.configuration == Configuration(policy="autoregressive", placement="in-turn")
    assert result.advice.startswith("do not speculate")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_best_by_any_objective_is_among_the_tied(objective: Objective) -> None:
    result = tune(artifact(prompts=5, tokens=30), SMALL, jobs=1, objective=objective)
    costs = [s.cost for s in result.scored]
    assert costs == sorted(costs)
    assert result.tied[0].cost == min(costs)
    assert result.chosen in result.tied


def test_bounds_leave_out_what_exceeds_them() -> None:
    free = tuning()
    waste = free.chosen.rollback_rate
    assert waste > 0.0
    bounds = Bounds(rollback_rate=waste / 2, devices=1)
    bound = tune(artifact(prompts=5, tokens=30), SMALL, jobs=1, bounds=bounds)
    assert all(s.rollback_rate <= waste / 2 and s.devices == 1 for s in bound.tied)
    assert len(bound.scored) == len(free.scored)
    with pytest.raises(ConfigurationError, match="the nearest"):
        tune(
            artifact(prompts=5, tokens=30),
            Grid(policies=("pearl",), draft_lengths=(4,)),
            jobs=1,
            bounds=Bounds(rollback_rate=0.0),
        )


@dataclass(frozen=True)
class Replayed:
    """Every configuration of a grid on all prompts of a calibration: seconds, and how much was rolled back."""

    artifact: Artifact
    seconds: Mapping[Configuration, float]
    rates: Mapping[Configuration, float]


@pytest.fixture(scope="module")
def replayed() -> Replayed:
    made = artifact(prompts=30, tokens=20)
    world, seconds, rates = Replay(made), {}, {}
    drafts = "int8", "int4", "distilled"
    placements: tuple[Placement, ...] = "at-once", "in-turn"
    trees = [c for draft in drafts for c in SMALL.trees(placements, draft, rank_shares(made, draft))]
    for c in (*SMALL.configurations(drafts, placements), *trees):
        tallies = world.tallies(c)
        drafted, rollback, hedge = (sum(column) for column in list(zip(*tallies, strict=True))[1:])
        seconds[c] = sum(t.seconds for t in tallies)
        rates[c] = rollback / (drafted - hedge) if drafted else 0.0
    return Replayed(made, seconds, rates)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bounds_are_judged_on_all_prompts_though_leaders_are_found_on_a_sample(
    replayed: Replayed, share: float
) -> None:
    rates = replayed.rates
    most = sorted(filter(None, rates.values()))[int(share * sum(map(bool, rates.values())))]
    bound = tune(replayed.artifact, SMALL, jobs=1, bounds=Bounds(rollback_rate=most))
    fit = [c for c in rates if rates[c] <= most]
    assert 0 < len(fit) < len(rates)
    assert bound.best.configuration == min(fit, key=replayed.seconds.__getitem__)


def test_the_front_holds_the_fastest_and_the_thriftiest() -> None:
    result = tuning()
    speeds = [s.speed.value for s in result.front]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] == max(s.speed.value for s in result.scored)
    assert min(s.waste for s in result.front) == min(s.waste for s in result.scored)


def test_as_many_are_listed_as_asked_for() -> None:
    result = tune(artifact(prompts=5, tokens=30), SMALL, jobs=1, listed=24)
    run = {s.configuration for s in [result.chosen, *result.baselines, *result.others]}
    assert len(run) == 24


def test_each_method_is_listed_as_published() -> None:
    """Beside its best with helpers, so that measured points of either kind rank methods at their best."""
    result = tune(artifact(prompts=5, tokens=30), SMALL, jobs=1, listed=40)
    run = {s.configuration for s in [result.chosen, *result.baselines, *result.others]}
    assert any(has_helpers(c) for c in run)
    best: dict[tuple[str, str | None], Configuration] = {}
    for s in result.scored:
        if s.configuration.drafts and not has_helpers(s.configuration):
            best.setdefault((s.configuration.policy, s.configuration.draft), s.configuration)
    assert len(best) >= 9
    assert set(best.values()) <= run


def test_parallel_methods_are_listed_on_separate_devices() -> None:
    """With each draft, however few are listed and wherever they are fastest: what runs at once has to be verified."""
    result = tune(artifact(prompts=5, tokens=30), SMALL, jobs=1, listed=24)
    run = {s.configuration for s in [result.chosen, *result.baselines, *result.others]}
    listed = {(c.policy, c.draft) for c in run if c.policy in PARALLEL and c.placement == "at-once"}
    drafts = {c.draft for c in run if c.draft}
    assert len(drafts) >= 2
    assert listed == set(itertools.product(PARALLEL, drafts))


def test_a_tie_goes_to_the_simplest() -> None:
    # One prompt has no interval, so only exact equals tie; with a perfect draft a cut at 0 does not exist.
    order = [
        Configuration(policy="autoregressive", placement="in-turn"),
        Configuration(policy="speculative", draft_length=2),
        Configuration(policy="speculative", draft_length=8),
        Configuration(policy="speculative", draft_length=1, min_confidence=0.1),
        Configuration(policy="pearl", draft_length=1),
        Configuration(policy="specbranch", draft_length=8, branches=2),
        Configuration(policy="specbranch", draft_length=1, branches=4),
    ]
    assert sorted(order[::-1], key=simplicity) == order


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (Grid(drafts=("int3",)), "no draft 'int3'"),
        (Grid(policies=()), "grid to tune over is empty"),
        (Grid(policies=("specbranch",), branches=(9,)), "recorded 8 candidates"),
        (Grid(policies=("perl",)), "did you mean 'pearl'"),
    ],
)
def test_a_grid_that_the_calibration_cannot_serve(grid: Grid, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        tune(artifact(prompts=2, tokens=10), grid, jobs=1)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    tuned = TunedConfiguration.of(tuning(), tmp_path / "calibration", "d" * 64)
    file = tmp_path / "runs" / "tuned.yaml"
    save_tuned(file, tuned)
    text = file.read_text()
    assert text.startswith("# Written by 'specbranch tune'")
    assert "calibration: ../calibration\n" in text
    loaded = load_tuned(file)
    assert loaded.model_copy(update={"calibration": tuned.calibration}) == tuned
    assert loaded.calibration.resolve() == tuned.calibration.resolve()
    assert len(loaded.predicted) == 1 + len(tuned.baselines) + len(tuned.others)


def test_a_file_knows_whose_costs_it_is_of(tmp_path: Path) -> None:
    folder, costs = tmp_path / "calibration", tmp_path / "elsewhere" / "costs"
    tuned = TunedConfiguration.of(tuning(), folder, "d" * 64, costs_from=costs)
    save_tuned(tmp_path / "runs" / "tuned.yaml", tuned)
    found = load_tuned(tmp_path / "runs" / "tuned.yaml").costs_from
    assert found is not None
    assert found.resolve() == costs.resolve()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("chosen:", "choosen:", r":\d+: key 'choosen' is unknown, did you mean 'chosen'"),
        ("policy: pearl", "policy: perl", r":\d+: key 'baselines.\d+.policy': .*did you mean 'pearl'"),
        ("draft_length: 4", "draft_length: 0", r":\d+: key '\w+.\d+.draft_length': input should be greater"),
        ("placement: in-turn", "placment: in-turn", "did you mean 'placement'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "tuned.yaml"
    save_tuned(file, TunedConfiguration.of(tuning(), tmp_path / "calibration", "d" * 64))
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=says):
        load_tuned(file)


def test_simulating_and_tuning_never_import_torch() -> None:
    modules = "sim.sweeps.run, sim.search.tune, scenarios.calibrations, sim.search.tuned"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
