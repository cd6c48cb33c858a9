"""Run every configuration of a scenario over the same texts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from calibrate.artifact import Artifact
from calibrate.hardware import hardware, same_hardware
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import Estimate, Metrics, measure, speed, speed_up
from engine.placement import PLACEMENTS, Placement
from engine.policies import load_policy
from engine.record import Run
from scenarios.calibrations import open_calibration
from scenarios.schema import Scenario, Workload
from sim.acceptance import IndependentAcceptance
from sim.replay import Replay, replay
from sim.what_if import WhatIf
from sim.world import PROMPT_TOKEN, Setting, play, record

__all__ = ["Outcome", "best_autoregressive", "replay", "run_scenario"]

STATED_PROMPTS, STATED_TOKENS = 60, 128

Runner = Callable[[Configuration], list[Run]]


@dataclass(frozen=True)
class Outcome:
    """One configuration under one what-if.

    `speed` in tokens/s; `speed_up` over the best autoregressive placement under the same what-if, paired by
    prompt. `notes`: what a reader has to know, such as extrapolated operations.
    """

    configuration: Configuration
    what_if: WhatIf
    metrics: Metrics
    speed: Estimate
    speed_up: Estimate
    notes: tuple[str, ...] = ()


def run_scenario(scenario: Scenario, artifact: Artifact | None = None) -> Iterator[Outcome]:
    """Outcomes by what-if, then in the scenario's order; every configuration replays the same texts.

    `artifact`: the calibration to replay, if not the one that the scenario names or finds. ConfigurationError
    or CalibrationError for what the calibration does not hold.
    """
    if scenario.stated is None and artifact is None:
        artifact = open_calibration(key=scenario.calibration)
    for what_if in scenario.what_if:
        if artifact is None or scenario.stated is not None:
            yield from _stated(scenario, what_if)
        else:
            yield from _replayed(scenario, artifact, what_if)


def best_autoregressive(run: Runner, placements: Sequence[Placement]) -> tuple[Configuration, list[Run]]:
    """The placement that decodes autoregressively in the least time, and its runs."""
    tried = [Configuration(policy="autoregressive", placement=placement) for placement in placements]
    return min(((c, run(c)) for c in tried), key=lambda found: sum(r.seconds for r in found[1]))


def _replayed(scenario: Scenario, artifact: Artifact, what_if: WhatIf) -> Iterator[Outcome]:
    work = scenario.workload
    prompts = _spread(work, len(artifact.traces))
    world = Replay(artifact, what_if, work.seed, prompts, work.tokens)
    _, baseline = best_autoregressive(world.runs, world.placements)
    elsewhere: tuple[str, ...] = ()
    if not same_hardware(artifact.calibration.hardware, hardware()):
        elsewhere = (
            f"measured on other hardware: {artifact.calibration.hardware.get('processor', 'unknown')}",
        )
    for configuration in scenario.configurations:
        world.forget_notes()
        runs = world.runs(configuration)
        yield _outcome(configuration, what_if, runs, baseline, elsewhere + world.notes())


def _spread(work: Workload, available: int) -> list[int] | None:
    """As many prompts as wanted, evenly over those there are, so that every kind of text is among them."""
    if work.prompts is None:
        return None
    if work.prompts > available:
        raise ConfigurationError(
            f"the workload asks for {work.prompts} prompts, but the calibration recorded {available}; ask for fewer."
        )
    return [index * available // work.prompts for index in range(work.prompts)]


def _stated(scenario: Scenario, what_if: WhatIf) -> Iterator[Outcome]:
    assert scenario.stated is not None
    work, (acceptance, costs) = scenario.workload, scenario.stated
    seeds = range(work.seed, work.seed + (work.prompts or STATED_PROMPTS))
    paths = [
        IndependentAcceptance.draw(work.tokens or STATED_TOKENS, acceptance.independent, seed)
        for seed in seeds
    ]

    def run(configuration: Configuration) -> list[Run]:
        shared = configuration.placement == "in-turn" and "draft" in configuration.uses
        setting = Setting(costs.under(what_if), shared, (PROMPT_TOKEN,) * work.prompt_tokens, what_if.link)
        decode = load_policy(configuration.policy)
        if "longest_match" in configuration.uses:
            raise ConfigurationError(
                f"'{configuration.policy}' looks for repetitions in real text; replay a calibration instead of "
                "stated acceptance and costs."
            )
        return [record(play(configuration, decode, path, setting), setting) for path in paths]

    _, baseline = best_autoregressive(run, PLACEMENTS)
    for configuration in scenario.configurations:
        yield _outcome(configuration, what_if, run(configuration), baseline, ())


def _outcome(
    configuration: Configuration,
    what_if: WhatIf,
    runs: Sequence[Run],
    baseline: Sequence[Run],
    notes: tuple[str, ...],
) -> Outcome:
    return Outcome(
        configuration,
        what_if,
        measure(runs),
        speed(runs),
        speed_up(runs, baseline),
        notes,
    )
