"""What came of one load by one configuration, simulated or by the engine, and which of two did better. Torch-free.

In a closed loop a faster server answers more, and configurations are ranked by tokens/s. Requests that arrive by
themselves are answered sooner or later, but until the server is full no more of them: there, by the 95th percentile of
the time from a request's arrival to its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.configuration import Configuration
from engine.metrics import Estimate, ratio_of_sums
from engine.runtime.workload import Arrivals
from engine.service_metrics import ServiceMetrics, Timeline, estimates
from scenarios.served import Batching
from scenarios.what_if import WhatIf
from sim.world.replay import NO_CHANGE


@dataclass(frozen=True)
class ServedOutcome:
    """One configuration under one load and, if it was simulated, one what-if.

    `samples`: metrics of each sample of the requests; `timeline` is the first sample's. `accepted_length`: tokens
    written per target forward, over all samples. `extrapolated`: the share of the time of its simulated forwards whose
    costs go beyond what was measured (`sim.sweeps.served.CostsOf`). `notes`: what a reader has to know.
    """

    configuration: Configuration
    batching: Batching
    arrivals: Arrivals
    samples: tuple[ServiceMetrics, ...]
    figures: dict[str, Estimate]
    timeline: Timeline
    accepted_length: float
    what_if: WhatIf = NO_CHANGE
    extrapolated: float = 0.0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        batching: Batching,
        arrivals: Arrivals,
        samples: Sequence[ServiceMetrics],
        timeline: Timeline,
        rounds: int,
        what_if: WhatIf = NO_CHANGE,
        extrapolated: float = 0.0,
        notes: Sequence[str] = (),
    ) -> "ServedOutcome":
        """Of services of one sample each, in whose `rounds` in all their tokens were written.

        `figures` are the samples' means with 95% intervals, where there are several (`estimates`).
        """
        return cls(
            configuration,
            batching,
            arrivals,
            tuple(samples),
            estimates(samples),
            timeline,
            sum(metrics.tokens for metrics in samples) / rounds,
            what_if,
            extrapolated,
            tuple(notes),
        )


@dataclass(frozen=True)
class Objective:
    """What ranks configurations at a load; of `figure` (higher is better), or of its inverse."""

    name: str
    figure: Callable[[ServiceMetrics], float]
    inverse: bool = False

    def worth(self, outcome: ServedOutcome) -> float:
        """What ranks an outcome; more is better."""
        total = sum(self.figure(metrics) for metrics in outcome.samples)
        return -total if self.inverse else total


THROUGHPUT = Objective("tokens/s", lambda m: m.tokens_per_second)
END_TO_END = Objective("time to the end, 95th percentile", lambda m: m.end_to_end.p95, inverse=True)


def objective_at(arrivals: Arrivals) -> Objective:
    """What ranks configurations where requests arrive so."""
    return THROUGHPUT if arrivals.users is not None else END_TO_END


def gain(one: ServedOutcome, rival: ServedOutcome, objective: Objective) -> Estimate:
    """How many times as good as its rival a configuration is; both served the same samples of the requests."""
    mine, theirs = ([objective.figure(m) for m in outcome.samples] for outcome in (one, rival))
    return ratio_of_sums(theirs, mine) if objective.inverse else ratio_of_sums(mine, theirs)


def best_autoregressive(outcomes: Sequence[ServedOutcome]) -> ServedOutcome | None:
    """Of outcomes at one load, the best of those that do not speculate, by what ranks them there; None: there is none.

    Of two that are as good, the first.
    """
    alone = [outcome for outcome in outcomes if not outcome.configuration.drafts]
    return max(alone, key=objective_at(alone[0].arrivals).worth) if alone else None
