"""The file that `schedule` writes: a configuration for each load, and what was predicted of it."""

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from calibrate.artifact import write_whole
from calibrate.file_kinds import SCHEDULE, reading
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from engine.models.specs import ModelSpec
from engine.naming import in_words
from engine.runtime.workload import Limits
from scenarios.files import YamlFile
from scenarios.what_if import WhatIf
from sim.search.exports import Export, export_by_load
from sim.search.tuned import short_form
from sim.sweeps.by_load import LoadResult, Schedule, Stretch
from sim.sweeps.load_scores import LoadObjective


class ScheduledStretch(FrozenRecord):
    """Loads that one configuration serves."""

    first: float = Field(ge=0)
    last: float | None = Field(default=None, description="none: as far as it goes")
    configuration: Configuration

    @property
    def label(self) -> str:
        """The loads, in words."""
        first = f"{self.first:g}"
        return (
            f"{first}-"
            if self.last is None
            else f"{first}-{self.last:g}"
            if self.last > self.first
            else first
        )


class ScheduledLoad(FrozenRecord):
    """What was predicted at a load that was served: of the configuration chosen for it, over autoregressive decoding.

    `tied`: how many configurations are as good as the best, for all that is known.
    """

    load: str
    configuration: str = Field(description="its label")
    tokens_per_second: Estimate
    over_autoregressive: Estimate
    goodput: Estimate
    token_p95: Estimate
    tied: int = Field(ge=1)


class ScheduleFile(FrozenRecord):
    """A schedule that was searched on a calibration."""

    calibration: Path = Field(description="the folder that was searched; in the file relative to it")
    calibration_digest: str
    costs_from: Path | None = Field(
        default=None, description="the folder of the costs, if another; in the file relative to it"
    )
    by: Literal["users", "requests a second"]
    stretches: tuple[ScheduledStretch, ...] = Field(min_length=1)
    sequences: int = Field(ge=1, description="requests that run at once, at most")
    objective: LoadObjective
    limits: Limits = Limits()
    what_if: WhatIf = WhatIf()
    system: str | None = Field(
        default=None, description="the serving system whose methods alone were searched ('schedule --for')"
    )
    drafts: dict[str, ModelSpec] = Field(
        default_factory=dict, description="what the calibration's drafts are made of, for exports"
    )
    deepen: int = Field(
        default=1, ge=1, description="how many times as deep the calibration's target was made"
    )
    searched: int = Field(ge=1, description="configurations")
    samples: int = Field(ge=1, description="of the requests at each load")
    seed: int = Field(default=0, ge=0)
    loads: tuple[ScheduledLoad, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        found: Schedule,
        calibration: Path,
        digest: str,
        drafts: Mapping[str, ModelSpec],
        *,
        sequences: int,
        what_if: WhatIf,
        seed: int,
        deepen: int = 1,
        system: str | None = None,
        costs_from: Path | None = None,
    ) -> "ScheduleFile":
        """From a search on the calibration in a folder, which has a digest (`Artifact.digest`) and drafts."""
        return cls(
            calibration=calibration,
            calibration_digest=digest,
            costs_from=costs_from,
            by="requests a second" if found.by_rate else "users",
            stretches=tuple(map(_stretch, found.stretches)),
            sequences=sequences,
            objective=found.objective,
            limits=found.limits,
            what_if=what_if,
            system=system,
            drafts=dict(drafts),
            deepen=deepen,
            searched=found.searched,
            samples=found.samples,
            seed=seed,
            loads=tuple(map(_load, found.results)),
            notes=found.notes,
        )


def _stretch(stretch: Stretch) -> ScheduledStretch:
    return ScheduledStretch(first=stretch.first, last=stretch.last, configuration=stretch.configuration)


def _load(result: LoadResult) -> ScheduledLoad:
    figures = result.chosen.figures
    return ScheduledLoad(
        load=result.arrivals.label(),
        configuration=result.chosen.configuration.label(),
        tokens_per_second=figures["tokens_per_second"],
        over_autoregressive=result.chosen.over(result.autoregressive),
        goodput=figures["goodput"],
        token_p95=figures["token_p95"],
        tied=len(result.tied),
    )


def save_schedule(path: Path, schedule: ScheduleFile) -> None:
    """Write the file; the calibration's path in it is relative to it."""
    data = schedule.model_dump(mode="json")
    data["calibration"] = os.path.relpath(schedule.calibration, path.parent)
    if schedule.costs_from is not None:
        data["costs_from"] = os.path.relpath(schedule.costs_from, path.parent)
    for key in ("limits", "what_if"):
        data[key] = getattr(schedule, key).model_dump(mode="json", exclude_defaults=True)
    data["drafts"] = {
        name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in schedule.drafts.items()
    }
    for written, stretch in zip(data["stretches"], schedule.stretches, strict=True):
        written["configuration"] = short_form(stretch.configuration)
    comments = [
        "Written by 'specbranch schedule'; 'specbranch export' reads it.",
        f"By {schedule.by}:",
        *(f"{stretch.label}: {in_words(stretch.configuration)}" for stretch in schedule.stretches),
        f"{schedule.searched} configurations served the same requests at each load, in the simulator. Of those that "
        "are as good as the best one, for all that is known, each stretch has what changes least often; nothing here "
        "was measured.",
    ]
    text = "".join(f"# {line}\n" for comment in comments for line in textwrap.wrap(comment, 108))
    text += yaml.safe_dump(data, sort_keys=False, width=110, default_flow_style=None)
    write_whole(path, text.encode())


def is_schedule(path: Path) -> bool:
    """Whether a file is one that `save_schedule` wrote, and no other."""
    try:
        return "stretches" in YamlFile.read(path, "a schedule").data
    except ConfigurationError:
        return False


def load_schedule(path: Path) -> ScheduleFile:
    """Read the file. ConfigurationError, with file, line and key, if it is missing or wrong."""
    with reading(path, SCHEDULE):
        file = YamlFile.read(path, "a schedule")
        found = file.validate(ScheduleFile, file.data)
    named = {key: getattr(found, key) for key in ("calibration", "costs_from")}
    beside: dict[str, Any] = {
        key: path.parent / folder for key, folder in named.items() if folder is not None
    }
    return found.model_copy(update=beside)


def export_schedule(schedule: ScheduleFile, system: str, draft_model: str | None = None) -> Export:
    """A schedule by users for a serving system; see `sim.search.exports.export_by_load`.

    ConfigurationError for one by rates, of which no server is told.
    """
    if schedule.by != "users":
        raise ConfigurationError(
            "servers go by how many requests run, and this schedule is by requests a second: make one by --users."
        )
    stretches = [
        (int(s.first), schedule.sequences if s.last is None else int(s.last), s.configuration)
        for s in schedule.stretches
    ]
    return export_by_load(stretches, system, draft_model, schedule.what_if.temperature, schedule.drafts)
