"""The runs behind a record's figures: those that were measured, and the simulator's of the same prompt. Torch-free."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from calibrate.artifact import Artifact, holds_calibration, load_artifact
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError, SpecBranchError
from engine.naming import in_words
from engine.record import Run
from reports.verify.verification import Compared, Verification, replay_folder
from sim.acceptance.temperature import at_temperature
from sim.world.replay import Replay

World = Literal["engine", "simulator"]


def open_replay(record: Path) -> Artifact:
    """The replay of a record's own prompts, with the texts it has for its traces.

    SpecBranchError if the record was made without it, or it is damaged.
    """
    folder = replay_folder(record)
    if not holds_calibration(folder):
        raise SpecBranchError(
            f"{record} was made without the replay of its own prompts, which would be in {folder}; run 'specbranch "
            "verify --again'."
        )
    try:
        replay = load_artifact(folder)
        return replay if replay.traces else at_temperature(replay, replay.recorded.temperature or 0.0)
    except CalibrationError as error:
        raise SpecBranchError(
            f"{folder}, the replay of the record's own prompts, is damaged or of another version; run 'specbranch "
            "verify --again'."
        ) from error


def find_compared(verification: Verification, wanted: str | None) -> Compared:
    """The configuration with a number (from 0, in the record's order) or label; none: that of the timeline.

    ConfigurationError if there is none.
    """
    compared = verification.compared
    if wanted is None:
        return _the_one(compared, verification.timeline.configuration.label())
    if wanted.isdecimal() and int(wanted) < len(compared):
        return compared[int(wanted)]
    return _the_one(compared, wanted)


def _the_one(compared: Sequence[Compared], label: str) -> Compared:
    found = next((c for c in compared if label in (c.configuration.label(), in_words(c.configuration))), None)
    if found is None:
        known = ", ".join(f"{i}: {in_words(c.configuration)}" for i, c in enumerate(compared))
        raise ConfigurationError(f"the record has no configuration '{label}'; it has {known}.")
    return found


def find_runs(
    record: Path, verification: Verification, wanted: str | None, prompt: int, worlds: Sequence[World]
) -> list[Run]:
    """A configuration's first run on a prompt in each world.

    The simulator's comes from the record where it is the timeline's, else from the replay of the record's prompts.
    ConfigurationError if the record has no such configuration or prompt; SpecBranchError if it has no replay.
    """
    chosen = find_compared(verification, wanted)
    measured = next((s.run for s in chosen.samples if s.prompt == prompt), None)
    if measured is None:
        count = len(verification.prompts)
        raise ConfigurationError(f"the record has {count} prompts, numbered from 0; there is no {prompt}.")
    runs: dict[World, Run] = {}
    for world in worlds:
        runs[world] = (
            measured if world == "engine" else _simulated(record, verification, chosen.configuration, prompt)
        )
    return list(runs.values())


def _simulated(record: Path, verification: Verification, configuration: Configuration, prompt: int) -> Run:
    shown = verification.timeline
    if (shown.configuration, shown.prompt) == (configuration, prompt):
        return shown.simulated
    (run,) = Replay(open_replay(record), seed=verification.seed, prompts=[prompt]).runs(configuration)
    return run
