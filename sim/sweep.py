"""A scenario's outcomes, worked out by several processes at once."""

from collections.abc import Callable, Iterator

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from scenarios.schema import Scenario
from sim.backends import results_as
from sim.run import Outcome, run_scenario
from sim.what_if import WhatIf

PART = 4  # configurations that one process takes at a time; each part replays the baseline again
FEW = 40  # outcomes, for which starting processes takes longer than they save

Skip = Callable[[WhatIf, Configuration], bool]


def parts(scenario: Scenario, skip: Skip = lambda what_if, configuration: False) -> list[Scenario]:
    """The scenario in pieces of one what-if each, without what is to be skipped."""
    found = []
    for what_if in scenario.what_if:
        left = [c for c in scenario.configurations if not skip(what_if, c)]
        for begin in range(0, len(left), PART):
            some = tuple(left[begin : begin + PART])
            found.append(scenario.model_copy(update={"what_if": (what_if,), "configurations": some}))
    return found


def sweep(
    scenario: Scenario,
    artifact: Artifact | None = None,
    *,
    jobs: int | None = None,
    skip: Skip = lambda what_if, configuration: False,
) -> Iterator[Outcome]:
    """What `run_scenario` yields, in its order, but for what is to be skipped.

    `jobs`: processes (none: one for each core). Run within `sim.backends.backend` to spread them over a cluster.
    """
    pieces = parts(scenario, skip)
    if jobs == 1 or sum(piece.outcomes for piece in pieces) <= FEW:
        for piece in pieces:
            yield from run_scenario(piece, artifact)
        return
    import joblib  # type: ignore[import-untyped]  # see sim.backends

    parallel = joblib.Parallel(n_jobs=jobs or -1, return_as=results_as("generator"))
    for outcomes in parallel(joblib.delayed(_outcomes)(piece, artifact) for piece in pieces):
        yield from outcomes


def _outcomes(piece: Scenario, artifact: Artifact | None) -> list[Outcome]:
    """Runs in a worker process."""
    return list(run_scenario(piece, artifact))
