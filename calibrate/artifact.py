"""The calibration folder: what was measured, on what, of which models. Torch-free; JSON and safetensors only.

`calibration.json` holds everything but the acceptance traces, which are arrays in `traces.safetensors`; the
first names the second's sha256 and carries a seal of its own bytes (`calibrate.seal`), so that a damaged folder does
not load. One of an older version is brought up to the present one while it is read, and stays as it is on disk.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from calibrate.seal import seal, seal_of
from calibrate.versions import History, OtherVersion, unchanged
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.models.specs import TARGET, ModelSpec
from engine.record import Run
from engine.runtime.placement import Placement

# 8 added the tokens that a draft's head keeps, 9 and 10 settings and what drafts guess by, 11 models' positions and the
# engine's revision, 12 deepened targets and what has to be said of them; what a record lacks of these is what its
# defaults say.
VERSIONS = History(
    present=12,
    migrations=dict.fromkeys((7, 8, 9, 10, 11), unchanged),
    too_old="up to version 6 the models were timed at once without the pauses that a generation has, which made "
    "predictions up to a fifth too fast",
)
VERSION = VERSIONS.present
HRAD_FOLDER = "hrad"  # H-RAD's networks in a calibration's folder; a replay does without them
MOST_SLOW = 8.0  # times as long, the most that two models are taken to slow each other
PAUSE = 0.04  # seconds before a burst; about as long as a draft may wait for its target
JSON_NAME, ARRAYS_NAME = "calibration.json", "traces.safetensors"
TARGET_CELLS = ("target", "rollback", "draw", "foresight")  # what `PlacementCosts` holds of the target
# Operation, tokens and context of a model's step. It tells how a machine drifts (`calibrate.costs.drift`), so it must
# be known better than others.
STEP = ("forward", 1, 0)
DRAFT_CELLS = ("forward", "branch", "burst", "fork", "draw")  # and `DraftCosts` of a draft


class _Record(BaseModel):
    # JSON has no infinity, so a record of one could not be read again.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cell(_Record):
    """Samples (seconds, in the order measured) of one operation over `tokens` tokens behind `context` tokens.

    `visits`: how many samples were taken at each visit; what is common to a visit is not independent. `excluded`:
    samples of visits at which the machine was disturbed, by the rule of `calibrate.costs.sampling_plan`.
    """

    tokens: int = Field(ge=0)
    context: int = Field(ge=0)
    seconds: tuple[float, ...] = Field(min_length=1)
    visits: tuple[int, ...] = ()
    excluded: tuple[float, ...] = ()


class Together(_Record):
    """A target forward over `target_tokens` and a draft's step of `branches`, behind `context` tokens each.

    Seconds of each alone and of each at once. With `steps`, both were timed in rounds as a generation has them: the
    target makes a forward and the draft so many steps, of which its seconds are the mean, both begin together, and who
    is done first waits. Without, as in calibrations made before there were rounds, neither ever paused.
    """

    target_tokens: int
    branches: int
    context: int
    target_alone: tuple[float, ...]
    target_together: tuple[float, ...]
    draft_alone: tuple[float, ...]
    draft_together: tuple[float, ...]
    steps: int = Field(default=0, ge=0)

    def slow_down(self) -> tuple[float, float]:
        """Of the target and of the draft, while both compute: by medians, at least 1 and at most `MOST_SLOW`."""
        times = max(1, self.steps)
        target = float(np.median(self.target_alone)), float(np.median(self.target_together))
        draft = times * float(np.median(self.draft_alone)), times * float(np.median(self.draft_together))
        # In rounds, the longer one goes on alone when the other is done, at its own speed.
        shorter = min(target[1], draft[1]) if self.steps else math.inf
        return _slowed(*target, shorter), _slowed(*draft, shorter)


def _slowed(alone: float, together: float, shared: float) -> float:
    """How many times as long something takes beside other work, which was there for its first `shared` seconds."""
    beside = min(together, shared)
    undisturbed = alone - (together - beside)  # what that would have taken without the other work
    return min(MOST_SLOW, max(1.0, beside / max(undisturbed, beside / MOST_SLOW)))


class DraftCosts(_Record):
    """What a draft costs in one placement.

    `forward`: reading tokens in a row and choosing candidates; `branch`: a step of `tokens` branches, one token
    each; `burst`: `tokens` steps of one branch in a row behind PAUSE, where the draft has a device of its own;
    `fork`: selecting one of `tokens` branches in a rewind; `draw`: what drawing `tokens` tokens at a
    temperature takes beyond choosing them. `together`: against the target, where they run at once.
    """

    forward: tuple[Cell, ...]
    branch: tuple[Cell, ...]
    burst: tuple[Cell, ...] = ()
    fork: tuple[Cell, ...]
    draw: tuple[Cell, ...] = ()
    together: tuple[Together, ...] = ()


class PlacementCosts(_Record):
    """Costs where the models sit as `placement` says.

    `target`: reading `tokens` in a row and choosing a token behind each; `rollback`: forgetting the last `tokens`
    of its cache; `draw`: what drawing `tokens` tokens at a temperature takes beyond choosing them; `foresight`:
    H-RAD's inference, once. `hand_over`: a job's seconds beyond its forwards.
    """

    placement: Placement
    target_seat: str
    draft_seat: str
    target: tuple[Cell, ...]
    rollback: tuple[Cell, ...] = ()
    draw: tuple[Cell, ...] = ()
    foresight: tuple[Cell, ...] = ()
    drafts: dict[str, DraftCosts]
    hand_over: tuple[float, ...] = Field(min_length=1)


def step_of(costs: PlacementCosts, model: str) -> Cell:
    """The cell that tells a model's pace. CalibrationError if it was not measured."""
    known = costs.target if model == TARGET else costs.drafts[model].forward if model in costs.drafts else ()
    for cell in known:
        if (cell.tokens, cell.context) == STEP[1:]:
            return cell
    raise CalibrationError(
        f"the calibration did not measure a step of '{model}' in placement '{costs.placement}'."
    )


class ModelRecord(_Record):
    """A model as it was loaded; `sha256` of its weights' files.

    `positions`: how many tokens a text may have at most, the prompt's included; None: unknown, or no limit.
    """

    spec: ModelSpec
    sha256: str
    positions: int | None = Field(default=None, ge=1)


class PromptRecord(_Record):
    """A prompt of the traces; `tokens` long as the target reads it."""

    id: str
    kind: str
    digest: str
    tokens: int
    path_tokens: int


class Rehearsal(_Record):
    """A real generation on the prompt of this index, greedy, to hold the costs against."""

    configuration: Configuration
    prompt: int
    run: Run


class Calibration(_Record):
    """The whole measurement. `hardware` and `software` are the fingerprint, `notes` say what was excluded, `remarks`
    what has to be said wherever a figure of it is shown (`engine.models.deepening`).

    `engine_revision` of what was timed (`calibrate.revision`); None: it was not noted.
    `reference_seconds` of a fixed operation by placement, in the order timed: how steady the machine was.
    `temperature`: of the sampled texts, if there are any (see `Artifact.sampled`), of up to `sampled_tokens` tokens
    and drawn with `seed` (see `Sampling.of_text`, by the prompts' digests).
    """

    version: int = VERSION
    created: str
    hardware: dict[str, str]
    software: dict[str, str]
    engine_revision: str | None = None
    effort: str
    seed: int
    target: ModelRecord
    drafts: dict[str, ModelRecord]
    placements: tuple[PlacementCosts, ...]
    prompts: tuple[PromptRecord, ...]
    max_tokens: int
    temperature: float | None = None
    sampled_tokens: int = 0
    reference_seconds: dict[str, tuple[float, ...]]
    rehearsals: tuple[Rehearsal, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    traces_sha256: str = ""
    seal: str = ""  # of the file that this record was read from or written to, where it stands last

    @property
    def models(self) -> dict[str, ModelRecord]:
        """The target and the drafts, by name."""
        return {TARGET: self.target, **self.drafts}

    @property
    def positions(self) -> int | None:
        """How many tokens a text of all models may have at most, the prompt's included; None: no limit is known."""
        return min((m.positions for m in self.models.values() if m.positions is not None), default=None)

    @property
    def longest_context(self) -> int:
        """The longest context behind which a target's forward was timed in every placement."""
        return min((max(c.context for c in p.target) for p in self.placements if p.target), default=0)

    def encoded(self) -> tuple[bytes, str]:
        """The JSON of this record with its seal, and the seal."""
        return seal(self.model_copy(update={"seal": ""}).model_dump_json().encode())

    def costs(self, placement: Placement) -> PlacementCosts:
        """The costs of a placement. CalibrationError if it was not measured."""
        for costs in self.placements:
            if costs.placement == placement:
                return costs
        raise CalibrationError(f"the calibration has no placement '{placement}'.")


@dataclass(frozen=True)
class DraftTrace:
    """How a draft saw one target path of T tokens, K candidates and L continuation steps.

    `tokens` int32 [T, K] and `chances` float32 [T, K]: its candidates at each position behind the true tokens,
    best first; `off_tokens` int32 and `off_chances` float32 [T, L]: where its first candidate is wrong, its
    own greedy continuation behind that candidate (NaN chances where not recorded); `bounds` float32 [T] and
    `off_bounds` float32 [T, L]: AdaEDL's bound of the acceptance where `chances` and `off_chances` are. All of these
    are of the logits that the draft goes by: with their noise where it draws (see `engine.models.sampling`).
    `true_chance` float32 [T]: its probability of the target's token, q(y), without noise. `foreseen` float32
    [T, R + 1]: H-RAD's chances of how many of the draft's tokens behind each token will be accepted, 0 to R - 1 or
    more, by a network that never saw the prompt; no rows where none was trained.
    """

    tokens: NDArray[np.int32]
    chances: NDArray[np.float32]
    off_tokens: NDArray[np.int32]
    off_chances: NDArray[np.float32]
    true_chance: NDArray[np.float32]
    bounds: NDArray[np.float32]
    off_bounds: NDArray[np.float32]
    foreseen: NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """One prompt's tokens int32 [P], its path int32 [T] (the target's own text), and each draft's view.

    `chances` float32 [T]: the target's probability of each token of the path, p(y); no rows where not recorded.
    `drawing`: of a text at a temperature, each draft's view where it draws its tokens too.
    """

    prompt: NDArray[np.int32]
    path: NDArray[np.int32]
    drafts: Mapping[str, DraftTrace]
    chances: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    drawing: Mapping[str, DraftTrace] = field(default_factory=dict)

    def views(self, *, drawn: bool) -> Mapping[str, DraftTrace]:
        """Of drafts that draw their tokens, or that take their most likely ones."""
        return self.drawing if drawn else self.drafts


@dataclass(frozen=True)
class Artifact:
    """A calibration and its traces, one for each of `calibration.prompts`.

    `traces` are of the target's greedy texts, `sampled` of texts at `calibration.temperature`, if there are any; the
    replay of a verification has but one of them.
    `temperature`: of `traces`, where another was chosen to be replayed (see `sim.acceptance.temperature`).
    """

    calibration: Calibration
    traces: tuple[Trace, ...]
    sampled: tuple[Trace, ...] = ()
    temperature: float = 0.0

    @property
    def digest(self) -> str:
        """What tells a calibration from others: the seal of its folder, which covers its traces' sha256 as well.

        It stays what it is when the folder is read by another version of this program, or another library.
        """
        return self.calibration.seal or self.calibration.encoded()[1]


_DRAFT_ARRAYS = tuple(DraftTrace.__dataclass_fields__)
_TRACE_ARRAYS = ("prompt", "path", "chances")
DRAWING = "drawing"  # the kind of views of sampled texts by drafts that draw


def save_artifact(folder: Path, artifact: Artifact) -> Artifact:
    """Write a calibration folder, and return what it holds.

    The JSON, written last and renamed into place, makes it whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {}
    for kind, traces in (("greedy", artifact.traces), ("sampled", artifact.sampled)):
        for index, trace in enumerate(traces):
            arrays |= {f"{kind}.{index}.{key}": getattr(trace, key) for key in _TRACE_ARRAYS}
            for how, views in ((kind, trace.drafts), (DRAWING, trace.drawing)):
                for name, seen in views.items():
                    arrays |= {f"{how}.{index}.{name}.{key}": getattr(seen, key) for key in _DRAFT_ARRAYS}
    data = save_arrays(arrays)
    calibration = artifact.calibration.model_copy(
        update={"traces_sha256": hashlib.sha256(data).hexdigest(), "version": VERSION}
    )
    text, sealed = calibration.encoded()
    (folder / JSON_NAME).unlink(missing_ok=True)
    write_whole(folder / ARRAYS_NAME, data)
    write_whole(folder / JSON_NAME, text)
    return replace(artifact, calibration=calibration.model_copy(update={"seal": sealed}))


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


def load_artifact(folder: Path) -> Artifact:
    """Read a calibration folder, of this version or an older one.

    CalibrationError if there is none, or if it is damaged, too old or of a newer program.
    """
    try:
        text = (folder / JSON_NAME).read_bytes()
        data = (folder / ARRAYS_NAME).read_bytes()
    except OSError as error:
        raise CalibrationError(
            f"{folder} holds no whole calibration ({error.strerror}: {error.filename}); make one with "
            f"'specbranch calibrate --out {folder}'."
        ) from error
    calibration = _read(folder / JSON_NAME, text)
    if hashlib.sha256(data).hexdigest() != calibration.traces_sha256:
        raise CalibrationError(
            f"{folder / ARRAYS_NAME} is damaged or of another run; run 'specbranch calibrate --again --out {folder}'."
        )
    try:
        arrays = load_arrays(data)
        kinds = {key.partition(".")[0] for key in arrays}
        traces, sampled = (
            _traces(calibration, arrays, kind) if kind in kinds else () for kind in ("greedy", "sampled")
        )
    except (SafetensorError, KeyError) as error:
        raise CalibrationError(
            f"{folder / ARRAYS_NAME} lacks traces it should hold; run 'specbranch calibrate --again --out {folder}'."
        ) from error
    return Artifact(calibration, traces, sampled)


def _read(path: Path, text: bytes) -> Calibration:
    """The record in a file's bytes. CalibrationError if they are damaged or of a version that cannot be read."""
    anew = f"specbranch calibrate --again --out {path.parent}"
    damaged = CalibrationError(f"{path} is damaged; run '{anew}'.")
    try:
        data = json.loads(text)
        migrated = VERSIONS.migrate(data)
    except OtherVersion as error:
        raise CalibrationError(f"{path} {error}; '{anew}' measures anew.") from error
    except ValueError as error:
        raise damaged from error
    if seal_of(text) is None:
        raise damaged
    try:
        return Calibration.model_validate(migrated)
    except ValidationError as error:
        first = error.errors()[0]
        raise CalibrationError(
            f"{path} is whole but not as version {data['version']} has it ('{'.'.join(map(str, first['loc']))}': "
            f"{first['msg']}); run '{anew}'."
        ) from error


def _traces(calibration: Calibration, arrays: Mapping[str, NDArray[Any]], kind: str) -> tuple[Trace, ...]:
    """KeyError if one is not there."""

    def seen(place: str) -> DraftTrace:
        return DraftTrace(**{key: arrays[f"{place}.{key}"] for key in _DRAFT_ARRAYS})

    return tuple(
        Trace(
            drafts={name: seen(f"{kind}.{index}.{name}") for name in calibration.drafts},
            drawing={
                name: seen(f"{DRAWING}.{index}.{name}") for name in calibration.drafts if kind == "sampled"
            },
            **{key: arrays[f"{kind}.{index}.{key}"] for key in _TRACE_ARRAYS},
        )
        for index in range(len(calibration.prompts))
    )
