"""Points on the map: what a verification's record says of a pair's place, and of its measured and predicted ratios."""

from dataclasses import replace

import numpy as np
import pytest
from verifications import Costs, artifact, at_speeds, verification

from calibrate.traces.acceptance_statistics import first_token_shares
from reports.map.evidence_charts import predicted_ratios
from reports.map.regime_points import points_of
from reports.verify.verification import find_baseline
from sim.search.grid import has_helpers

NAMES = [name for name, _, _ in Costs().draft]


def test_each_draft_is_a_point() -> None:
    v = verification(settling=True)
    found = points_of(v, record="there.json")
    assert [p.draft for p in found] == NAMES
    for p in found:
        mine = [c for c in v.compared if c.configuration.draft == p.draft]
        assert {c.policy for c, _ in p.ranking} == {"autoregressive", *(c.configuration.policy for c in mine)}
        assert (p.record, p.prompts, p.helpers) == ("there.json", len(v.prompts), False)


def test_speeds_are_those_that_were_measured() -> None:
    """On texts of equal length, each configuration at a speed of its own, ratios are those of the speeds."""
    v = verification(settling=True)
    speeds = [20.0, 25.0, 40.0, 44.0, 50.0, 30.0, 60.0, 45.0]
    v = at_speeds(v, speeds)
    by_label = {c.configuration.label(): s for c, s in zip(v.compared, speeds, strict=True)}
    for p in points_of(v):
        assert [by_label[c.label()] for c, _ in p.ranking] == sorted(
            (by_label[c.label()] for c, _ in p.ranking), reverse=True
        )
        for c, gain in p.ranking:
            assert gain.value == pytest.approx(by_label[c.label()] / 25.0)
        for r in p.ratios:
            assert r.measured.value == pytest.approx(by_label[r.method.label()] / by_label[r.rival.label()])
            assert r.measured.low <= r.measured.value <= r.measured.high
        assert not p.is_tie
    first, second = points_of(v)
    assert (first.winner.policy, second.winner.policy) == ("specbranch", "speculative")


def test_predictions_are_the_records_own() -> None:
    v = verification(settling=True)
    by_label = {c.configuration.label(): c for c in v.compared}
    baseline = find_baseline(v.compared)
    assert baseline
    for p in points_of(v):
        for r in p.ratios:
            one, rival = by_label[r.method.label()], by_label[r.rival.label()]
            assert r.predicted == pytest.approx(one.predicted.speed.value / rival.predicted.speed.value)
            assert r.error == pytest.approx(r.predicted / r.measured.value - 1.0)
        over = {(r.method.policy, r.rival.policy) for r in p.ratios}
        assert {("specbranch", "pearl"), ("specbranch", "speculative"), ("pearl", "autoregressive")} <= over


def test_a_method_counts_with_its_predicted_best_and_not_with_its_measured_one() -> None:
    v = verification()
    (place,) = [i for i, c in enumerate(v.compared) if c.configuration.policy == "pearl"]
    pearl = v.compared[place]
    worse = pearl.predicted.model_copy(update={"speed": replace(pearl.predicted.speed, value=1.0)})
    longer = pearl.configuration.model_copy(update={"draft_length": 9})
    lucky = pearl.model_copy(update={"configuration": longer, "predicted": worse})
    v = v.model_copy(update={"compared": (*v.compared, lucky)})
    v = at_speeds(v, [*(10.0,) * (len(v.compared) - 1), 99.0])
    point = points_of(v)[0]
    assert all(c.draft_length != 9 for c, _ in point.ranking)


def test_the_ratio_is_that_of_the_steps_timed_between_the_runs() -> None:
    v = verification()
    found = points_of(v)[0]
    now = {p.model: p.now for p in v.pace if p.placement == "at-once"}
    assert found.ratio.value == pytest.approx(np.mean(now["target"]) / np.mean(now[NAMES[0]]))
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    slower = tuple(
        p.model_copy(update={"now": tuple(7.0 * s for s in p.now)}) if p.model == "target" else p
        for p in v.pace
    )
    assert points_of(v.model_copy(update={"pace": slower}))[0].ratio.value == pytest.approx(
        7.0 * found.ratio.value
    )


def test_points_of_an_unsteady_machine_are_known_as_such() -> None:
    v = verification()
    assert not any(p.unsteady for p in points_of(v))
    shaken = v.model_copy(update={"reference_seconds": (0.003, 0.004) * 12})
    assert all(p.unsteady for p in points_of(shaken))


def test_without_timed_steps_the_ratio_comes_from_the_jobs() -> None:
    v = verification().model_copy(update={"pace": ()})
    found = points_of(v)[0]
    assert "jobs" in found.ratio_from
    costs = Costs()
    # At once and in turn together, so within the difference of the two.
    assert found.ratio.value == pytest.approx(costs.target / costs.draft[0][1], rel=0.3)


def test_alignment_is_that_of_the_measured_texts_or_of_what_was_accepted() -> None:
    v, replay = verification(prompts=12, tokens=80), artifact()
    for p in points_of(v, replay):
        assert p.alignment.value == pytest.approx(first_token_shares(replay)[p.draft])
        assert p.alignment_from == "the measured texts"
    chances = {name: chance for name, _, chance in Costs().draft}
    for p in points_of(v):
        assert p.alignment.low - 0.05 <= chances[p.draft] <= p.alignment.high + 0.05
        assert "accepted" in p.alignment_from


def test_settings_with_helpers_make_another_point() -> None:
    v = verification()
    helped = [
        c.model_copy(
            update={"configuration": c.configuration.model_copy(update={"guesses": 2, "draft_length": 5})}
        )
        for c in v.compared
        if c.configuration.policy == "speculative"
    ]
    assert all(has_helpers(c.configuration) for c in helped)
    assert not any(has_helpers(c.configuration) for c in v.compared)
    found = points_of(v.model_copy(update={"compared": (*v.compared, *helped)}))
    assert [(p.draft, p.helpers) for p in found] == [(NAMES[0], False), (NAMES[0], True), (NAMES[1], False)]


def test_every_method_has_its_name_in_the_legend() -> None:
    (first, *_) = points_of(verification())
    (ratio, *_) = first.ratios
    named = {"adaedl": "AdaEDL", "tree": "A static token tree", "pearl": "PEARL"}
    ratios = tuple(
        ratio.model_copy(update={"method": ratio.method.model_copy(update={"policy": policy})})
        for policy in named
    )
    legend = [
        trace.get("name") for trace in predicted_ratios([first.model_copy(update={"ratios": ratios})])["data"]
    ]
    assert legend[1:] == [f"{name} over Autoregressive" for name in named.values()]
