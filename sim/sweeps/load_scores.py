"""How configurations serve loads, by an objective, spread over processes that never import torch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from statistics import fmean
from typing import Literal
from uuid import uuid4

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.metrics import Estimate, ratio_of_sums
from engine.progress import Progress
from engine.runtime.workload import Arrivals
from engine.service_metrics import ServiceMetrics, estimates, measure_service
from scenarios.schema import Scenario
from scenarios.served import Batching
from sim.search.backends import results_as
from sim.search.processes import no_collections, parts
from sim.sweeps.served import ServingWorld

LoadObjective = Literal["tokens-per-second", "goodput", "p95-token-seconds"]

# What an objective makes large.
VALUES: dict[LoadObjective, Callable[[ServiceMetrics], float]] = {
    "tokens-per-second": lambda metrics: metrics.tokens_per_second,
    "goodput": lambda metrics: metrics.goodput,
    "p95-token-seconds": lambda metrics: -metrics.token.p95,
}

# Requests of a load for each user, and at least: of the first sample at a first look, and of every sample.
FEW, ALL, FEWEST = 2, 8, (8, 24)


@dataclass(frozen=True)
class LoadScore:
    """How a configuration served a load, by sample, and its `values` by the objective, of which more is better."""

    configuration: Configuration
    samples: tuple[ServiceMetrics, ...]
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """In the mean over samples."""
        return fmean(self.values)

    @property
    def figures(self) -> dict[str, Estimate]:
        """As `engine.service_metrics.estimates`."""
        return estimates(self.samples)

    def over(self, other: "LoadScore") -> Estimate:
        """How many times its tokens/s are another's, with the 95% interval over samples."""
        mine, theirs = ([s.tokens_per_second for s in its.samples] for its in (self, other))
        return ratio_of_sums(mine, theirs)


def batching_for(configuration: Configuration, sequences: int) -> Batching:
    """In lockstep where both models take turns on one device, as servers do; else whatever waits runs."""
    return Batching(discipline="lockstep" if configuration.shares_device else "ready", sequences=sequences)


Scores = dict[tuple[Configuration, Arrivals], LoadScore]


@dataclass
class ServingScores:
    """What all configurations of a search are scored by: the first what-if and the workload of `scenario`.

    `sequences`: requests that run at once; `name`: like no other's.
    """

    scenario: Scenario
    artifact: Artifact
    objective: LoadObjective
    sequences: int
    processes: int
    progress: Progress | None = None
    name: str = field(default_factory=lambda: uuid4().hex)
    _done: int = 0
    _total: int = 0

    def scores(self, wanted: dict[Configuration, list[Arrivals]], *, full: bool) -> Scores:
        """Each configuration at its loads: the first few requests of a sample or, `full`, all of all samples."""
        self._total += len(wanted)
        shares = list(parts(list(wanted), self.processes))
        sent = _Sent(self.name, ServingWorld(self.scenario, self.artifact))
        tasks = [([(c, wanted[c]) for c in share], sent, self.sequences, full) for share in shares]
        finished: Iterable[_Served]
        if self.processes == 1:
            finished = (_serve_part(*task) for task in tasks)
        else:
            import joblib  # type: ignore[import-untyped]

            parallel = joblib.Parallel(n_jobs=self.processes, return_as=results_as("generator_unordered"))
            finished = parallel(joblib.delayed(_serve_part)(*task) for task in tasks)
        value, found = VALUES[self.objective], {}
        for served in finished:
            for (configuration, load), samples in served.items():
                values = tuple(each if isfinite(each := value(metrics)) else 0.0 for metrics in samples)
                found[configuration, load] = LoadScore(configuration, samples, values)
            self._done += len({configuration for configuration, _ in served})
            if self.progress:
                self.progress(self._done, self._total)
        return found

    def last_of(self, mine: Configuration, theirs: Configuration, low: int, high: int) -> int:
        """Up to how many users the one is as good as the other, if it is for `low` and not for `high`."""
        while high - low > 1:
            middle = Arrivals(users=(low + high) // 2)
            both = self.scores({mine: [middle], theirs: [middle]}, full=True)
            if both[mine, middle].value >= both[theirs, middle].value:
                low = (low + high) // 2
            else:
                high = (low + high) // 2
        return low

    def notes(self, served: Sequence[tuple[Configuration, Arrivals]]) -> tuple[str, ...]:
        """What a reader has to know of the costs of these configurations at these loads."""
        world, said = ServingWorld(self.scenario, self.artifact), dict[str, None]()
        for configuration, load in served:
            what_if, batching = self.scenario.what_if[0], batching_for(configuration, self.sequences)
            found = world.serve(configuration, what_if, batching, load, count=_count(load, full=False))
            said |= dict.fromkeys(world.costs.beyond(configuration, [found]).notes)
        return tuple(said)


@dataclass(frozen=True)
class _Sent:
    """A world on its way to another process, which keeps the first one of a name and what it has prepared."""

    name: str
    world: ServingWorld = field(compare=False)


_Served = dict[tuple[Configuration, Arrivals], tuple[ServiceMetrics, ...]]


@lru_cache(maxsize=1)
def _opened(sent: _Sent) -> ServingWorld:
    return sent.world


def _count(load: Arrivals, *, full: bool) -> int:
    """How many requests are served at a load."""
    each, fewest = (ALL, FEWEST[1]) if full else (FEW, FEWEST[0])
    return max(fewest, each * load.users) if load.users is not None else 4 * fewest


def _serve_part(
    wanted: Sequence[tuple[Configuration, Sequence[Arrivals]]], sent: _Sent, sequences: int, full: bool
) -> _Served:
    """Runs in a worker process."""
    world, found = _opened(sent), {}
    scenario = world.scenario
    with no_collections():
        for configuration, loads in wanted:
            batching = batching_for(configuration, sequences)
            for load in loads:
                found[configuration, load] = tuple(
                    measure_service(
                        world.serve(
                            configuration,
                            scenario.what_if[0],
                            batching,
                            load,
                            sample,
                            _count(load, full=full),
                            kept=False,
                        ),
                        scenario.workload.limits,
                    )
                    for sample in range(scenario.workload.samples if full else 1)
                )
    return found
