"""The map of regimes: closed forms, what has to grow, and what its cells say of each other."""

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import artifacts
import numpy as np
import pytest
from closed_forms import parallel_tokens_per_round, speculative_tokens_per_round
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.artifact import Artifact
from calibrate.cost_records import Cell, DraftCosts, PlacementCosts
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.errors import CalibrationError, ConfigurationError
from scenarios.what_if import WhatIf
from sim.search.cost_ratios import step_ratio
from sim.search.grid import Aids, Grid
from sim.search.regime_map import regime_map
from sim.search.regimes import RegimeMap
from sim.world.replay import Replay

STEP = 0.004  # seconds of the ideal machine's draft
PROMPTS, TOKENS = 8, 1500
LENGTHS, BRANCHES = (1, 2, 4, 8), (2, 4)
IDEAL = WhatIf(overheads=False, contention=False)
PLAIN = (
    Grid(
        policies=("speculative", "pearl"),
        draft_lengths=LENGTHS,
        cuts=(0.0,),
        redraft=(False,),
        aids=(Aids(),),
    ),
    Grid(
        policies=("specbranch",),
        draft_lengths=LENGTHS,
        branches=BRANCHES,
        adaptive_branches=(False,),
        cuts=(0.0,),
        redraft=(False,),
        aids=(Aids(),),
    ),
)
RATIOS, ALIGNMENTS = (2.0, 6.0, 15.0), (0.4, 0.7, 0.9)


def flat(seconds: float, counts: tuple[int, ...]) -> tuple[Cell, ...]:
    """An operation that takes as long whatever it reads, and behind whatever."""
    return tuple(Cell(rows=n, cache_tokens=c, seconds=(seconds,) * 3) for n in counts for c in (0, 32, 4096))


def ideal(seed: int = 0, acceptance: float = 0.6) -> Artifact:
    """A calibration of a machine of constant times, and a draft that is right independently, with one confidence.

    Prompts of one token, so that to read one takes a step. The target's token has rank j with the chance
    (1 - a) ^ j a, so that k candidates hold it with 1 - (1 - a) ^ k.
    """
    made = artifacts.artifact(
        prompts=PROMPTS,
        tokens=TOKENS,
        drafts={"d": (acceptance, STEP)},
        jitter=False,
        prompt_tokens=1,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    traces = []
    for trace in made.traces:
        seen = trace.drafts["d"]
        length, candidates = len(trace.path), seen.tokens.shape[1]
        ranks = rng.geometric(acceptance, size=length) - 1
        tokens = np.tile(np.arange(candidates, dtype=np.int32) + 2 * artifacts.VOCABULARY, (length, 1))
        there = ranks < candidates
        tokens[np.flatnonzero(there), ranks[there]] = trace.path[there]
        chances = np.full_like(seen.chances, 0.1)
        chances[:, 0] = 0.5
        traces.append(
            replace(
                trace, drafts={"d": replace(seen, tokens=tokens, chances=chances)}, prompt=trace.prompt[:1]
            )
        )
    costs = tuple(
        PlacementCosts(
            placement=placement,
            target_seat="cpu cores 0",
            draft_seat="cpu cores 1",
            target=flat(10 * STEP, (1, 2, 4, 16, 4096)),
            drafts={
                "d": DraftCosts(
                    forward=flat(STEP, (1, 2, 16, 4096)), branch=flat(STEP, (1, 2, 8)), fork=(), together=()
                )
            },
            hand_over=(0.0,),
        )
        for placement in ("at-once", "in-turn")
    )
    return replace(made, costs=made.costs.model_copy(update={"placements": costs}), traces=tuple(traces))


@pytest.fixture(scope="module")
def found() -> RegimeMap:
    return regime_map(
        ideal(),
        ratios=RATIOS,
        alignments=ALIGNMENTS,
        plain=PLAIN,
        helped=(),
        what_if=IDEAL,
        prompts=PROMPTS,
        jobs=1,
    )


def speed_ups(ratio: float, a: float) -> dict[str, float]:
    """The best speed-up of each method in closed form, where each model has a device of its own."""
    known = {"autoregressive": 1.0}
    known["speculative"] = max(speculative_tokens_per_round(a, g) * ratio / (g + ratio) for g in LENGTHS)
    # The lost ranks are drawn from those that were lost before, whatever the alignment.
    hits = {k: a + (1.0 - a) * (1.0 - 0.4 ** (k - 1)) for k in (1, *BRANCHES)}
    of = {
        k: max(parallel_tokens_per_round(a, g, hit) * ratio / max(g, ratio) for g in LENGTHS)
        for k, hit in hits.items()
    }
    known["pearl"], known["specbranch"] = of[1], max(of[k] for k in BRANCHES)
    return known


@pytest.mark.parametrize(("ratio", "alignment"), list(itertools.product(RATIOS, ALIGNMENTS)))
def test_an_ideal_machine_meets_the_closed_forms(found: RegimeMap, ratio: float, alignment: float) -> None:
    view = found.view("at-once", 0.0, helpers=False)
    (cell,) = [c for c in view.cells if (c.ratio, c.alignment) == (ratio, alignment)]
    expected = speed_ups(ratio, alignment)
    # 12,000 tokens: a share of 0.4 is known to half a hundredth, and a length's run more roughly.
    for entry in cell.entries:
        assert entry.speed_up.value == pytest.approx(expected[entry.policy], rel=0.03), entry
    assert cell.winner.speed_up.value == pytest.approx(max(expected.values()), rel=0.03)
    order = sorted(expected, key=lambda policy: -expected[policy])
    if expected[order[0]] > 1.05 * expected[order[1]]:
        assert cell.winner.policy == order[0]
        assert not cell.is_tie


def test_the_placements_of_an_ideal_machine_differ_as_they_should(found: RegimeMap) -> None:
    """Speculative decoding takes turns anyway; drafting beside the target needs a device for it."""
    alone, shared = (found.view(p, 0.0, helpers=False) for p in ("at-once", "in-turn"))
    for one, other in zip(alone.cells, shared.cells, strict=True):
        speculative = [c.entry("speculative") for c in (one, other)]
        assert speculative[0]
        assert speculative[1]
        assert speculative[0].speed_up.value == pytest.approx(speculative[1].speed_up.value, rel=1e-6)
        pearl = [c.entry("pearl") for c in (one, other)]
        assert pearl[0]
        assert pearl[1]
        assert pearl[0].speed_up.value >= pearl[1].speed_up.value


def test_the_best_placement_is_no_worse_than_any(found: RegimeMap) -> None:
    best, *rest = (found.view(p, 0.0, helpers=False) for p in found.placements)
    for view in rest:
        for one, other in zip(best.cells, view.cells, strict=True):
            assert one.winner.speed_up.value >= other.winner.speed_up.value - 1e-3


@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
def test_gains_grow_with_the_ratio_and_the_alignment(found: RegimeMap, policy: str) -> None:
    view = found.view("at-once", 0.0, helpers=False)
    by_place = {(c.ratio, c.alignment): e.speed_up.value for c in view.cells if (e := c.entry(policy))}
    assert len(by_place) == len(RATIOS) * len(ALIGNMENTS)
    for a in ALIGNMENTS:
        rising = [by_place[r, a] for r in RATIOS]
        assert all(later >= 0.995 * earlier for earlier, later in itertools.pairwise(rising))
    for r in RATIOS:
        rising = [by_place[r, a] for a in ALIGNMENTS]
        assert all(later > earlier for earlier, later in itertools.pairwise(rising))


def test_on_an_ideal_machine_hedging_never_loses_and_only_rollback_costs(found: RegimeMap) -> None:
    for cell in found.view("at-once", 0.0, helpers=False).cells:
        assert cell.over["pearl"].value >= 0.995
        assert cell.without["overheads"] == pytest.approx(1.0)
        assert cell.without["contention"] == pytest.approx(1.0)
        assert cell.without["rollback"] > 1.0


@pytest.mark.parametrize("slow", [1.0, 1.4])
@pytest.mark.parametrize("hand_over", [0.0, 0.005])
def test_overheads_and_contention_are_told_apart(slow: float, hand_over: float) -> None:
    made = artifacts.artifact(slow_downs=(slow, slow), drafts={"d": (0.7, 0.004)}, jitter=False)
    costly = tuple(
        c.model_copy(
            update={
                "hand_over": (hand_over,),
                "drafts": {name: d.model_copy(update={"fork": ()}) for name, d in c.drafts.items()},
            }
        )
        for c in made.costs.placements
    )
    made = replace(made, costs=made.costs.model_copy(update={"placements": costly}))
    mapped = regime_map(made, ratios=(8.0,), alignments=(0.7,), plain=PLAIN, helped=(), jobs=1)
    (cell,) = mapped.view("at-once", 0.0, helpers=False).cells
    assert (cell.without["overheads"] > 1.05) == (hand_over > 0.0)
    assert (cell.without["contention"] > 1.01) == (slow > 1.0)
    assert cell.without["overheads"] >= 1.0
    assert 1.0 <= cell.without["contention"] <= slow


def drawn() -> Artifact:
    return artifacts.artifact(drawn=True, tokens=30)


@pytest.fixture(scope="module")
def whole() -> RegimeMap:
    """With helpers and drawn texts."""
    return regime_map(drawn(), "cal", ratios=(1.5, 12.0), alignments=(0.5, 0.9), jobs=1)


def test_every_choice_has_a_view_with_every_cell(whole: RegimeMap) -> None:
    assert {v.key for v in whole.views} == set(
        itertools.product(("best", "at-once", "in-turn"), (0.0, 1.0), (False, True))
    )
    for view in whole.views:
        assert [(c.alignment, c.ratio) for c in view.cells] == list(
            itertools.product((0.5, 0.9), (1.5, 12.0))
        )
        for cell in view.cells:
            policies = {e.policy for e in cell.entries}
            assert policies >= {"autoregressive", "speculative", "pearl", "specbranch"}
            assert ("prompt-lookup" in policies) == view.helpers
            places = {e.configuration.placement for e in cell.entries}
            assert view.placement == "best" or places == {view.placement}


def test_entries_are_ranked_and_ties_are_those_whose_interval_holds_one(whole: RegimeMap) -> None:
    for cell in (c for v in whole.views for c in v.cells):
        speeds = [e.speed_up.value for e in cell.entries]
        assert speeds == sorted(speeds, reverse=True)
        baseline = cell.entry("autoregressive")
        assert baseline
        assert baseline.speed_up.value == 1.0
        assert cell.tied[0] == cell.winner.policy
        assert cell.lead.value >= 1.0
        assert cell.is_tie or cell.lead.low > 1.0
        assert (cell.entries[1].policy in cell.tied) == (not cell.lead.low > 1.0)


def test_helpers_never_make_the_best_worse(whole: RegimeMap) -> None:
    for placement, temperature in itertools.product(whole.placements, whole.temperatures):
        plain, helped = (whole.view(placement, temperature, helpers=h) for h in (False, True))
        for one, other in zip(plain.cells, helped.cells, strict=True):
            assert other.winner.speed_up.value >= one.winner.speed_up.value - 1e-4


def test_the_own_pair_lies_where_it_was_measured(whole: RegimeMap) -> None:
    made = drawn()
    assert [(o.draft, o.temperature) for o in whole.own] == list(
        (name, t) for t, name in itertools.product((0.0, 1.0), made.recorded.drafts)
    )
    for o in whole.own:
        assert o.ratio == pytest.approx(step_ratio(made, o.draft))
        drafted = [e for e in o.cell("best", False).entries if "draft" in e.configuration.uses]
        assert {e.configuration.draft for e in drafted} == {o.draft}
    assert set(whole.costs) == {"1.5", "12"}
    for ratio, (draft, itself) in whole.costs.items():
        assert itself == step_ratio(made, draft)
        distances = {
            name: abs(math.log(step_ratio(made, name) / float(ratio))) for name in made.recorded.drafts
        }
        assert distances[draft] == min(distances.values())


def test_an_own_cell_is_what_replaying_the_calibration_gives(whole: RegimeMap) -> None:
    """Nothing is shifted or scaled there."""
    made = drawn()
    world = Replay(made)
    for o in whole.own[: len(made.recorded.drafts)]:
        cell = o.cell("at-once", False)
        seconds = {e.policy: sum(t.seconds for t in world.tallies(e.configuration)) for e in cell.entries}
        for e in cell.entries:
            assert e.speed_up.value == pytest.approx(seconds["autoregressive"] / seconds[e.policy], rel=0.02)


@pytest.mark.parametrize(("times", "draft"), [(5.0, None), (5.0, "d"), (0.5, None), (0.5, "d")])
def test_a_cell_at_the_place_of_another_draft_is_that_drafts_own(times: float, draft: str | None) -> None:
    """What a hand-over weighs included: a draft so many times as dear, right where the first one is."""
    made = ideal()
    placed = []
    for costs in made.costs.placements:
        forward, branch = (flat(times * STEP, rows) for rows in ((1, 2, 16, 4096), (1, 2, 8)))
        dearer = costs.drafts["d"].model_copy(update={"forward": forward, "branch": branch})
        update = {"drafts": costs.drafts | {"e": dearer}, "hand_over": (0.001,)}
        placed.append(costs.model_copy(update=update))
    made = replace(
        made,
        costs=made.costs.model_copy(update={"placements": tuple(placed)}),
        recorded=made.recorded.model_copy(
            update={"drafts": made.recorded.drafts | {"e": made.recorded.drafts["d"]}}
        ),
        traces=tuple(replace(t, drafts={**t.drafts, "e": t.drafts["d"]}) for t in made.traces),
    )
    share = first_token_shares(made)["d"]
    found = regime_map(
        made, draft=draft, ratios=(10.0 / times,), alignments=(share,), plain=PLAIN, helped=(), jobs=1
    )
    (mine,) = [o.cell("best", False) for o in found.own if o.draft == "e"]
    (cell,) = found.view("best", 0.0, helpers=False).cells
    for policy in ("speculative", "pearl", "specbranch"):
        one, other = cell.entry(policy), mine.entry(policy)
        assert one
        assert other
        # By the first draft's costs a ratio above its own has a dearer target, beside which hand-overs weigh less.
        if times > 1.0 or draft is None:
            assert one.speed_up.value == pytest.approx(other.speed_up.value, rel=1e-3)
        else:
            assert one.speed_up.value >= other.speed_up.value


def test_processes_do_not_change_a_map(whole: RegimeMap) -> None:
    again = regime_map(drawn(), "cal", ratios=(1.5, 12.0), alignments=(0.5, 0.9), jobs=2)
    assert again.views == whole.views
    assert again.own == whole.own


def test_a_map_survives_its_json(whole: RegimeMap) -> None:
    assert RegimeMap.model_validate_json(whole.model_dump_json(exclude_defaults=True)) == whole


@settings(max_examples=15, deadline=None)
@given(
    speeds=st.lists(st.floats(0.05, 20.0), min_size=1, max_size=4),
    placement=st.sampled_from(["at-once", "in-turn"]),
)
def test_many_speeds_of_the_target_are_as_one_what_if_each(speeds: list[float], placement: str) -> None:
    made = _MADE
    world = Replay(made)
    c = PLAIN[1].configurations(("int4",), (placement,))[3]  # type: ignore[arg-type]
    for speed, tallies in zip(speeds, world.tallies_at(c, speeds), strict=True):
        expected = world.under(WhatIf(target_speed=speed)).tallies(c)
        assert [t.seconds for t in tallies] == pytest.approx([t.seconds for t in expected])
        assert [t[1:] for t in tallies] == [t[1:] for t in expected]


_MADE = artifacts.artifact()


def test_what_cannot_be_mapped_is_refused() -> None:
    made = artifacts.artifact()
    with pytest.raises(ConfigurationError, match="no draft 'mine'"):
        regime_map(made, draft="mine")
    none = replace(
        made,
        recorded=made.recorded.model_copy(update={"drafts": {}}),
        traces=tuple(replace(t, drafts={}) for t in made.traces),
    )
    with pytest.raises(CalibrationError, match="no draft to map"):
        regime_map(none)


def test_torch_stays_out() -> None:
    code = "import sys, sim.search.regime_map; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
