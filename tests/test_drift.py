"""The machine's pace, and a calibration at it."""

from dataclasses import replace

import numpy as np
import pytest
from artifacts import artifact, with_batches
from hypothesis import given
from hypothesis import strategies as st

from calibrate.artifact import Artifact
from calibrate.cost_records import PlacementCosts, Together, prompt_of, step_of
from calibrate.costs.drift import (
    INTERRUPTED,
    QUANTILES,
    TELLING,
    ContentionSample,
    Drift,
    PlacedModel,
    Timing,
    adjusted_for_drift,
    beyond_step,
    drifts,
)
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.models.specs import TARGET
from engine.runtime.placement import PLACEMENTS, Placement
from sim.world.replay import Replay

HERE = artifact(jitter=False)
PLACED = tuple(costs.placement for costs in HERE.costs.placements)


def everywhere(made: Artifact, by: dict[str, float]) -> tuple[Drift, ...]:
    """Every model's step, in every placement, taking so many times as long."""
    now = {}
    for costs in made.costs.placements:
        for model, factor in by.items():
            step = float(np.mean(step_of(costs, model).seconds))
            now[costs.placement, model] = [Timing(factor * step)] * 3
    return tuple(drifts(made.costs, now))


def seconds(made: Artifact, configuration: Configuration) -> float:
    return sum(run.seconds for run in Replay(made).runs(configuration))


def test_the_same_pace_changes_nothing() -> None:
    models = {TARGET: 1.0} | dict.fromkeys(HERE.recorded.drafts, 1.0)
    found = everywhere(HERE, models)
    assert [p.factor.value for p in found] == pytest.approx([1.0] * len(models) * len(PLACED))
    again = adjusted_for_drift(HERE, found)
    for placement in PLACED:
        alone = Configuration(policy="autoregressive", placement=placement)
        assert seconds(again, alone) == pytest.approx(seconds(HERE, alone))


@pytest.mark.parametrize("factor", [0.8, 1.3])
@pytest.mark.parametrize("policy", ["autoregressive", "speculative"])
def test_each_forward_takes_longer_by_what_a_step_does(policy: str, factor: float) -> None:
    """Be it of one token, of a line or of a prompt."""
    models = {TARGET: factor} | dict.fromkeys(HERE.recorded.drafts, factor)
    configuration = Configuration(policy=policy, placement="in-turn")
    costs = HERE.costs.at("in-turn")
    draft = next(iter(costs.drafts))
    step = {
        "target": np.median(step_of(costs, TARGET).seconds),
        "draft": np.median(step_of(costs, draft).seconds),
    }
    assert min(np.median(cell.seconds) for cell in costs.drafts[draft].branch) >= step["draft"]
    longer = sum(
        (factor - 1.0) * step[job.model] * job.forwards
        for run in Replay(HERE).runs(configuration)
        for job in run.jobs
    )
    found = seconds(adjusted_for_drift(HERE, everywhere(HERE, models)), configuration)
    assert found == pytest.approx(seconds(HERE, configuration) + longer)


def test_what_both_models_do_to_each_other_is_what_it_is_now() -> None:
    """Where neither slowed the other and now each takes three times as long, PEARL's rounds do too, and no others."""
    first = next(iter(HERE.recorded.drafts))
    calm, contention = (
        Together(
            target_tokens=1,
            branches=1,
            context=128,
            target_alone=(0.01,),
            target_together=(0.01 * times,),
            draft_alone=(0.002,),
            draft_together=(0.002 * times,),
        )
        for times in (1.0, 3.0)
    )

    def made(together: Together) -> Artifact:
        silent = [c.model_copy(update={"hand_over": (0.0,)}) for c in HERE.costs.placements]
        base = replace(HERE, costs=HERE.costs.model_copy(update={"placements": tuple(silent)}))
        return adjusted_for_drift(
            base, (), [ContentionSample(placement="at-once", draft=first, together=(together,))]
        )

    before, after = made(calm), made(contention)
    pearl = Configuration(policy="pearl", draft=first, draft_length=2, placement="at-once")
    ratio = seconds(after, pearl) / seconds(before, pearl)
    assert 1.5 < ratio <= 3.0  # what one model still does when the other is done is not slowed
    alone = Configuration(policy="speculative", draft=first, draft_length=2, placement="at-once")
    assert seconds(after, alone) == pytest.approx(seconds(before, alone))


def test_several_sequences_have_a_contention_of_their_own() -> None:
    """What was not timed again is as it was calibrated."""
    first = next(iter(HERE.recorded.drafts))
    before = with_batches(HERE)
    mine = before.costs.at("at-once").drafts[first]
    one, four = (
        mine.together[0].model_copy(
            update={
                "sequences": count,
                "target_tokens": count,
                "branches": count,
                "target_together": (0.5, 0.5),
            }
        )
        for count in (1, 4)
    )
    for found, expected in (
        ((one,), ((one,), mine.batched_together)),
        ((one, four), ((one,), (four,))),
        ((four,), (mine.together, (four,))),
    ):
        sample = ContentionSample(placement="at-once", draft=first, together=found)
        changed = adjusted_for_drift(before, (), [sample]).costs.at("at-once").drafts[first]
        assert (changed.together, changed.batched_together) == expected


def test_a_model_and_a_placement_change_on_their_own() -> None:
    first, *others = HERE.recorded.drafts
    pace = [p for p in everywhere(HERE, {first: 2.0}) if p.placement == "at-once"]
    changed = adjusted_for_drift(HERE, pace).costs
    for before, after in zip(HERE.costs.placements, changed.placements, strict=True):
        assert after.target == before.target
        assert [after.drafts[name] for name in others] == [before.drafts[name] for name in others]
        if before.placement != "at-once":
            assert after == before
            continue
        step = float(np.median(step_of(before, first).seconds))
        for operation in ("forward", "branch", "fork"):
            cells = (getattr(costs.drafts[first], operation) for costs in (before, after))
            for then, now in zip(*cells, strict=True):
                middle = np.median(then.seconds)
                assert now.seconds == pytest.approx([middle + min(step, middle)] * 3)
        assert after.drafts[first].together == before.drafts[first].together


def test_the_interval_holds_the_factor_as_often_as_it_says() -> None:
    """Of 1,000 drifts of 1.1, timed 12 times before and 40 times now: within 5 standard errors of 95%."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        made = Drift(
            placement="in-turn",
            model=TARGET,
            calibrated=tuple(rng.normal(1.0, 0.05, 12)),
            now=tuple(rng.normal(1.1, 0.1, 40)),
        )
        hits += made.factor.low <= 1.1 <= made.factor.high
    assert abs(hits / 1000 - 0.95) < 5 * (0.95 * 0.05 / 1000) ** 0.5


def test_a_disturbed_visit_counts_now_and_not_in_a_calibration() -> None:
    steady = (0.01,) * 9
    then = Drift(placement="in-turn", model=TARGET, calibrated=(*steady, 0.1), now=steady)
    now = Drift(placement="in-turn", model=TARGET, calibrated=steady, now=(*steady, 0.1))
    assert then.factor.value == pytest.approx(1.0)
    assert now.factor.value == pytest.approx(0.9 + 0.1 * INTERRUPTED)
    twice = Drift(placement="in-turn", model=TARGET, calibrated=steady, now=(*steady, 0.02))
    assert twice.factor.value == pytest.approx(1.1)


def test_an_interruption_hardly_moves_a_pace() -> None:
    """One of 32 ms among 35 timings of about 3 ms, as a machine of ours had it, whose runs' steps took 1.00 of them."""
    rng = np.random.default_rng(0)
    usual = tuple(rng.normal(0.003, 0.0002, 35))
    made = Drift(placement="in-turn", model=TARGET, calibrated=(0.003,) * 8, now=(*usual, 0.0323))
    assert made.factor.value == pytest.approx(np.mean(usual) / 0.003, rel=0.07)
    assert np.mean(made.longer) == pytest.approx(made.factor.value * 0.003 - 0.003, abs=1e-9)


@pytest.mark.parametrize("timings", [3, 64, 500])
def test_costs_vary_as_steps_do_now(timings: int) -> None:
    """In the mean they are the factor's, whether all timings are kept or quantiles of many."""
    now = tuple(np.random.default_rng(timings).lognormal(-4.0, 0.2, timings))
    made = Drift(placement="in-turn", model=TARGET, calibrated=(0.01, 0.02, 0.03), now=now)
    assert len(made.longer) == min(timings, QUANTILES)
    assert 1.0 + np.mean(made.longer) / made.step == pytest.approx(made.factor.value, rel=0.01)
    assert np.std(made.longer) == pytest.approx(np.std(now), rel=0.1)
    cell = adjusted_for_drift(HERE, [made]).costs.at("in-turn").target[0]
    middle = np.median(HERE.costs.at("in-turn").target[0].seconds)
    share = min(1.0, middle / made.step)
    assert cell.seconds == pytest.approx([middle + share * more for more in made.longer])


def test_one_timing_has_no_interval() -> None:
    made = Drift(placement="in-turn", model=TARGET, calibrated=(0.01,), now=(0.02, 0.02))
    assert made.factor.value == 2.0
    assert np.isnan(made.factor.low)


def beyond(costs: PlacementCosts, model: str) -> float:
    """What a calibrated prompt takes beyond a step, in seconds."""
    prompt = prompt_of(costs, model)
    assert prompt is not None
    return float(np.median(prompt.seconds) - np.median(step_of(costs, model).seconds))


def of_both(made: Artifact, step: float, rows: float) -> tuple[Drift, ...]:
    """Every model everywhere: its step so many times as long, and what a prompt takes beyond it."""
    now = {}
    for costs in made.costs.placements:
        for model in (TARGET, *costs.drafts):
            one = float(np.median(step_of(costs, model).seconds))
            now[costs.placement, model] = [Timing(step * one, step * one + rows * beyond(costs, model))] * 3
    return tuple(drifts(made.costs, now))


@given(step=st.floats(0.5, 3.0), rows=st.floats(0.2, 4.0))
def test_steps_and_further_rows_have_a_pace_each(step: float, rows: float) -> None:
    """What a forward takes beyond a step is so many times as dear, and its step takes so many times as long."""
    pace = of_both(HERE, step, rows)
    assert [one.dearer for one in pace] == pytest.approx([rows] * len(pace))
    changed = adjusted_for_drift(HERE, pace).costs
    for before, after in zip(HERE.costs.placements, changed.placements, strict=True):
        one = float(np.median(step_of(before, TARGET).seconds))
        for then, now in zip(before.target, after.target, strict=True):
            took = float(np.median(then.seconds))
            assert np.median(now.seconds) == pytest.approx(step * one + rows * (took - one))


def test_each_step_of_a_burst_is_one() -> None:
    assert beyond_step("burst", 4, 0.050, 0.010) == pytest.approx(0.010)
    assert beyond_step("branch", 4, 0.050, 0.010) == pytest.approx(0.040)
    assert beyond_step("draw", 1, 0.005, 0.010) == 0.0


def test_where_rows_cost_next_to_nothing_a_prompt_tells_nothing() -> None:
    """As on a device that has room left while weights come from memory: a ratio of two small differences is noise."""
    made = Drift(
        placement="in-turn",
        model=TARGET,
        calibrated=(0.010,),
        now=(0.011, 0.011),
        prompts_calibrated=(0.010 * (1.0 + 0.9 * TELLING),),
        prompts_now=(0.05, 0.05),
    )
    assert (made.rows, made.rows_factor) == (0.0, None)
    telling = made.model_copy(update={"prompts_calibrated": (0.020, 0.020)})
    assert telling.rows_factor is not None
    assert telling.rows_factor.value == pytest.approx(3.9)
    for absurd in ((), (0.010, 0.011)):  # not timed, or no longer than a step
        assert telling.model_copy(update={"prompts_now": absurd}).rows_factor is None


def test_cores_that_grow_slower_do_so_for_all_models() -> None:
    """Each model's ratio lies between its own and the others', and they differ less than their own do."""
    rng = np.random.default_rng(0)
    now: dict[PlacedModel, list[Timing]] = {}
    costs = HERE.costs.at("in-turn")
    for model in (TARGET, *costs.drafts):
        one = float(np.median(step_of(costs, model).seconds))
        rows = rng.normal(1.3, 0.4, 40) * beyond(costs, model)
        now["in-turn", model] = [Timing(one, one + more) for more in rows.tolist()]
    found = list(drifts(HERE.costs, now))
    own = np.array([factor.value for one in found if (factor := one.rows_factor)])
    shared = np.array([one.dearer for one in found])
    assert len(own) == len(shared) > 1
    assert np.ptp(shared) < np.ptp(own)
    assert own.min() <= shared.min() <= shared.max() <= own.max()


def test_other_steps_leave_what_rows_take() -> None:
    pace = of_both(HERE, 1.3, 1.7)[0]
    other = pace.at(2.0 * pace.counted)
    assert other.factor.value == pytest.approx(2.6)
    assert other.dearer == pytest.approx(1.7)
    assert pace.at(pace.counted, 1.5).dearer == pytest.approx(1.5 * 1.7)


def test_what_was_not_calibrated_has_no_pace() -> None:
    missing: Placement = next((p for p in PLACEMENTS if p not in PLACED), "threads")
    with pytest.raises(CalibrationError, match=missing):
        list(drifts(HERE.costs, {(missing, TARGET): [Timing(0.01)]}))
    with pytest.raises(CalibrationError, match="nobody"):
        list(drifts(HERE.costs, {(PLACED[0], "nobody"): [Timing(0.01)]}))
