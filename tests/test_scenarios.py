"""Scenario files: the shipped ones run, and a wrong one is named by file, line, key and nearest key."""

from pathlib import Path

import pytest

from engine.errors import ConfigurationError
from scenarios.schema import load_scenario
from sim.run import run_scenario

SHIPPED = sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml"))
GOOD = """\
title: t
acceptance: {independent: 0.5}
costs:
  draft_step_ms: 1
  target_forward_ms: 4
configurations:
  - policy: pearl
    draft_length: [2, 3]
"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_run(path: Path) -> None:
    scenario = load_scenario(path)
    outcomes = list(run_scenario(scenario))
    assert len(outcomes) == len(scenario.configurations)
    for outcome in outcomes:
        assert outcome.metrics.tokens == scenario.workload.prompts * scenario.workload.tokens
        assert outcome.speed_up_low <= outcome.speed_up <= outcome.speed_up_high


def test_autoregressive_has_speed_up_one(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GOOD.replace("pearl", "autoregressive"))
    assert [o.speed_up for o in run_scenario(load_scenario(file))] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("draft_step_ms", "draft_step_mss", 4, "did you mean 'draft_step_ms'?"),
        ("draft_length", "draft_lenght", 8, "did you mean 'draft_length'?"),
        ("[2, 3]", "[2, 0]", 8, "greater than or equal to 1"),
        ("title: t\n", "", 1, "'title' is missing"),
        ("title: t", "titel: t", 1, "did you mean 'title'?"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)


def test_not_yaml(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("a: [")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load_scenario(file)
