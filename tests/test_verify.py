"""What `verify` says of the machine, and which configurations it runs."""

from pathlib import Path

from engine.configuration import Configuration
from reports.verify import _drift, configurations
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
