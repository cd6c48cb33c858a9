"""Comparing records: nothing differs from itself, the other way round is the inverse, and conditions are named."""

from dataclasses import replace
from math import isnan

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from verifications import verification

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import measure
from engine.naming import in_words
from reports.compare.pairing import Comparison, compare
from reports.verify.verification import Compared, Sample, Verification


def made(seed: int = 5, prompts: int = 4, draft_cost: float = 1.0) -> Verification:
    return verification(
        seed=seed, prompts=prompts, draft_cost=draft_cost, tokens=16, lengths=(2,), branches=(1,)
    )


def pair(a: Verification, b: Verification) -> Comparison:
    (found,) = compare([a, b], ["a", "b"])
    return found


records = st.builds(made, st.integers(0, 5), st.integers(2, 5), st.sampled_from([0.5, 1.0, 3.0]))


@effort(max_examples=15, deadline=None)
@given(records)
def test_a_record_does_not_differ_from_itself(v: Verification) -> None:
    found = pair(v, v)
    assert found.differences == ()
    assert found.only == ((), ())
    assert len(found.rows) == len(v.compared)
    for row in found.rows:
        assert (row.ratio.low, row.ratio.value, row.ratio.high) == (1.0, 1.0, 1.0)
        assert (row.rollback.low, row.rollback.value, row.rollback.high) == (0.0, 0.0, 0.0)
        assert row.first == row.second


@effort(max_examples=15, deadline=None)
@given(records, records)
def test_the_other_way_round_is_the_inverse(a: Verification, b: Verification) -> None:
    there, back = pair(a, b), pair(b, a)
    assert there.only == back.only[::-1]
    for row, other in zip(there.rows, back.rows, strict=True):
        assert (row.first, row.second) == (other.second, other.first)
        inverse = [1.0 / x for x in (other.ratio.high, other.ratio.value, other.ratio.low)]
        assert [row.ratio.low, row.ratio.value, row.ratio.high] == pytest.approx(inverse)
        negated = [-x for x in (other.rollback.high, other.rollback.value, other.rollback.low)]
        assert [row.rollback.low, row.rollback.value, row.rollback.high] == pytest.approx(negated)
    said = {(d.condition, d.first, d.second) for d in there.differences}
    assert said == {(d.condition, d.second, d.first) for d in back.differences}


def scaled(v: Verification, factor: float) -> Verification:
    """The same runs, `factor` times as slow."""

    def slower(sample: Sample) -> Sample:
        return sample.model_copy(update={"run": replace(sample.run, seconds=factor * sample.run.seconds)})

    compared = tuple(c.model_copy(update={"samples": tuple(map(slower, c.samples))}) for c in v.compared)
    return v.model_copy(update={"compared": compared})


@given(st.floats(0.2, 5.0))
def test_what_is_slower_by_one_factor_everywhere_has_no_spread(factor: float) -> None:
    for row in pair(RECORD, scaled(RECORD, factor)).rows:
        assert [row.ratio.low, row.ratio.value, row.ratio.high] == pytest.approx([1 / factor] * 3)


RECORD = made()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Over made-up records whose true ratio is known, 95% within the bounds of 4 standard errors of 400 trials."""
    rng = np.random.default_rng(3)
    (one,) = [c for c in made(prompts=12).compared if c.configuration.policy == "pearl"]
    base = made(prompts=12).model_copy(update={"compared": (one,)})
    held = 0
    for _ in range(400):

        def noisy(sample: Sample) -> Sample:
            seconds = sample.run.seconds * float(rng.lognormal(0.0, 0.1))
            return sample.model_copy(update={"run": replace(sample.run, seconds=seconds)})

        other = one.model_copy(update={"samples": tuple(map(noisy, one.samples))})
        ratio = pair(base, base.model_copy(update={"compared": (other,)})).rows[0].ratio
        # E[seconds] is exp(0.1^2 / 2) times as much.
        held += ratio.low <= float(np.exp(-0.005)) <= ratio.high
    # 12 prompts and a normal quantile: a little under 95%.
    assert 0.86 <= held / 400 <= 0.99


def test_figures_are_those_of_the_shared_prompts() -> None:
    a, b = made(prompts=5), made(prompts=3)  # the first three prompts are the same, though not their texts
    found = pair(a, b)
    assert found.prompts == 3
    for row, one in zip(found.rows, a.compared, strict=True):
        runs = measure([s.run for s in one.samples if s.prompt < 3])
        assert row.first.tokens_per_second == pytest.approx(runs.tokens_per_second)
        assert row.first.rollback_rate == pytest.approx(runs.rollback_rate)
        assert row.rollback.value == pytest.approx(row.second.rollback_rate - row.first.rollback_rate)
    (prompts,) = [d for d in found.differences if d.condition == "prompts"]
    assert (prompts.first, prompts.second) == ("5, 3 in common", "3, 3 in common")


def test_one_shared_prompt_has_no_interval() -> None:
    v = made()
    alone = v.model_copy(
        update={
            "prompts": (
                v.prompts[0],
                *(p.model_copy(update={"digest": "x" + p.digest}) for p in v.prompts[1:]),
            )
        }
    )
    for row in pair(v, alone).rows:
        assert row.ratio.value == 1.0
        assert isnan(row.ratio.low)
        assert isnan(row.rollback.high)


@pytest.mark.parametrize(
    ("change", "condition", "first", "second"),
    [
        ({"hardware": {**RECORD.hardware, "cores": "64"}}, "hardware cores", "2", "64"),
        ({"software": {**RECORD.software, "numpy": "9"}}, "software numpy", "none", "9"),
        (
            {"models": {**RECORD.models, "tiny": "synthetic draft sha256 ab"}},
            "weights of tiny",
            RECORD.models["tiny"].split("sha256 ")[1],
            "ab",
        ),
        (
            {
                "models": {
                    **RECORD.models,
                    "target": "x, float32; " + RECORD.models["target"].split("</script> ")[1],
                }
            },
            "source and precision of target",
            "synthetic target </script>",
            "x, float32",
        ),
        ({"max_tokens": 17}, "tokens of text, at most", "16", "17"),
        ({"repeats": 2}, "repeats", "1", "2"),
        ({"calibration_digest": "d" * 64}, "calibration", "c" * 64, "d" * 64),
        ({"other_hardware": True}, "calibrated on other hardware", "no", "yes"),
        ({"seed": 6}, "seed", "5", "6"),
        ({"tie": 0.5}, "largest numeric tie", "0.125", "0.5"),
        ({"reference_seconds": ()}, "reference operation", None, "none"),
        ({"reference_seconds": (0.0040,)}, "reference operation", None, "4.00 ms in the median of 1"),
    ],
)
def test_each_condition_is_named_with_both_values(
    change: dict[str, object], condition: str, first: str | None, second: str
) -> None:
    (found,) = pair(RECORD, RECORD.model_copy(update=change)).differences
    assert (found.condition, found.second) == (condition, second)
    assert first is None or found.first == first
    assert found.first in found.sentence
    assert found.second in found.sentence


def test_a_steady_machine_is_no_difference() -> None:
    v = RECORD.model_copy(update={"reference_seconds": (0.0100,)})
    assert pair(v, v.model_copy(update={"reference_seconds": (0.0102,)})).differences == ()
    assert pair(v, v.model_copy(update={"reference_seconds": (0.0104,)})).differences != ()


def only(v: Verification, *places: int) -> Verification:
    return v.model_copy(update={"compared": tuple(v.compared[i] for i in places)})


def test_configurations_that_one_record_lacks_are_listed() -> None:
    found = pair(only(RECORD, 0, 2, 3), only(RECORD, 3, 4))
    assert [row.configuration for row in found.rows] == [RECORD.compared[3].configuration]
    labels = [in_words(c.configuration) for c in RECORD.compared]
    assert found.only == ((labels[0], labels[2]), (labels[4],))


def test_what_a_policy_does_not_use_makes_no_other_configuration() -> None:
    def alone(length: int) -> Compared:
        changed = Configuration(policy="autoregressive", draft_length=length)
        return RECORD.compared[0].model_copy(update={"configuration": changed})

    a, b = (RECORD.model_copy(update={"compared": (alone(n),)}) for n in (2, 9))
    assert len(pair(a, b).rows) == 1


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(ConfigurationError, match="two records"):
        compare([RECORD], ["a"])
    with pytest.raises(ConfigurationError, match="no configuration in common"):
        pair(only(RECORD, 0), only(RECORD, 1))
    others = tuple(p.model_copy(update={"digest": "x" + p.digest}) for p in RECORD.prompts)
    with pytest.raises(ConfigurationError, match="no prompt in common"):
        pair(RECORD, RECORD.model_copy(update={"prompts": others}))


def test_each_further_record_is_set_against_the_first() -> None:
    found = compare([RECORD, scaled(RECORD, 2.0), scaled(RECORD, 4.0)], ["a", "b", "c"])
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c")]
    assert [one.rows[0].ratio.value for one in found] == pytest.approx([0.5, 0.25])
    assert Comparison.model_validate_json(found[0].model_dump_json()) == found[0]
