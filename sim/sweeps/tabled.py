"""Sweeps that a table remembers: what it holds is not simulated again, and what is done is written down at once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from scenarios.schema import Scenario
from scenarios.what_if import WhatIf
from sim.sweeps.results import Row, key_of, merge, read_table, row_key, row_of, write_table
from sim.sweeps.run import Outcome
from sim.sweeps.sweep import Skip, in_order, parts, sweep


@dataclass
class Tabled:
    """A table, if there is one (`path`), of sweeps over a calibration, or over none."""

    path: Path | None
    artifact: Artifact | None
    rows: list[Row]

    @classmethod
    def open(cls, path: Path | None, artifact: Artifact | None) -> "Tabled":
        """With what is in the table already. SpecBranchError if the file is no such table."""
        return cls(path, artifact, read_table(path) if path else [])

    def left(self, scenario: Scenario) -> int:
        """How many outcomes of a scenario the table does not hold."""
        return sum(piece.outcomes for piece in parts(scenario, self._holds(scenario)))

    def sweep(self, scenario: Scenario, jobs: int | None, done: Callable[[Outcome], None]) -> list[Outcome]:
        """Those outcomes, in the scenario's order; `done` hears of each when it is, and in the table."""
        outcomes = []
        for outcome in sweep(scenario, self.artifact, jobs=jobs, skip=self._holds(scenario)):
            outcomes.append(outcome)
            if self.path:
                self.rows = merge([self.rows, [row_of(self._digest, scenario, outcome)]])
                write_table(self.path, self.rows)
            done(outcome)
        return in_order(scenario, outcomes)

    @property
    def _digest(self) -> str:
        return self.artifact.digest if self.artifact else ""

    def _holds(self, scenario: Scenario) -> Skip:
        digest, known = self._digest, {row_key(row) for row in self.rows}

        def held(what_if: WhatIf, configuration: Configuration) -> bool:
            return key_of(digest, scenario, what_if, configuration) in known

        return held
