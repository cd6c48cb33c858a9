"""What comes along with the program, wherever it is: scenarios by name, and a calibration. Quick to import."""

import difflib
from pathlib import Path

from engine.errors import ConfigurationError

HERE = Path(__file__).parent
REFERENCE = HERE / "reference"
"""The folder of the calibration that comes along."""


def scenario_names() -> list[str]:
    """The names of the scenarios that come along."""
    return sorted(file.stem for file in HERE.glob("*.yaml"))


def find_scenario(given: Path) -> Path:
    """The file that is meant: one that is there, else one that comes along, by its name alone.

    ConfigurationError if it is neither.
    """
    if given.exists() and not given.is_dir():
        return given
    names = scenario_names()
    if str(given) in names:
        return HERE / f"{given}.yaml"
    if given.is_dir():
        from calibrate.file_kinds import (  # here: a shell's completion need not wait
            SCENARIO,
            kind_of,
            other_kind,
        )

        if kind_of(given) and (other := other_kind(given, SCENARIO)):
            raise ConfigurationError(other)
    reason = "it is a folder, and a scenario is a file" if given.is_dir() else "there is no such file"
    nearest = difflib.get_close_matches(given.stem, names, n=1)
    known = (
        f"did you mean '{nearest[0]}', which comes along"
        if nearest
        else f"by name there are {', '.join(names)}"
    )
    raise ConfigurationError(f"the scenario {given} cannot be read: {reason}; {known}.")
