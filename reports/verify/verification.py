"""What `verify` writes down and `report` shows: the schema of a verification. Torch-free."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from calibrate.artifact import write_whole
from calibrate.costs.drift import ContentionSample, Drift
from calibrate.file_kinds import VERIFICATION, other_kind
from calibrate.trace_records import PromptRecord
from calibrate.versions import History, Json, OtherVersion, unchanged
from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, Metrics
from engine.record import Run
from engine.runtime.placement import Placement
from reports.verify.looks import Looks
from reports.verify.tolerance import Tolerance
from scenarios.what_if import WhatIf

VERSION: Literal[10] = 10


def _as_calibrated(record: Json) -> Json:
    """Version 3 predicted at the pace of the calibration, and of no other."""
    compared = [{**one, "as_calibrated": one["predicted"]["speed"]} for one in record["compared"]]
    return {**record, "compared": compared}


# 5 added what models do to each other, 6 the engine's revision and contexts that are far, 7 what has to be said of a
# deepened target, 8 the looks and what was foretold of each text, 9 how long runs waited for cores, and 10 what prompts
# took between the runs.
VERSIONS = History(
    present=VERSION,
    migrations={3: _as_calibrated, **dict.fromkeys(range(4, VERSION), unchanged)},
    too_old="up to version 2 texts of drawn drafts were judged by their law, and not token by token",
)


class Sample(FrozenRecord):
    """One real generation: `prompt` by its place among the prompts, `order` its place in the whole run.

    `gaps`: the places of the tokens that are not what the target takes itself in one pass over the text, and how far
    off each is (`reports.verify.audit`); those within the record's tie are near ties, the others mismatches. `waited`:
    seconds that threads waited meanwhile for a core that something else had, where that is known.
    """

    prompt: int
    repeat: int
    order: int
    run: Run
    gaps: tuple[tuple[int, float], ...] = ()
    waited: float | None = None


class Side(FrozenRecord):
    """One configuration, in one world; `speed` in tokens/s, `speed_up` over autoregressive decoding of the
    same placement, `best_speed_up` over the best autoregressive placement."""

    speed: Estimate
    speed_up: Estimate
    best_speed_up: Estimate
    metrics: Metrics


class Foretold(FrozenRecord):
    """Simulated tokens and seconds of each text."""

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Foretold":
        """Those of simulated runs, a text each."""
        return cls(tokens=tuple(len(run.tokens) for run in runs), seconds=tuple(run.seconds for run in runs))


class Compared(FrozenRecord):
    """A configuration and why it is here ("chosen", "baseline", "other"), predicted and measured.

    `predicted` replays the calibration's prompts at the machine's pace of the run, `as_calibrated` (tokens/s) at that
    of the calibration. `replayed` (tokens/s) replays the measured prompts' own texts with the costs of `predicted`, so
    that what separates it from the measurement is timing alone. `forecast` is `as_calibrated` by the calibration's
    prompts, and `replays` is `replayed` by the measured ones (none up to version 7). `far_context`: the texts that were
    predicted or measured reach farther than the costs were measured (`sim.world.reach`).
    """

    configuration: Configuration
    role: str
    as_calibrated: Estimate
    predicted: Side
    replayed: Estimate | None
    forecast: Foretold | None = None
    replays: Foretold | None = None
    measured: Side
    samples: tuple[Sample, ...]
    near_ties: int  # tokens that differ from the target's own text, each within the stated numeric tie
    mismatches: int  # tokens that differ by more
    far_context: bool = False

    @property
    def error(self) -> float:
        """Signed relative error of the predicted tokens/s."""
        return self.predicted.speed.value / self.measured.speed.value - 1.0

    @property
    def error_as_calibrated(self) -> float:
        """Signed relative error of what was predicted before the machine's pace was known."""
        return self.as_calibrated.value / self.measured.speed.value - 1.0

    @property
    def timing_error(self) -> float | None:
        """Signed relative error of tokens/s where the measured texts themselves are replayed."""
        return self.replayed.value / self.measured.speed.value - 1.0 if self.replayed else None

    @property
    def speed_up_error(self) -> float:
        """Signed relative error of the predicted speed-up over the best autoregressive placement."""
        return self.predicted.best_speed_up.value / self.measured.best_speed_up.value - 1.0


class Point(FrozenRecord):
    """One simulated configuration of the sweep that the page draws; `alignment`: the draft's, if it was changed."""

    configuration: Configuration
    alignment: float | None = None
    speed: Estimate
    best_speed_up: Estimate
    metrics: Metrics
    far_context: bool = False


class Supposed(FrozenRecord):
    """One configuration, simulated under one change; `best_speed_up` is over the best autoregressive placement under
    the same change, `over_one` over the same configuration with one branch, where that was asked."""

    configuration: Configuration
    what_if: WhatIf
    speed: Estimate
    best_speed_up: Estimate
    over_one: Estimate | None = None
    far_context: bool = False


class Occupied(FrozenRecord):
    """Devices (cores, on a CPU) that a placement occupies: the target's alone, and both models'."""

    placement: Placement
    target: int
    both: int
    unit: Literal["core", "device"]


class Timeline(FrozenRecord):
    """The same prompt and configuration, run by the engine and by the simulator."""

    prompt: int
    configuration: Configuration
    real: Run
    simulated: Run


class Settling(FrozenRecord):
    """What the settling test fixes before it runs: its drafts, by the share of positions where each one's first
    candidate is the target's token (`alignment`, from the calibration). Both are one where there is no other."""

    well: str
    poor: str
    alignment: dict[str, float]

    @property
    def drafts(self) -> tuple[str, ...]:
        """Those that differ, the well aligned one first."""
        return tuple(dict.fromkeys((self.well, self.poor)))


class Verification(FrozenRecord):
    """Predicted against measured on prompts that the calibration did not see, with the conditions of both.

    `sweep` holds simulated configurations over draft length x branches. `reference_seconds` are timings of a
    fixed operation spread over the run, which show how steady the machine was; `pace` is that of the models' steps,
    and `crowds` is what two models did to each other.
    `tolerance` was fixed before it, and so was the plan of the `looks` (none in records up to version 7: all prompts
    were looked at once). `calibration_kinds`: of the calibration's prompts.
    `temperature` of the texts; 0: greedy.
    """

    version: Literal[10] = VERSION
    created: str
    hardware: dict[str, str]
    software: dict[str, str]
    engine_revision: str | None = None  # that ran here; None: it was not noted
    models: dict[str, str]  # name -> what it is and its content hash
    calibration: str  # the folder
    calibration_digest: str
    calibration_kinds: tuple[str, ...] = ()
    other_hardware: bool  # the calibration was made elsewhere
    prompts: tuple[PromptRecord, ...]
    max_tokens: int
    repeats: int
    seed: int
    temperature: float = 0.0
    system: str | None = None  # the serving system whose methods alone were searched for the chosen one
    tie: float  # the largest gap between logits that counts as a numeric tie
    tolerance: Tolerance
    looks: Looks | None = None
    reference_seconds: tuple[float, ...]
    pace: tuple[Drift, ...] = ()
    crowds: tuple[ContentionSample, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    compared: tuple[Compared, ...]
    sweep: tuple[Point, ...]
    overheads: tuple[
        Supposed, ...
    ] = ()  # with everything, without hand-over, fork and spread, without contention...
    sensitivities: tuple[
        Supposed, ...
    ] = ()  # of the chosen (or best drafting) and of autoregressive decoding
    occupied: tuple[Occupied, ...] = ()
    timeline: Timeline
    settling: Settling | None = None  # of the test of the published claims (`reports.verify.settle`)


def replay_folder(record: Path) -> Path:
    """Where the replay of a record's own prompts is: a calibration folder with their texts, and the costs at the
    machine's pace of the run."""
    return record.with_suffix(".replay")


def save_verification(path: Path, verification: Verification) -> None:
    """Write the record as one JSON file."""
    write_whole(path, verification.model_dump_json().encode())


def load_verification(path: Path) -> Verification:
    """Read a record, of this version or an older one. SpecBranchError if there is none, or it cannot be read."""
    try:
        return Verification.model_validate(VERSIONS.migrate(json.loads(path.read_bytes())))
    except OSError as error:
        raise SpecBranchError(
            other_kind(path, VERIFICATION)
            or f"{path} cannot be read ({error.strerror}); run 'specbranch verify' first, which writes such records."
        ) from error
    except OtherVersion as error:
        raise SpecBranchError(
            other_kind(path, VERIFICATION) or f"{path} {error}; 'specbranch verify --again' runs it anew."
        ) from error
    except (ValueError, KeyError, TypeError) as error:  # pydantic's are among them
        raise SpecBranchError(
            other_kind(path, VERIFICATION) or f"{path} is damaged; run 'specbranch verify --again'."
        ) from error


def speculates(one: Compared) -> bool:
    """Whether a configuration drafts at all."""
    return one.configuration.drafts


def find_fastest(compared: Sequence[Compared]) -> Compared:
    """The configuration with the highest measured tokens/s."""
    return max(compared, key=lambda c: c.measured.speed.value)


def find_chosen(compared: Sequence[Compared]) -> Compared:
    """The chosen configuration; the fastest measured where none is marked."""
    return next((c for c in compared if c.role == "chosen"), None) or find_fastest(compared)


def find_baseline(compared: Sequence[Compared]) -> Compared | None:
    """The best measured autoregressive set-up."""
    alone = [c for c in compared if not speculates(c)]
    return find_fastest(alone) if alone else None
