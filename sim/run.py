"""Run every configuration of a scenario over the same paths."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.policies.settings import Settings
from scenarios.schema import Candidate, Scenario
from sim.acceptance import IndependentAcceptance
from sim.metrics import Metrics, measure, speed_up
from sim.world import SimulatedRun, simulate


@dataclass(frozen=True)
class Outcome:
    """One configuration's metrics and its speed-up over autoregressive decoding, with a 95% interval."""

    configuration: Candidate
    metrics: Metrics
    speed_up: float
    speed_up_low: float
    speed_up_high: float


def run_scenario(scenario: Scenario) -> Iterator[Outcome]:
    """Outcomes in the scenario's order; every configuration replays the same paths."""
    work = scenario.workload
    paths = [
        IndependentAcceptance.draw(work.tokens, scenario.acceptance.independent, seed)
        for seed in range(work.seed, work.seed + work.prompts)
    ]

    def replay(settings: Settings, in_turn: bool) -> list[SimulatedRun]:
        return [
            simulate(settings, p, scenario.costs, in_turn=in_turn, prompt_tokens=work.prompt_tokens)
            for p in paths
        ]

    baseline = replay(Settings(policy="autoregressive"), False)
    for configuration in scenario.configurations:
        runs = replay(configuration, configuration.placement == "in-turn")
        ratio, (low, high) = speed_up(runs, baseline)
        yield Outcome(configuration, measure(runs), ratio, low, high)
