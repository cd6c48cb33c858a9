"""The schema of scenario files, and errors that name file, line, key and the nearest right key."""

import difflib
import itertools
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import ConfigurationError
from engine.policies.settings import Settings
from sim.costs import LinearCosts

Location = tuple[int | str, ...]


class Workload(BaseModel):
    """How much text is simulated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int = Field(default=60, ge=1)
    tokens: int = Field(default=128, ge=1, description="tokens written for each prompt")
    prompt_tokens: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)


class Acceptance(BaseModel):
    """The chance that the draft's first candidate is the target's token, independent between positions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    independent: float = Field(ge=0.0, le=1.0)


class Candidate(Settings):
    """A policy with its settings and where its models run."""

    placement: Literal["at-once", "in-turn"] = Field(
        default="at-once", description="a device for each model, or one device for both"
    )


class Scenario(BaseModel):
    """A what-if: stated costs and acceptance, and the configurations to compare."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    workload: Workload = Workload()
    acceptance: Acceptance
    costs: LinearCosts
    configurations: tuple[Candidate, ...] = Field(min_length=1)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario; lists of values in a configuration make a sweep. Raises ConfigurationError."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: a scenario is a mapping of keys, see scenarios/default.yaml")
    entries = data.get("configurations")
    origin: list[int] = []
    if isinstance(entries, list):
        expanded = []
        for index, entry in enumerate(entries):
            for variant in _product(entry):
                expanded.append(variant)
                origin.append(index)
        data = {**data, "configurations": expanded}
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        # An unknown key says more than the missing one it was meant to be.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        location: Location = first["loc"]
        if len(location) > 1 and location[0] == "configurations" and isinstance(location[1], int):
            location = (location[0], origin[location[1]], *location[2:])
        raise ConfigurationError(_explain(path, node, location, first["type"], first["msg"])) from error


def _product(entry: Any) -> list[Any]:
    if not isinstance(entry, dict):
        return [entry]
    values = [value if isinstance(value, list) else [value] for value in entry.values()]
    return [dict(zip(entry, combination, strict=True)) for combination in itertools.product(*values)]


def _explain(path: Path, node: Any, location: Location, kind: str, message: str) -> str:
    where = f"{path}:{_line(node, location)}: key '{'.'.join(map(str, location))}'"
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(str(location[-1]), _siblings(location), n=1)
        return f"{where} is unknown" + (f", did you mean '{nearest[0]}'?" if nearest else "")
    if kind == "missing":
        return f"{where} is missing"
    return f"{where}: {message[0].lower()}{message[1:]}"


def _siblings(location: Location) -> list[str]:
    model: type[BaseModel] = Scenario
    for part in location[:-1]:
        if part == "configurations":
            model = Candidate
        elif isinstance(part, str):
            annotation = model.model_fields[part].annotation
            assert isinstance(annotation, type)
            model = annotation
    return list(model.model_fields)


def _line(node: Any, location: Location) -> int:
    """The line of the deepest part of `location` that the file has."""
    line = int(node.start_mark.line) + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
