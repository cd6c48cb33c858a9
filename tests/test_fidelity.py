"""The verdict on the predictions, by records whose right verdict is known."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau
from verifications import at_speeds, verification

from reports.verify.fidelity import (
    EXIT_CODES,
    judge,
    kendall_tau,
    ninth_in_ten,
)
from reports.verify.looks import Look, Looks
from reports.verify.steadiness import unsteadiness, waiting
from reports.verify.tolerance import Tolerance
from reports.verify.verdict_words import brief, course, sentence
from reports.verify.verification import Compared, Foretold, Verification, find_chosen

BASE = verification(prompts=8)
PLACE = BASE.compared.index(find_chosen(BASE.compared))
SPEEDS = tuple(10.0 * (i + 1) for i in range(len(BASE.compared)))


def record(
    measured: Sequence[float], predicted: Sequence[float], noise: float = 0.0, **changes: object
) -> Verification:
    """A record of these tokens/s on a steady machine (see `verifications.at_speeds`)."""

    def foresee(one: Compared, speed: float) -> Compared:
        side = one.predicted.model_copy(update={"speed": replace(one.predicted.speed, value=speed)})
        return one.model_copy(update={"predicted": side})

    v = at_speeds(BASE, measured, noise)
    steady = {"reference_seconds": (0.01, 0.01, 0.01), "compared": tuple(map(foresee, v.compared, predicted))}
    return v.model_copy(update={**steady, **changes})


def outcomes(v: Verification) -> dict[str, str]:
    return {c.name: c.outcome for c in judge(v, resamples=500).checks}


def best_first(chosen: int) -> list[float]:
    """The speeds with the fastest where the chosen one is."""
    return [*SPEEDS[:chosen], SPEEDS[-1] + 10.0, *SPEEDS[chosen + 1 :]]


def test_perfect_predictions_pass() -> None:
    speeds = best_first(PLACE)
    found = judge(record(speeds, speeds))
    assert (found.verdict, found.reasons) == ("PASS", ())
    assert set(outcomes(record(speeds, speeds)).values()) == {"held"}
    assert found.told_apart == found.in_order == len(speeds) * (len(speeds) - 1) // 2
    assert sentence(found).startswith("PASS: ")
    for judged, speed in zip(found.configurations, speeds, strict=True):
        assert (judged.speed.value, judged.speed.low, judged.speed.high) == pytest.approx((speed,) * 3)
        assert judged.error.value == pytest.approx(0.0)


@pytest.mark.parametrize(("off", "outcome"), [(0.04, "held"), (0.06, "broken"), (-0.06, "broken")])
def test_a_common_error_is_the_median_and_the_tail(off: float, outcome: str) -> None:
    speeds = best_first(PLACE)
    v = record(speeds, [(1.0 + off) * s for s in speeds])
    checks = {c.name: c for c in judge(v).checks}
    assert checks["median error"].outcome == outcome
    assert checks["median error"].figure.value == pytest.approx(abs(off))
    assert checks["nine in ten"].figure.high == pytest.approx(abs(off))
    assert checks["rank correlation"].outcome == "held"  # a common factor orders nothing anew
    assert judge(v).verdict == ("PASS" if outcome == "held" else "FAIL")


def test_a_shuffled_ranking_fails() -> None:
    speeds = best_first(PLACE)
    found = judge(record(speeds, speeds[::-1]))
    assert found.verdict == "FAIL"
    assert outcomes(record(speeds, speeds[::-1]))["rank correlation"] == "broken"
    assert found.in_order < found.told_apart


def test_a_slow_choice_is_regretted() -> None:
    speeds = list(SPEEDS)
    speeds[PLACE] = 30.0
    checks = {c.name: c for c in judge(record(speeds, speeds)).checks}
    assert checks["regret"].figure.value == pytest.approx(1.0 - 30.0 / max(speeds))
    assert checks["regret"].outcome == "broken"


def test_noise_over_prompts_leaves_it_open() -> None:
    speeds = best_first(PLACE)
    found = judge(record(speeds, speeds, noise=0.3))
    assert found.verdict == "TOO NOISY TO TELL"
    assert "median absolute error" in sentence(found)
    # A bound far beyond the noise is kept to nevertheless.
    wide = Tolerance(median_error=0.9, tail_error=0.9)
    assert judge(record(speeds, speeds, noise=0.3, tolerance=wide)).verdict == "PASS"


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "PASS"), (0.04, "PASS"), (0.06, "TOO NOISY TO TELL")])
def test_a_machine_whose_cores_others_have_decides_nothing(share: float, verdict: str) -> None:
    """By the share of the runs' time for which it is known; no record before version 9 knows it of any."""
    speeds = best_first(PLACE)
    v = record(speeds, speeds)
    assert waiting(v) == 0.0
    first, *others = v.compared
    waited = tuple(s.model_copy(update={"waited": share * s.run.seconds}) for s in first.samples)
    v = v.model_copy(update={"compared": (first.model_copy(update={"samples": waited}), *others)})
    assert waiting(v) == pytest.approx(share)
    found = judge(v)
    assert found.verdict == verdict
    assert found.reasons[:1] == () or found.reasons[0].startswith("for 6.0% of the runs' time threads waited")


def test_an_unsteady_machine_decides_nothing_but_a_mismatch_does() -> None:
    speeds = best_first(PLACE)
    unsteady = (0.01,) * 5 + (0.02,) * 5
    assert judge(record(speeds, speeds[::-1], reference_seconds=unsteady)).verdict == "TOO NOISY TO TELL"
    loose = Tolerance(unsteadiness=3.0)
    assert judge(record(speeds, speeds, reference_seconds=unsteady, tolerance=loose)).verdict == "PASS"
    v = record(speeds, speeds, reference_seconds=unsteady)
    wrong = v.compared[0].model_copy(update={"mismatches": 2})
    found = judge(v.model_copy(update={"compared": (wrong, *v.compared[1:])}))
    assert found.verdict == "FAIL"
    assert found.reasons[0].startswith("2 tokens differed")


def test_a_brief_verdict_names_what_it_hangs_on_and_a_whole_one_its_limits() -> None:
    speeds = best_first(PLACE)
    noisy = judge(record(speeds, speeds, noise=0.3))
    open_ones = [c.name for c in noisy.checks if c.outcome == "undecided"]
    assert open_ones
    assert brief(noisy).startswith("TOO NOISY TO TELL: 8 prompts leave open: ")
    assert all(name in brief(noisy) for name in open_ones)
    assert len(brief(noisy)) < len(sentence(noisy))
    turned = judge(record(speeds, speeds[::-1]))
    assert brief(turned).startswith("FAIL: beyond the bound on 8 prompts: ")
    assert "rank correlation" in brief(turned)
    held = judge(record(speeds, speeds))
    assert brief(held) == sentence(held)


def test_one_prompt_is_too_few() -> None:
    found = judge(verification(prompts=1))
    assert found.verdict == "TOO NOISY TO TELL"
    assert all(math.isnan(c.speed.low) for c in found.configurations)


def test_the_speed_up_is_the_records() -> None:
    for judged, one in zip(judge(BASE).configurations, BASE.compared, strict=True):
        assert judged.best_speed_up is not None
        assert judged.best_speed_up.value == pytest.approx(one.measured.best_speed_up.value)
        assert judged.speed.value == pytest.approx(one.measured.speed.value)


def test_every_verdict_has_a_code_of_its_own() -> None:
    assert EXIT_CODES == {"PASS": 0, "FAIL": 4, "TOO NOISY TO TELL": 3}


@given(arrays(float, 7, elements=st.integers(0, 5)), arrays(float, (3, 7), elements=st.integers(0, 5)))
def test_tau_is_scipys(predicted: np.ndarray, measured: np.ndarray) -> None:
    for mine, row in zip(kendall_tau(predicted, measured), measured, strict=True):
        assert mine == pytest.approx(kendalltau(predicted, row).statistic, nan_ok=True)


@given(arrays(float, 20, elements=st.floats(-1, 1)))
def test_nine_in_ten_lie_within(errors: np.ndarray) -> None:
    bound = float(ninth_in_ten(errors))
    assert (np.abs(errors) <= bound).sum() >= 18
    assert (np.abs(errors) < bound).sum() < 18


def test_unsteadiness() -> None:
    assert unsteadiness([0.5] * 9) == unsteadiness([]) == 1.0
    assert unsteadiness([1.0] * 5 + [2.0] * 5) == 2.0


def test_each_question_has_a_verdict_of_its_own() -> None:
    """Forecast 30% too fast, replays right: the forecast fails, and the model does not, nor the exit code."""

    def at(one: Compared, off: float) -> Foretold:
        runs = [s.run for s in one.samples]
        seconds = tuple(run.seconds / (1.0 + off) for run in runs)
        return Foretold(tokens=tuple(len(run.tokens) for run in runs), seconds=seconds)

    v = record(best_first(PLACE), best_first(PLACE))
    told = (c.model_copy(update={"forecast": at(c, 0.3), "replays": at(c, 0.0)}) for c in v.compared)
    found = judge(v.model_copy(update={"compared": tuple(told)}), resamples=500)
    assert (found.verdict, found.forecast.verdict) == ("PASS", "FAIL")
    assert sentence(found, "forecast").startswith("FAIL: the median absolute error of tokens/s is 30.0%")
    for now, then in zip(found.configurations, found.forecast.configurations, strict=True):
        assert (now.error.value, then.error.value) == pytest.approx((0.0, 0.3))


def test_what_is_open_says_what_would_decide_it() -> None:
    found = judge(record(best_first(PLACE), best_first(PLACE), noise=0.1), resamples=500)
    opened = [c for c in found.checks if c.outcome == "undecided"]
    assert opened
    assert all(re.search(r"some [\d,]+ prompts would decide it", c.needs) for c in opened)
    assert opened[0].needs in sentence(found)


def test_a_look_decides_for_good() -> None:
    """Whatever the last prompts say, and by the record's own plan."""
    names = ("median error", "nine in ten", "rank correlation", "regret")
    early = Look(
        prompts=4, spent=0.001, forecast=dict.fromkeys(names, "held"), model=dict.fromkeys(names, "held")
    )
    looks = Looks(planned=(4, 8), minutes=3.0, taken=(early,), ended="decided")
    found = judge(record(best_first(PLACE), best_first(PLACE)[::-1], looks=looks), resamples=500)
    assert (found.verdict, found.forecast.verdict) == ("PASS", "PASS")
    assert {c.prompts for c in found.checks if c.name in names} == {4}
    v = record(best_first(PLACE), best_first(PLACE), looks=looks)
    assert "every criterion was decided" in course(v)
