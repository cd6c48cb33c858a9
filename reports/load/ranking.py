"""Which configuration is the best at each load, and by how much (`sim.sweeps.served_outcome`). Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.configuration import Configuration
from engine.metrics import Estimate
from engine.naming import in_words
from engine.runtime.workload import Arrivals
from reports.wording import has_interval
from scenarios.schema import Scenario
from scenarios.served import Batching
from sim.sweeps.served_outcome import Objective, ServedOutcome, best_autoregressive, gain, objective_at

EVEN = 0.01  # a gain below which nobody would change a configuration


@dataclass(frozen=True)
class Rank:
    """A configuration at a load: its gain over the best autoregressive set-up there (none without one).

    `behind`: the gain of the best one over it; `tied`: they are not told apart by the samples. `measured`: what the
    engine did of it, where it was asked, and `measured_gain` its gain there over the same set-up.
    """

    outcome: ServedOutcome
    gain: Estimate | None
    behind: Estimate
    tied: bool
    measured: ServedOutcome | None = None
    measured_gain: Estimate | None = None


@dataclass(frozen=True)
class Load:
    """All configurations at one load, the best first."""

    arrivals: Arrivals
    objective: Objective
    ranks: tuple[Rank, ...]

    @property
    def best(self) -> Rank:
        """The first of them."""
        return self.ranks[0]

    def rank(self, outcome: ServedOutcome) -> Rank:
        """That of one of its outcomes."""
        return next(rank for rank in self.ranks if rank.outcome is outcome)


@dataclass(frozen=True)
class Setting:
    """Loads under one hardware, what-if and batching, in the scenario's order; `name` tells it from the others."""

    name: str
    loads: tuple[Load, ...]


def settings(
    served: Sequence[tuple[Scenario, Sequence[ServedOutcome]]], measured: Sequence[ServedOutcome] = ()
) -> tuple[Setting, ...]:
    """Outcomes of one scenario, or of the same one on several kinds of hardware, by setting and load.

    `measured`: what the engine did of some of them.
    """
    known = {_key(outcome): outcome for outcome in measured}
    found = []
    for scenario, outcomes in served:
        hardware = scenario.hardware.name if scenario.hardware and len(served) > 1 else ""
        for (what_if, batching), its in groupby(outcomes, key=lambda o: (o.what_if, o.batching)):
            parts = (hardware, what_if.label(), batching.label())
            loads = tuple(
                _load(arrivals, list(mine), known)
                for arrivals, mine in groupby(its, key=lambda o: o.arrivals)
            )
            found.append(Setting("; ".join(part for part in parts if part), loads))
    return tuple(found)


_Key = tuple[Configuration, Batching, Arrivals]


def _key(outcome: ServedOutcome) -> _Key:
    return outcome.configuration, outcome.batching, outcome.arrivals


def _load(
    arrivals: Arrivals, outcomes: Sequence[ServedOutcome], measured: Mapping[_Key, ServedOutcome]
) -> Load:
    objective = objective_at(arrivals)
    ordered = sorted(outcomes, key=objective.worth, reverse=True)
    alone = best_autoregressive(ordered)
    real_alone = measured.get(_key(alone)) if alone else None
    ranks = []
    for outcome in ordered:
        real = measured.get(_key(outcome))
        behind = gain(ordered[0], outcome, objective)
        tied = outcome is ordered[0] or (has_interval(behind) and behind.low <= 1.0)
        ranks.append(
            Rank(
                outcome,
                gain(outcome, alone, objective) if alone else None,
                behind,
                tied,
                real,
                gain(real, real_alone, objective) if real and real_alone else None,
            )
        )
    return Load(arrivals, objective, tuple(ranks))


def schedule(setting: Setting) -> str:
    """Which configuration at which loads, in words: neighbours with the same best one are named together."""
    runs = [
        (name, list(its))
        for name, its in groupby(setting.loads, key=lambda load: name_of(load.best.outcome, setting))
    ]
    if len(runs) == 1:
        name, loads = runs[0]
        return f"{name} at every load" if len(loads) > 1 else f"{name} with {loads[0].arrivals.label()}"
    return "; ".join(f"{_span([load.arrivals for load in loads])}: {name}" for name, loads in runs)


def name_of(outcome: ServedOutcome, setting: Setting) -> str:
    """A configuration as the page names it: with its placement where that tells configurations apart."""
    drafting = {
        rank.outcome.configuration.placement
        for load in setting.loads
        for rank in load.ranks
        if "draft" in rank.outcome.configuration.uses
    }
    alone = {
        rank.outcome.configuration.placement
        for load in setting.loads
        for rank in load.ranks
        if not rank.outcome.configuration.drafts
    }
    its = outcome.configuration
    among = drafting if "draft" in its.uses else alone
    return in_words(its, placed=len(among) > 1)


def _span(arrivals: Sequence[Arrivals]) -> str:
    """Neighbouring loads in few words."""
    first, last = arrivals[0], arrivals[-1]
    if len(arrivals) == 1:
        return first.label()
    if first.users is not None and last.users is not None:
        return f"{first.users} to {last.label()}"
    if first.rate is not None and last.rate is not None:
        return f"{first.rate:g} to {last.label()}"
    return f"{first.label()} to {last.label()}"
