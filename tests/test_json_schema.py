"""The schema for editors: the shipped file is the models', and it takes what scenarios may hold and nothing else."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from engine.errors import ConfigurationError
from scenarios.json_schema import SHIPPED, scenario_schema, schema_text
from scenarios.schema import load_scenario

EXAMPLES = sorted(SHIPPED.parent.glob("*.yaml"))
GOOD: dict[str, Any] = {
    "title": "t",
    "acceptance": {"independent": 0.5},
    "costs": {"draft_step_ms": 1, "target_forward_ms": 4},
    "what_if": [{"draft_speed": [1, 2], "link": {"latency_ms": [1, 5], "megabits_per_second": 10}}],
    "configurations": [{"policy": ["pearl", "specbranch"], "draft_length": 4}],
}


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(scenario_schema())


def test_the_shipped_schema_is_that_of_the_models() -> None:
    assert SHIPPED.read_text() == schema_text(), (
        "write it anew: specbranch schema > scenarios/scenario.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(SHIPPED.read_text()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_shipped_scenarios_name_it_and_keep_to_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=scenario.schema.json\n")
    validator().validate(yaml.safe_load(text))


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    scenario = copy.deepcopy(GOOD)
    change(scenario)
    return scenario


@pytest.mark.parametrize(
    ("good", "change"),
    [
        (True, lambda s: None),
        (True, lambda s: s.update(configurations={"policy": "pearl", "branches": [1, 2]})),
        (True, lambda s: s.update(what_if={"link": [None, {"latency_ms": 1, "megabits_per_second": 10}]})),
        (False, lambda s: s.update(what_if={"link": [{"latency_ms": [1, 2], "megabits_per_second": 10}]})),
        (False, lambda s: s["costs"].update(draft_step_ms=[1, 2])),
        (False, lambda s: s["configurations"][0].update(draft_length=[4, 0])),
        (False, lambda s: s["configurations"][0].update(draft_lenght=4)),
        (False, lambda s: s["configurations"][0].update(policy="perl")),
        (False, lambda s: s["what_if"][0].update(alignment=[0.5, 1.5])),
        (False, lambda s: s.pop("title")),
        (False, lambda s: s.update(configurations=[])),
    ],
)
def test_editor_and_program_agree(
    tmp_path: Path, good: bool, change: Callable[[dict[str, Any]], None]
) -> None:
    scenario = changed(change)
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(scenario))
    assert validator().is_valid(scenario) is good
    if good:
        assert load_scenario(file).title == "t"
    else:
        with pytest.raises(ConfigurationError):
            load_scenario(file)
