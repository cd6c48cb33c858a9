"""The JSON Schema of scenario files, for editors: that of the models, with a list wherever a sweep may stand."""

import copy
import json
from pathlib import Path
from typing import Any

from engine.policies import policy_names
from scenarios.hardware_files import WHOLE
from scenarios.schema import ARRIVALS, SWEEPS, Scenario
from scenarios.served import ScenarioWorkload

SHIPPED = Path(__file__).parent / "scenario.schema.json"
MANY = "Many"  # ends the name of a definition whose values may be lists

Node = dict[str, Any]


def scenario_schema() -> Node:
    """JSON Schema, draft 2020-12.

    In a configuration, a what-if, hardware, batching or a workload's arrivals each value may be a list of values, and
    so may each value of a mapping inside; they themselves may be one mapping or a list.
    """
    schema = Scenario.model_json_schema()
    definitions: Node = schema.pop("$defs")
    definitions["Configuration"]["properties"]["policy"]["enum"] = list(policy_names())
    for key in SWEEPS:
        _sweep(schema["properties"][key], definitions)
    _sweep(definitions[ScenarioWorkload.__name__]["properties"][ARRIVALS[-1]], definitions)
    properties = schema["properties"]
    properties["hardware"] = _value_or_list(properties["hardware"], definitions)
    used = _reached(schema, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": {name: definitions[name] for name in sorted(used)},
    }


def schema_text() -> str:
    """The schema as the shipped file has it."""
    return json.dumps(scenario_schema(), indent=2) + "\n"


def _sweep(entry: Node, definitions: Node) -> None:
    """Let one mapping, or a list of them, stand for all choices from the lists inside."""
    swept = _many(entry["items"], definitions)
    for array in ("type", "items", "minItems"):
        entry.pop(array, None)
    entry["anyOf"] = [swept, {"type": "array", "items": swept, "minItems": 1}]


def _many(node: Node, definitions: Node) -> Node:
    """A reference to a definition, made one whose values may be lists."""
    name = _name(node["$ref"])
    if name + MANY not in definitions:
        swept = definitions[name + MANY] = copy.deepcopy(definitions[name])
        for key, value in swept["properties"].items():
            swept["properties"][key] = _value_or_list(value, definitions, deep=key not in WHOLE)
    return {**node, "$ref": node["$ref"] + MANY}


def _value_or_list(value: Node, definitions: Node, deep: bool = True) -> Node:
    """One value or, of values that are whole, a list; a mapping may, if `deep`, have lists inside instead."""
    about: Node = {key: value[key] for key in ("title", "description", "default") if key in value}
    bare = {key: part for key, part in value.items() if key not in about}
    choices = bare["anyOf"] if set(bare) == {"anyOf"} else [bare]
    one = [_many(choice, definitions) if deep and "$ref" in choice else choice for choice in choices]
    return {**about, "anyOf": [*one, {"type": "array", "items": bare, "minItems": 1}]}


def _reached(node: Any, definitions: Node) -> set[str]:
    """The definitions that a node refers to, in itself or through others."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
            name = _name(part.get("$ref", ""))
            if name and name not in found:
                found.add(name)
                waiting.append(definitions[name])
    return found


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
