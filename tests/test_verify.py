"""What `verify` says of the machine, and which configurations it runs."""

from dataclasses import replace
from pathlib import Path

import pytest
from verifications import verification

from calibrate.prompts import Prompt
from engine.configuration import Configuration
from reports.tolerance import Tolerance
from reports.verification import Settling
from reports.verify import Plan, _drift, configurations, is_verified
from scenarios.tuned import TunedConfiguration

CHOSEN = Configuration(policy="pearl", draft="int8")
ALONE = Configuration(policy="autoregressive")


def test_every_configuration_is_run_once_and_the_chosen_one_stays_so() -> None:
    tuned = TunedConfiguration(
        calibration=Path("c"),
        calibration_digest="d",
        searched=3,
        advice="a",
        chosen=CHOSEN,
        baselines=(ALONE, CHOSEN),
        others=(ALONE,),
    )
    assert configurations(tuned) == [(CHOSEN, "chosen"), (ALONE, "baseline")]


def test_a_drift_is_told_with_its_size_and_direction() -> None:
    assert _drift([1.0, 1.0, 9.0], [1.02, 1.0]) == []
    (slower,) = _drift([0.010, 0.010], [0.011, 0.011, 0.050])
    assert "10% slower" in slower
    assert "median of 3" in slower
    assert "20% faster" in _drift([0.010], [0.008])[0]
    assert _drift([], [1.0]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 1},
        {"seed": 9},
        {
            "tolerance": Tolerance(regret=0.5)
        },  # a bound is fixed before a run, and never fitted to one that is there
        {"settling": Settling(well="a", poor="b", alignment={})},
    ],
)
def test_a_record_stands_for_its_own_plan_alone(changes: dict[str, object]) -> None:
    made = verification()
    ranked = sorted(made.compared, key=lambda c: ("chosen", "baseline", "other").index(c.role))
    record = made.model_copy(update={"compared": tuple(ranked)})
    by_role = {
        role: tuple(c.configuration for c in ranked if c.role == role)
        for role in ("chosen", "baseline", "other")
    }
    tuned = TunedConfiguration(
        calibration=Path("c"),
        calibration_digest=made.calibration_digest,
        searched=1,
        advice="a",
        chosen=by_role["chosen"][0],
        baselines=by_role["baseline"],
        others=by_role["other"],
    )
    prompts = [Prompt(p.id, p.kind, "heldout", p.id) for p in made.prompts]
    written = zip(made.prompts, prompts, strict=True)
    record = record.model_copy(
        update={"prompts": tuple(p.model_copy(update={"digest": q.digest}) for p, q in written)}
    )
    plan = Plan(made.max_tokens, made.repeats, made.seed)
    assert is_verified(record, tuned, prompts, plan)
    assert not is_verified(record, tuned, prompts, replace(plan, **changes))  # type: ignore[arg-type]
    assert not is_verified(record, tuned, prompts[1:], plan)
