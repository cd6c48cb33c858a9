"""Which configuration to serve with at each load: all of a grid are served at every load, and a schedule is made of it.

What is best for one request may make sixteen slower. So each configuration serves the same requests at each load, a
few of them at first; those that may be the best there, all of several samples. Of what is tied with the best, the
schedule takes what changes least often.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, stdev

from calibrate.artifact import Artifact
from calibrate.provenance import outdated
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import student
from engine.progress import Progress
from engine.runtime.placement import PLACEMENTS
from engine.runtime.workload import Arrivals, Limits
from engine.service_metrics import NO_LIMITS
from scenarios.schema import Scenario
from scenarios.served import ScenarioWorkload
from scenarios.what_if import WhatIf
from sim.search.grid import Aids, Grid, Restriction, simplicity
from sim.search.processes import usable_processes
from sim.sweeps.load_scores import LoadObjective, LoadScore, ServingScores
from sim.world.replay import NO_CHANGE

# How far behind the best at a load one may be, by a first look, to meet every sample, beside the first few.
LEAD, FIRST = 0.1, 6
SAMPLES = 5
NEGLIGIBLE, MOST = 0.01, 0.03  # shares behind the best: what is always tied with it, and what never is

# Every method, but fewer values of each than for one request at a time.
LOAD_GRID = Grid(
    policies=("autoregressive", "prompt-lookup", "speculative", "adaedl", "pearl", "specbranch", "echo"),
    draft_lengths=(1, 2, 3, 4, 6, 8),
    branches=(1, 2, 4),
    adaptive_branches=(True,),
    cuts=(0.0, 0.4),
    bounds=(0.4,),
    aids=(Aids(), Aids(guesses=2, repeats=7)),
)


@dataclass(frozen=True)
class LoadResult:
    """What was found at a load: all that met every sample, best first; those `tied` with the best, and the `chosen`.

    `autoregressive`: the best placement of it.
    """

    arrivals: Arrivals
    scores: tuple[LoadScore, ...]
    tied: tuple[LoadScore, ...]
    chosen: LoadScore
    autoregressive: LoadScore


@dataclass(frozen=True)
class Stretch:
    """Loads from `first` on, up to `last` (None: as far as it goes), that one configuration serves."""

    first: float
    last: float | None
    configuration: Configuration


@dataclass(frozen=True)
class Schedule:
    """A configuration for each load, in `stretches` of users or, where `by_rate`, of requests a second.

    `searched`: how many configurations.
    """

    results: tuple[LoadResult, ...]
    stretches: tuple[Stretch, ...]
    by_rate: bool
    objective: LoadObjective
    limits: Limits
    searched: int
    samples: int
    notes: tuple[str, ...] = ()


def schedule_by_load(
    artifact: Artifact,
    loads: Sequence[Arrivals],
    grid: Grid = LOAD_GRID,
    *,
    objective: LoadObjective = "tokens-per-second",
    limits: Limits = NO_LIMITS,
    what_if: WhatIf = NO_CHANGE,
    tokens: int | None = None,
    samples: int = SAMPLES,
    sequences: int = 64,
    only: Restriction | None = None,
    one_method: bool = False,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Schedule:
    """Choose for each load, all of users or all of rates, by a calibration with batches.

    `tokens`: of each text, at most; `sequences`: requests that run at once; `only`: what else a configuration has to
    be. With `one_method` whatever drafts does so by the same method, draft and placement at all loads. `jobs`:
    processes (none: one for each core). ConfigurationError if nothing is to be searched; CalibrationError where costs
    were not measured.
    """
    by_rate = _kind_of(loads)
    loads = sorted(dict.fromkeys(loads), key=_size)
    placements = [
        placement
        for placement in PLACEMENTS
        if placement != "threads" and any(c.placement == placement for c in artifact.costs.placements)
    ]
    drafts = tuple(artifact.recorded.drafts)
    alone = [Configuration(policy="autoregressive", placement=placement) for placement in placements]
    configurations = [c for c in grid.configurations(drafts, placements) if only is None or only.allows(c)]
    everything = list(dict.fromkeys([*alone, *configurations]))
    work = ScenarioWorkload(arrivals=tuple(loads), limits=limits, samples=samples, seed=seed, tokens=tokens)
    scenario = Scenario(title="by load", workload=work, what_if=(what_if,), configurations=tuple(everything))
    course = ServingScores(scenario, artifact, objective, sequences, jobs or usable_processes(), progress)
    few = course.scores({c: loads for c in everything}, full=False)
    groups = _methods(everything) if one_method else [everything]
    left: dict[Configuration, list[Arrivals]] = {}
    for load in loads:
        leaders = [c for group in groups for c in _leaders([few[c, load] for c in group])]
        for configuration in dict.fromkeys([*alone, *leaders]):
            left.setdefault(configuration, []).append(load)
    found = course.scores(left, full=True)
    ranked = [
        sorted(
            (score for (_, at), score in found.items() if at == load),
            key=lambda score: (-score.value, simplicity(score.configuration), score.configuration.label()),
        )
        for load in loads
    ]
    if one_method:
        ranked = _of_one_method(ranked, groups, alone)
    ties = [_tied(scores) for scores in ranked]
    chosen = fewest_changes([[score.configuration for score in tied] for tied in ties])
    results = tuple(
        LoadResult(
            load,
            tuple(scores),
            tuple(tied),
            next(score for score in tied if score.configuration == mine),
            max((score for score in scores if score.configuration in alone), key=lambda score: score.value),
        )
        for load, scores, tied, mine in zip(loads, ranked, ties, chosen, strict=True)
    )
    return Schedule(
        results,
        tuple(_stretches(course, results, by_rate=by_rate)),
        by_rate,
        objective,
        limits,
        len(everything),
        samples,
        (
            *(only.notes if only else ()),
            *artifact.remarks,
            *outdated(artifact.costs),
            *course.notes([(result.chosen.configuration, result.arrivals) for result in results]),
        ),
    )


def _kind_of(loads: Sequence[Arrivals]) -> bool:
    """Whether loads are rates. ConfigurationError if they are of two kinds, traces, or none."""
    if loads and all(load.rate is not None for load in loads):
        return True
    if loads and all(load.users is not None for load in loads):
        return False
    raise ConfigurationError(
        "a schedule is by numbers of users, or by requests a second; name one or more of them."
    )


def _size(load: Arrivals) -> float:
    size = load.rate if load.rate is not None else load.users
    assert size is not None
    return size


def _leaders(scores: Sequence[LoadScore]) -> list[Configuration]:
    """Those that may be the best at a load, by a first look."""
    ordered = sorted(scores, key=lambda score: -score.value)
    best = ordered[0].value
    return [
        score.configuration
        for place, score in enumerate(ordered)
        if place < FIRST or score.value >= best - LEAD * abs(best)
    ]


def _methods(configurations: Sequence[Configuration]) -> list[list[Configuration]]:
    """Those that draft by one method, with one draft and in one placement, and those that do not draft."""
    groups: dict[tuple[str, str | None, str], list[Configuration]] = {}
    for c in configurations:
        groups.setdefault((c.policy, c.draft, c.placement) if c.drafts else ("", None, ""), []).append(c)
    return list(groups.values())


def _of_one_method(
    ranked: Sequence[Sequence[LoadScore]],
    groups: Sequence[Sequence[Configuration]],
    alone: Sequence[Configuration],
) -> list[list[LoadScore]]:
    """What is ranked of one method and of decoding alone: the method that loses least where it loses most."""

    def kept(group: Sequence[Configuration]) -> list[list[LoadScore]]:
        allowed = {*group, *alone}
        return [[score for score in scores if score.configuration in allowed] for scores in ranked]

    def loss(group: Sequence[Configuration]) -> float:
        return max(
            (all_[0].value - mine[0].value) / (abs(all_[0].value) or 1.0)
            for all_, mine in zip(ranked, kept(group), strict=True)
        )

    return kept(min(groups, key=loss))


def _tied(scores: Sequence[LoadScore]) -> list[LoadScore]:
    """Those of a load that are as good as the best, for all that is known: paired by sample."""
    best = scores[0]
    found = []
    for score in scores:
        behind = [theirs - mine for mine, theirs in zip(score.values, best.values, strict=True)]
        mean, share = fmean(behind), abs(best.value)
        half = student(len(behind) - 1) * stdev(behind) / sqrt(len(behind)) if len(behind) > 1 else 0.0
        if mean <= NEGLIGIBLE * share or (mean <= half and mean <= MOST * share):
            found.append(score)
    return found


def fewest_changes(tied: Sequence[Sequence[Configuration]]) -> list[Configuration]:
    """Of what is tied at each load, best first, one each, so that neighbours differ as seldom as can be.

    Whatever holds longest from the first load on is taken, the simplest where several do; then again behind it. No
    other way has fewer changes: wherever one changes first, this one is as far or farther.
    """
    chosen: list[Configuration] = []
    while len(chosen) < len(tied):
        here = len(chosen)
        held = {c: _held(c, tied[here:]) for c in tied[here]}
        longest = max(held.values())
        mine = min(
            (c for c in held if held[c] == longest), key=lambda c: (simplicity(c), tied[here].index(c))
        )
        chosen += [mine] * longest
    return chosen


def _held(configuration: Configuration, tied: Sequence[Sequence[Configuration]]) -> int:
    """At how many of these loads it is among the tied, from the first on."""
    count = 0
    for some in tied:
        if configuration not in some:
            break
        count += 1
    return count


def _stretches(course: "ServingScores", results: Sequence[LoadResult], *, by_rate: bool) -> Iterator[Stretch]:
    """Where one choice ends and the next begins; of users, by serving both at the loads between."""
    begin = 1.0 if not by_rate else 0.0
    for before, after in pairwise(results):
        mine, theirs = before.chosen.configuration, after.chosen.configuration
        if mine == theirs:
            continue
        low, high = _size(before.arrivals), _size(after.arrivals)
        if by_rate:
            end = following = sqrt(low * high)
        else:
            end = course.last_of(mine, theirs, int(low), int(high))
            following = end + 1
        yield Stretch(begin, end, mine)
        begin = following
    yield Stretch(begin, None, results[-1].chosen.configuration)
