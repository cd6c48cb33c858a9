"""What comes along with the program, wherever it is: scenarios by name, and a calibration. Quick to import."""

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
    if given.exists():
        return given
    names = scenario_names()
    if str(given) in names:
        return HERE / f"{given}.yaml"
    raise ConfigurationError(
        f"the scenario {given} cannot be read: there is no such file. By their names alone there are "
        f"{', '.join(names)}."
    )
