"""A scenario file that names one kind of hardware, or none."""

from pathlib import Path

from scenarios.schema import Scenario, load_scenarios


def load_scenario(path: Path) -> Scenario:
    """The file's only scenario."""
    (scenario,) = load_scenarios(path)
    return scenario
