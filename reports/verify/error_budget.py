"""Where the error of predicted tokens/s comes from: scheduling, timing, acceptance, unmatched runs. Torch-free.

    split_error(load_verification(path), open_replay(path)).rows

Three replays of each configuration lie between its measurement and its prediction, each with one thing more that is
modelled. Real acceptance and real durations (`sim/world/measured_durations.py`) leave the error of *scheduling*; real
acceptance and the calibration's durations, at the machine's pace, add that of *timing*; the calibration's own
prompts add that of *acceptance*. The first two are only known of runs that the simulator plays round for round;
what the others, led elsewhere by near ties, add to the gap is that of *unmatched* runs. On an unsteady machine, or
where few runs match, that part also holds a timing of theirs that was not that of the runs that matched. Errors are
signed and relative to the measured tokens/s.
"""

from collections.abc import Callable, Sequence
from statistics import median

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.frozen_record import FrozenRecord
from engine.naming import in_words
from reports.verify.verification import Compared, Verification
from sim.world.measured_durations import rerun, same_schedule
from sim.world.replay import Replay


class Parts(FrozenRecord):
    """Shares of the measured tokens/s."""

    scheduling: float
    timing: float
    acceptance: float
    unmatched: float


class Row(FrozenRecord):
    """One configuration: tokens/s measured and predicted, the signed error, and the parts, whose sum it is.

    Scheduling and timing are those of the `matched` of all `runs`, which the simulator plays round for round. No parts
    where no run matched.
    """

    configuration: Configuration
    role: str
    measured: float
    predicted: float
    error: float
    parts: Parts | None
    matched: int
    runs: int


class ErrorBudget(FrozenRecord):
    """A verification's errors in parts; `medians` of their sizes over the configurations that have any."""

    created: str
    rows: tuple[Row, ...]
    median_error: float
    medians: Parts | None


def split_error(
    v: Verification, replay: Artifact, advance: Callable[[str], None] = lambda what: None
) -> ErrorBudget:
    """Each configuration's error in parts; `replay` holds the record's own prompts (`reports.verify.paired_runs`).

    `advance` hears each configuration that is done. CalibrationError if it is not the replay of this record.
    """
    if [p.digest for p in replay.recorded.prompts] != [p.digest for p in v.prompts]:
        raise CalibrationError(
            "the replay is of other prompts than the record's; run 'specbranch verify --again'."
        )
    world = Replay(replay, seed=v.seed)
    rows = []
    for one in v.compared:
        rows.append(_row(one, world))
        advance(in_words(one.configuration))
    known = [row.parts for row in rows if row.parts]
    return ErrorBudget(
        created=v.created,
        rows=tuple(rows),
        median_error=_middle([row.error for row in rows]),
        medians=Parts(**{name: _middle([getattr(p, name) for p in known]) for name in Parts.model_fields})
        if known
        else None,
    )


def _middle(errors: Sequence[float]) -> float:
    return median(abs(error) for error in errors)


def _row(one: Compared, world: Replay) -> Row:
    modelled = world.runs(one.configuration)
    real = scheduled = timed = 0.0
    matched, tokens, seconds = 0, 0, 0.0
    for repeat in sorted({s.repeat for s in one.samples}):
        runs = [s.run for s in sorted(one.samples, key=lambda s: s.prompt) if s.repeat == repeat]
        for run, again, model in zip(runs, rerun(world, one.configuration, runs), modelled, strict=True):
            tokens, seconds = tokens + len(model.tokens), seconds + model.seconds
            if same_schedule(run, again):
                matched += 1
                real += run.seconds
                scheduled += again.seconds
                timed += model.seconds
    parts = None
    if matched:
        # One text on all sides, so tokens/s are to each other as the seconds are, the other way round.
        scheduling = real / scheduled - 1.0
        timing = real / timed - real / scheduled
        acceptance = (one.predicted.speed.value - tokens / seconds) / one.measured.speed.value
        unmatched = one.error - scheduling - timing - acceptance
        parts = Parts(scheduling=scheduling, timing=timing, acceptance=acceptance, unmatched=unmatched)
    return Row(
        configuration=one.configuration,
        role=one.role,
        measured=one.measured.speed.value,
        predicted=one.predicted.speed.value,
        error=one.error,
        parts=parts,
        matched=matched,
        runs=len(one.samples),
    )
