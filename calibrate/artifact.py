"""The calibration folder: costs and acceptance traces, each a file of its own. Torch-free; JSON and safetensors only.

`costs.json` is of hardware, models and placements (`calibrate.cost_records`), `traces.json` of a pair and texts
(`calibrate.trace_records`), with arrays in `traces.safetensors` whose sha256 it holds. Each JSON has a version, a seal
of its own bytes (`calibrate.seal`), so that a damaged folder does not load, and what measured it. A replay may take
its costs from one folder and its traces from another. Folders of older versions are brought up to the present one
while they are read (`calibrate.one_file`), and stay as they are on disk.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError

from calibrate import cost_records, one_file, trace_records
from calibrate.cost_records import MeasuredCosts, Rehearsal
from calibrate.file_kinds import ARRAYS_NAME, CALIBRATION, COSTS_NAME, TRACES_NAME, kind_of, other_kind
from calibrate.records import Measurement
from calibrate.seal import seal_of
from calibrate.trace_records import RecordedTraces, Trace, from_bytes, to_bytes
from calibrate.versions import History, Json, OtherVersion
from engine.errors import CalibrationError

M = TypeVar("M", bound=Measurement)

HRAD_FOLDER = "hrad"  # H-RAD's networks in a calibration's folder; a replay does without them


@dataclass(frozen=True)
class Artifact:
    """Costs and traces, of one calibration or of two, with a trace for each of `recorded.prompts`.

    `traces` are of the target's greedy texts, `sampled` of texts at `recorded.temperature`, if there are any; the
    replay of a verification has but one of them.
    `temperature`: of `traces`, where another was chosen to be replayed (see `sim.acceptance.temperature`).
    """

    costs: MeasuredCosts
    recorded: RecordedTraces
    traces: tuple[Trace, ...]
    sampled: tuple[Trace, ...] = ()
    temperature: float = 0.0

    @property
    def digest(self) -> str:
        """What tells a calibration from others: the seals of costs and traces, which cover the arrays' sha256 as well.

        It stays what it is when the folder is read by another version of this program, or another library.
        """
        seals = [record.seal or record.encoded()[1] for record in (self.costs, self.recorded)]
        return seals[0] if seals[0] == seals[1] else hashlib.sha256("".join(seals).encode()).hexdigest()

    @property
    def of_two(self) -> bool:
        """Whether costs and traces are of two calibrations; one makes both at a time."""
        costs, recorded = self.costs, self.recorded
        return (costs.created, costs.hardware) != (recorded.created, recorded.hardware)

    @property
    def rehearsals(self) -> tuple[Rehearsal, ...]:
        """Real generations on the prompts of the traces, with the models of the costs."""
        return () if self.of_two else self.costs.rehearsals

    @property
    def remarks(self) -> tuple[str, ...]:
        """What has to be said wherever a figure of it is shown."""
        said = dict.fromkeys((*self.costs.remarks, *self.recorded.remarks))
        return (*said, _two_calibrations(self.costs, self.recorded)) if self.of_two else tuple(said)

    def described(self) -> Json:
        """What the records of costs and traces say, as JSON."""
        return {"costs": self.costs.model_dump(mode="json"), "traces": self.recorded.model_dump(mode="json")}


def _two_calibrations(costs: MeasuredCosts, recorded: RecordedTraces) -> str:
    parts = (
        f"{what} of {record.target.spec.source} were {done} on {record.hardware.get('processor', 'unknown')} "
        f"({record.created})"
        for what, done, record in (("costs", "measured", costs), ("traces", "recorded", recorded))
    )
    return f"costs and traces come from two calibrations: {', '.join(parts)}"


def save_artifact(folder: Path, artifact: Artifact) -> Artifact:
    """Write a calibration folder, and return what it holds.

    The costs, written last and renamed into place, make it whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = to_bytes(artifact.traces, artifact.sampled)
    recorded = artifact.recorded.model_copy(update={"arrays_sha256": hashlib.sha256(data).hexdigest()})
    saved = replace(artifact, costs=artifact.costs.sealed(), recorded=recorded.sealed())
    for name in (COSTS_NAME, TRACES_NAME, one_file.NAME):
        (folder / name).unlink(missing_ok=True)
    write_whole(folder / ARRAYS_NAME, data)
    write_whole(folder / TRACES_NAME, saved.recorded.encoded()[0])
    write_whole(folder / COSTS_NAME, saved.costs.encoded()[0])
    return saved


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it there, so that it is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def holds_calibration(folder: Path) -> bool:
    """Whether a calibration was written to a folder, be it damaged or not."""
    return folder.is_dir() and kind_of(folder) == CALIBRATION


def load_artifact(folder: Path, costs: Path | None = None) -> Artifact:
    """Read a calibration folder, of this version or an older one; `costs`: the folder to take costs from, if another.

    CalibrationError if there is none, if it is damaged, too old or of a newer program, or if costs and traces are of
    two calibrations and do not fit.
    """
    measured = _load(costs or folder, COSTS_NAME, MeasuredCosts, cost_records.VERSIONS, one_file.costs_of)
    recorded = _load(folder, TRACES_NAME, RecordedTraces, trace_records.VERSIONS, one_file.traces_of)
    path = folder / ARRAYS_NAME
    anew = f"run 'specbranch calibrate --again --out {folder}'."
    data = _bytes(folder, ARRAYS_NAME)
    if hashlib.sha256(data).hexdigest() != recorded.arrays_sha256:
        raise CalibrationError(f"{path} is damaged or of another run; {anew}")
    try:
        traces, sampled = from_bytes(recorded, data)
    except (SafetensorError, KeyError) as error:
        raise CalibrationError(f"{path} lacks traces it should hold; {anew}") from error
    artifact = Artifact(measured, recorded, traces, sampled)
    if artifact.of_two:
        _check_fit(measured, recorded)
    return artifact


def _check_fit(costs: MeasuredCosts, recorded: RecordedTraces) -> None:
    """CalibrationError if the traces are of drafts that have no costs, or of models with another vocabulary."""
    missing = [name for name in recorded.drafts if name not in costs.drafts]
    if missing:
        raise CalibrationError(
            f"costs and traces do not fit: the traces are of draft '{missing[0]}', and the costs are of "
            f"{', '.join(costs.drafts) or 'none'}; take costs and traces whose drafts have the same names."
        )
    for name, model in recorded.models.items():
        here, there = model.vocabulary, costs.models[name].vocabulary
        if here is not None and there is not None and here != there:
            raise CalibrationError(
                f"costs and traces do not fit: '{name}' knows {here} tokens in the traces and {there} in the costs; "
                "take costs and traces of models with one vocabulary."
            )


def _bytes(folder: Path, name: str) -> bytes:
    """A file of a calibration. CalibrationError if it is not there."""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CalibrationError(_missing(folder, error)) from error


def _missing(folder: Path, error: OSError) -> str:
    """What to do where a folder that was named holds no calibration."""
    if other := other_kind(folder, CALIBRATION):
        return other
    if folder.is_file():
        return f"{folder} is a file, and a calibration is a folder; 'specbranch calibrate' writes one."
    inside = [place for place in sorted(folder.glob("*/")) if holds_calibration(place)]
    if inside and not holds_calibration(folder):
        return f"{folder} is no calibration, but there are some in it: name {' or '.join(map(str, inside))}."
    return (
        f"{folder} holds no whole calibration ({error.strerror}: {error.filename}); make one with "
        f"'specbranch calibrate --out {folder}'."
    )


def _load(folder: Path, name: str, kind: type[M], versions: History, part: Callable[[Json], Json]) -> M:
    """A record of a folder; `part`: its part of what a folder says in which one file has everything.

    CalibrationError if it is not there, damaged or of a version that cannot be read.
    """
    old = not (folder / name).is_file() and (folder / one_file.NAME).is_file()
    path = folder / (one_file.NAME if old else name)
    text = _bytes(folder, path.name)
    anew = f"specbranch calibrate --again --out {folder}"
    damaged = CalibrationError(f"{path} is damaged; run '{anew}'.")
    try:
        data = json.loads(text)
        record = (one_file.VERSIONS if old else versions).migrate(data)
    except OtherVersion as error:
        raise CalibrationError(f"{path} {error}; '{anew}' measures anew.") from error
    except ValueError as error:
        raise damaged from error
    if seal_of(text) is None:
        raise damaged
    try:
        return kind.model_validate(versions.migrate(part(record)) if old else record)
    except (ValidationError, KeyError) as error:
        reason = f"'{error.args[0]}': Field required" if isinstance(error, KeyError) else _first(error)
        raise CalibrationError(
            f"{path} is whole but not as version {data['version']} has it ({reason}); run '{anew}'."
        ) from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"'{'.'.join(map(str, first['loc']))}': {first['msg']}"
