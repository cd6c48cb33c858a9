"""The schema of scenario files: what-ifs over a calibration or stated acceptance, with measured or other costs."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from calibrate.file_kinds import SCENARIO, reading
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.policies import load_policy, policy_names
from engine.runtime.workload import Arrivals, Drawn
from scenarios.files import Location, YamlFile, misplaced, product
from scenarios.hardware_files import alternatives, resolve_names
from scenarios.served import Batching, ScenarioWorkload
from scenarios.stated import Acceptance, LinearCosts
from scenarios.stated_hardware import Hardware
from scenarios.what_if import WhatIf

SWEEPS = ("configurations", "what_if", "batching")
ARRIVALS = ("workload", "arrivals")  # may be a sweep, too


class Scenario(BaseModel):
    """The configurations to compare, under each what-if.

    Either `acceptance` is stated, with `costs` or `hardware`, or a `calibration` is replayed, with its own times, those
    of another one (`costs_from`) or those of other `hardware`: this one or, if none is named, the one that
    `scenarios.calibrations.find_calibration` finds. Where requests arrive (`workload.arrivals`), they are served
    together by each `batching`; what their forwards cost is measured (`calibrate --batches`), or stated, also where the
    texts are a calibration's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    calibration: Path | None = None
    costs_from: Path | None = Field(
        default=None, description="another calibration's folder, whose costs take the place of its own"
    )
    acceptance: Acceptance | None = None
    costs: LinearCosts | None = None
    hardware: Hardware | None = None
    workload: ScenarioWorkload = ScenarioWorkload()
    batching: tuple[Batching, ...] = Field(
        default=(Batching(),), min_length=1, description="of requests that arrive (workload.arrivals)"
    )
    what_if: tuple[WhatIf, ...] = Field(default=(WhatIf(),), min_length=1)
    configurations: tuple[Configuration, ...] = Field(min_length=1)
    _file: YamlFile | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_kind(self) -> "Scenario":
        if self.costs is not None and self.hardware is not None:
            raise misplaced(("hardware",), "does not go with 'costs'; drop one or the other")
        if self.costs is not None and self.acceptance is None and not self.served:
            raise misplaced(
                ("costs",), "needs 'acceptance' beside it; without both a calibration is replayed"
            )
        others = ("hardware", "acceptance", "costs")
        other = next((key for key in others if getattr(self, key) is not None), None)
        if self.costs_from is not None and other is not None:
            raise misplaced(("costs_from",), f"does not go with '{other}'; drop one or the other")
        if self.hardware is not None:
            self._can_be_placed()
        if self.acceptance is not None:
            self._goes_with_stated()
        if self.served:
            self._can_be_served()
        else:
            self._is_alone()
        return self

    def _is_alone(self) -> None:
        """Raise for what is said of requests where none arrive."""
        needs = "needs 'workload.arrivals'; without, each text is written alone"
        work = self.workload
        for key in ("requests", "samples", "limits"):
            if key in work.model_fields_set:
                raise misplaced(("workload", key), needs)
        for key in ("tokens", "prompt_tokens"):
            if isinstance(getattr(work, key), Drawn):
                raise misplaced(("workload", key), f"is drawn for each request, and {needs}")
        if "batching" in self.model_fields_set:
            raise misplaced(("batching",), needs)

    def _can_be_served(self) -> None:
        """Raise for what is not known of requests that are served together."""
        work, costs = self.workload, self.costs
        for index, configuration in enumerate(self.configurations):
            if configuration.placement == "threads":
                raise misplaced(("configurations", index, "placement"), "here at-once or in-turn")
        for index, what_if in enumerate(self.what_if):
            if what_if.link is not None:
                raise misplaced(
                    ("what_if", index, "link"), "is not known of requests that are served together"
                )
        if costs is not None:
            for key, nothing in (("fork_ms", 0.0), ("target_slow_down", 1.0), ("draft_slow_down", 1.0)):
                if getattr(costs, key) != nothing:
                    raise misplaced(("costs", key), "is not known of requests that are served together")
            if costs.draft_branch_ms not in (0.0, costs.draft_token_ms):
                raise misplaced(
                    ("costs", "draft_branch_ms"),
                    "of requests that are served together a branch is a row as any other: state 'draft_token_ms'",
                )
        if self.acceptance is not None:
            if work.prompts is not None:
                raise misplaced(("workload", "prompts"), "picks a calibration's; here say 'requests'")
            return
        for key in ("tokens", "prompt_tokens"):
            if isinstance(getattr(work, key), Drawn):
                raise misplaced(("workload", key), "of a calibration, texts have their own lengths")
        for index, arrivals in enumerate(work.arrivals):
            if arrivals.trace is not None:
                raise misplaced(
                    (*ARRIVALS, index, "trace"), "has lengths of its own, and so do a calibration's texts"
                )

    def _can_be_placed(self) -> None:
        for index, configuration in enumerate(self.configurations):
            if configuration.placement == "threads":
                raise misplaced(
                    ("configurations", index, "placement"),
                    "'threads' share a device in a way that only a calibration can tell; here at-once or in-turn",
                )

    def _goes_with_stated(self) -> None:
        """Raise for what is said of a calibration where acceptance is stated."""
        if self.costs is None and self.hardware is None:
            raise misplaced(
                ("acceptance",),
                "needs 'costs' or 'hardware' beside it; without any a calibration is replayed",
            )
        if self.calibration is not None:
            raise misplaced(("calibration",), "does not go with stated 'acceptance'; drop one or the other")
        if self.workload.kinds is not None:
            raise misplaced(("workload", "kinds"), "picks a calibration's prompts; here no text is known")
        for index, what_if in enumerate(self.what_if):
            if what_if.alignment is not None:
                raise misplaced(
                    ("what_if", index, "alignment"), "shifts a calibration; here state 'acceptance'"
                )
            if what_if.temperature:
                raise misplaced(
                    ("what_if", index, "temperature"),
                    "picks a calibration's texts; here state the 'acceptance' at that temperature",
                )
        known = policy_names()
        for index, configuration in enumerate(self.configurations):
            if configuration.draft is not None:
                raise misplaced(
                    ("configurations", index, "draft"), "stated acceptance is of one draft without a name"
                )
            if configuration.policy in known:  # who reads the file names the nearest one that there is
                _needs_no_text(index, configuration)

    @property
    def stated(self) -> Acceptance | None:
        """The stated acceptance; None if a calibration is replayed."""
        return self.acceptance

    def error(self, place: Location, reason: str) -> ConfigurationError:
        """What is wrong at a place outside `configurations` and `what_if`, by file and line if it came from a file."""
        if self._file is not None:
            return self._file.error(place, f": {reason}")
        return ConfigurationError(f"key '{'.'.join(map(str, place))}': {reason}")

    @property
    def served(self) -> bool:
        """Whether requests arrive and are served together; else each text is written alone."""
        return bool(self.workload.arrivals)

    @property
    def outcomes(self) -> int:
        """How many outcomes the scenario has."""
        loads = len(self.batching) * len(self.workload.arrivals) if self.served else 1
        return loads * len(self.what_if) * len(self.configurations)


def _needs_no_text(index: int, configuration: Configuration) -> None:
    """Raise for what needs a real text, or a target that read it, where acceptance is stated."""
    key = configuration.reads_text
    if key is not None:
        raise misplaced(
            ("configurations", index, key),
            f"{configuration.policy if key == 'policy' else 'it'} looks for repetitions in real text, and stated "
            "acceptance has none; replay a calibration instead",
        )
    if configuration.hrad and "hrad" in configuration.uses:
        raise misplaced(
            ("configurations", index, "hrad"),
            "stated acceptance says nothing of how H-RAD would predict; replay a calibration instead",
        )


def load_scenario(path: Path) -> Scenario:
    """Read a scenario of one hardware, or none; see `load_scenarios`. ConfigurationError if it names several."""
    scenarios = load_scenarios(path)
    if len(scenarios) > 1:
        raise ConfigurationError(f"{path}: names {len(scenarios)} kinds of hardware, where one is wanted.")
    return scenarios[0]


def load_scenarios(path: Path) -> tuple[Scenario, ...]:
    """Read a scenario; lists of values in a configuration or a what-if make a sweep.

    Each hardware that it names, by a list or by lists of values, makes a scenario of its own. ConfigurationError for
    what is wrong in it.
    """
    with reading(path, SCENARIO):
        return _scenarios(path, YamlFile.read(path, "a scenario"))


def _scenarios(path: Path, file: YamlFile) -> tuple[Scenario, ...]:
    """One for each hardware that a file names."""
    several = isinstance(file.data.get("hardware"), list)
    found = alternatives(file.data["hardware"]) if "hardware" in file.data else [None]
    if not found:
        raise file.error(("hardware",), ": a list in it is empty; each needs one value or more")
    return tuple(
        _scenario(path, file, hardware, ("hardware", index) if several else ("hardware",))
        for index, hardware in enumerate(found)
    )


def _scenario(path: Path, file: YamlFile, hardware: Any, place: Location) -> Scenario:
    """With one hardware (or none), which stands at a place of the file."""
    data = dict(file.data)
    origins: dict[str, list[int]] = {}
    for key in SWEEPS:
        if key in data:
            data[key], origins[key] = _sweep(data[key])
    outer, inner = ARRIVALS
    work = data.get(outer)
    if isinstance(work, dict) and inner in work:
        arrivals, origins[inner] = _sweep(work[inner])
        data[outer] = {**work, inner: arrivals}

    if "hardware" in data:
        data["hardware"] = resolve_names(file, hardware, place)

    def origin(inside: Location) -> Location:
        """Where an expanded entry was written; one what-if may stand without a list."""
        match inside:
            case "hardware", *rest:
                return *place, *rest
            case "workload", "arrivals", int() as index, *rest if inner in origins:
                entry = (origins[inner][index],) if isinstance(file.data[outer][inner], list) else ()
                return outer, inner, *entry, *rest
            case str() as key, int() as index, *rest if key in origins:
                entry = (origins[key][index],) if isinstance(file.data[key], list) else ()
                return key, *entry, *rest
        return inside

    scenario = file.validate(Scenario, data, origin)
    for index, configuration in enumerate(scenario.configurations):
        try:
            load_policy(configuration.policy)
        except ConfigurationError as error:
            raise file.error(origin(("configurations", index, "policy")), f": {error}") from error
    named = {key: getattr(scenario, key) for key in ("calibration", "costs_from")}
    beside: dict[str, Any] = {key: path.parent / given for key, given in named.items() if given is not None}
    arrivals = tuple(_beside(path, its) for its in scenario.workload.arrivals)
    beside["workload"] = scenario.workload.model_copy(update={"arrivals": arrivals})
    scenario = scenario.model_copy(update=beside)
    scenario._file = file
    return scenario


def _beside(path: Path, arrivals: Arrivals) -> Arrivals:
    """With a trace that is named from where a scenario is."""
    if arrivals.trace is None:
        return arrivals
    return arrivals.model_copy(update={"trace": path.parent / arrivals.trace})


def _sweep(entries: Any) -> tuple[Any, list[int]]:
    """All variants of a list of mappings, or of a single one, and the entry that each comes from."""
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        return entries, []
    variants = [(variant, index) for index, entry in enumerate(entries) for variant in product(entry)]
    return [variant for variant, _ in variants], [index for _, index in variants]
