"""A scenario's outcomes, worked out by several processes at once."""

from collections.abc import Callable, Iterable, Iterator

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from scenarios.schema import Scenario
from scenarios.what_if import WhatIf
from sim.search.backends import results_as
from sim.sweeps.run import Outcome, run_scenario

PIECES = 4  # for each process at least, so that none waits long for the last one
MOST = 16  # configurations in a piece, so that little is lost if a sweep is interrupted
FEW = 40  # outcomes, for which starting processes takes longer than they save

Skip = Callable[[WhatIf, Configuration], bool]


def parts(
    scenario: Scenario, skip: Skip = lambda what_if, configuration: False, count: int = 1
) -> list[Scenario]:
    """The scenario in about `count` pieces or more, without what is to be skipped.

    A piece has some of the configurations under each what-if that they are left to do under, since what-ifs share what
    policies do along the texts.
    """
    left: dict[tuple[WhatIf, ...], list[Configuration]] = {}
    for configuration in scenario.configurations:
        what_ifs = tuple(what_if for what_if in scenario.what_if if not skip(what_if, configuration))
        if what_ifs:
            left.setdefault(what_ifs, []).append(configuration)
    size = min(MOST, max(1, -(-sum(map(len, left.values())) // count)))
    return [
        scenario.model_copy(update={"what_if": what_ifs, "configurations": tuple(some[begin : begin + size])})
        for what_ifs, some in left.items()
        for begin in range(0, len(some), size)
    ]


def sweep(
    scenario: Scenario,
    artifact: Artifact | None = None,
    *,
    jobs: int | None = None,
    skip: Skip = lambda what_if, configuration: False,
) -> Iterator[Outcome]:
    """What `run_scenario` yields, but for what is to be skipped, as it is done; see `in_order`.

    `jobs`: processes (none: one for each core). Run within `sim.search.backends.backend` to spread them over a cluster.
    """
    whole = parts(scenario, skip)
    if jobs == 1 or sum(piece.outcomes for piece in whole) <= FEW:
        for piece in whole:
            yield from run_scenario(piece, artifact)
        return
    import joblib  # type: ignore[import-untyped]  # see sim.search.backends

    processes = joblib.effective_n_jobs(jobs or -1)
    pieces = parts(scenario, skip, PIECES * processes)
    parallel = joblib.Parallel(n_jobs=jobs or -1, return_as=results_as("generator_unordered"))
    for outcomes in parallel(joblib.delayed(_outcomes)(piece, artifact) for piece in pieces):
        yield from outcomes


def in_order(scenario: Scenario, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """By what-if, then by configuration, as the scenario names them."""
    what_ifs = {what_if: place for place, what_if in enumerate(scenario.what_if)}
    configurations = {configuration: place for place, configuration in enumerate(scenario.configurations)}
    return sorted(outcomes, key=lambda o: (what_ifs[o.what_if], configurations[o.configuration]))


def _outcomes(piece: Scenario, artifact: Artifact | None) -> list[Outcome]:
    """Runs in a worker process."""
    return list(run_scenario(piece, artifact))
