"""The schema of scenario files: what-ifs over a calibration, or over stated costs and acceptance."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.policies import load_policy
from scenarios.files import Location, YamlFile, misplaced, product
from sim.costs import LinearCosts
from sim.what_if import WhatIf

SWEEPS = ("configurations", "what_if")


class Workload(BaseModel):
    """How much text is simulated; of a calibration all of it, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int | None = Field(default=None, ge=1, description="none: all of a calibration's, or 60")
    tokens: int | None = Field(default=None, ge=1, description="for each prompt; none: whole texts, or 128")
    prompt_tokens: int = Field(default=1, ge=1, description="for stated costs; a calibration has its own")
    seed: int = Field(default=0, ge=0)


class Acceptance(BaseModel):
    """The chance that the draft's first candidate is the target's token, independent between positions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    independent: float = Field(ge=0.0, le=1.0)


class Scenario(BaseModel):
    """The configurations to compare, under each what-if.

    Either `acceptance` and `costs` are stated, or a `calibration` is replayed: this one or, if none is named,
    the one that `scenarios.calibrations.find_calibration` finds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    calibration: Path | None = None
    acceptance: Acceptance | None = None
    costs: LinearCosts | None = None
    workload: Workload = Workload()
    what_if: tuple[WhatIf, ...] = Field(default=(WhatIf(),), min_length=1)
    configurations: tuple[Configuration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> "Scenario":
        stated = {"acceptance": self.acceptance, "costs": self.costs}
        missing = [key for key, value in stated.items() if value is None]
        if len(missing) == 1:
            other = next(key for key in stated if key not in missing)
            raise misplaced(
                (other,), f"needs '{missing[0]}' beside it; without both a calibration is replayed"
            )
        if missing:
            return self
        if self.calibration is not None:
            raise misplaced(
                ("calibration",), "does not go with stated 'acceptance' and 'costs'; drop one or the other"
            )
        for index, what_if in enumerate(self.what_if):
            if what_if.alignment is not None:
                raise misplaced(
                    ("what_if", index, "alignment"), "shifts a calibration; here state 'acceptance'"
                )
        for index, configuration in enumerate(self.configurations):
            if configuration.draft is not None:
                raise misplaced(
                    ("configurations", index, "draft"), "stated costs are of one draft without a name"
                )
        return self

    @property
    def stated(self) -> tuple[Acceptance, LinearCosts] | None:
        """The stated acceptance and costs; None if a calibration is replayed."""
        return None if self.acceptance is None or self.costs is None else (self.acceptance, self.costs)

    @property
    def outcomes(self) -> int:
        """How many outcomes the scenario has."""
        return len(self.what_if) * len(self.configurations)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario; lists of values in a configuration or a what-if make a sweep. Raises ConfigurationError."""
    file = YamlFile.read(path, "a scenario")
    data = dict(file.data)
    origins: dict[str, list[int]] = {}
    for key in SWEEPS:
        if key in data:
            data[key], origins[key] = _sweep(data[key])

    def origin(place: Location) -> Location:
        """Where an expanded entry was written; one what-if may stand without a list."""
        if len(place) < 2 or place[0] not in origins or not isinstance(place[1], int):
            return place
        if not isinstance(file.data[place[0]], list):
            return place[0], *place[2:]
        return place[0], origins[place[0]][place[1]], *place[2:]

    scenario = file.validate(Scenario, data, origin)
    for index, configuration in enumerate(scenario.configurations):
        try:
            load_policy(configuration.policy)
        except ConfigurationError as error:
            raise file.error(origin(("configurations", index, "policy")), f": {error}") from error
    if scenario.calibration is not None:
        scenario = scenario.model_copy(update={"calibration": path.parent / scenario.calibration})
    return scenario


def _sweep(entries: Any) -> tuple[Any, list[int]]:
    """All variants of a list of mappings, or of a single one, and the entry that each comes from."""
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        return entries, []
    variants = [(variant, index) for index, entry in enumerate(entries) for variant in product(entry)]
    return [variant for variant, _ in variants], [index for _, index in variants]
