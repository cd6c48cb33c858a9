"""Run every configuration of a scenario over the same texts."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from calibrate.artifact import Artifact
from calibrate.hardware import hardware, same_hardware
from calibrate.provenance import outdated
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import Estimate, Metrics, measure, speed, speed_up
from engine.record import Run
from engine.runtime.placement import PLACEMENTS, Placement
from scenarios.calibrations import open_calibration
from scenarios.schema import ARRIVALS, Scenario
from scenarios.stated_hardware import Hardware
from scenarios.what_if import WhatIf
from sim.acceptance.stated import draw_stated
from sim.costs.durations import Costs, timings
from sim.costs.hardware import HardwareCosts, hardware_costs
from sim.costs.stated import StatedCosts
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.scripts.texts import MANY
from sim.scripts.work import Scripts
from sim.world.replay import Replay
from sim.world.simulation import play_all, record

STATED_PROMPTS, STATED_TOKENS = 60, 128

RunsOf = Callable[[Configuration], list[Run]]


@dataclass(frozen=True)
class Outcome:
    """One configuration under one what-if.

    `speed` in tokens/s; `speed_up` over the best autoregressive placement under the same what-if, paired by
    prompt. `notes`: what a reader has to know, such as extrapolated operations. `far_context`: its texts reach farther
    than its costs were measured (`sim.world.reach`).
    """

    configuration: Configuration
    what_if: WhatIf
    metrics: Metrics
    speed: Estimate
    speed_up: Estimate
    notes: tuple[str, ...] = ()
    far_context: bool = False


OutcomeWithRuns = tuple[Outcome, Sequence[Run]]


def run_scenario(scenario: Scenario, artifact: Artifact | None = None) -> Iterator[Outcome]:
    """Outcomes by what-if, then in the scenario's order; every configuration replays the same texts.

    `artifact`: the calibration to replay, if not the one that the scenario names or finds. ConfigurationError
    or CalibrationError for what the calibration does not hold.
    """
    for outcome, _ in _played(scenario, artifact):
        yield outcome


def first_run(scenario: Scenario, artifact: Artifact | None = None) -> tuple[Configuration, Run]:
    """The first configuration, and its run on the first text under the first what-if; see `run_scenario`."""
    first = {"what_if": scenario.what_if[:1], "configurations": scenario.configurations[:1]}
    outcome, runs = next(_played(scenario.model_copy(update=first), artifact))
    return outcome.configuration, runs[0]


def _played(scenario: Scenario, artifact: Artifact | None) -> Iterator[OutcomeWithRuns]:
    """What-ifs that change nothing but times share the scripts of what is played."""
    if scenario.served:
        raise scenario.error(ARRIVALS, "such requests are served together: sim.sweeps.served simulates them")
    if scenario.stated is not None:
        check_positions(scenario, scenario.workload.prompt_length, scenario.workload.length or STATED_TOKENS)
        scripts = _stated_scripts(scenario)
        for what_if in scenario.what_if:
            yield from _stated(scenario, what_if, scripts)
        return
    artifact = artifact or open_calibration(key=scenario.calibration, costs_from=scenario.costs_from)
    prompts = pick_prompts(scenario, [prompt.kind for prompt in artifact.recorded.prompts])
    work = scenario.workload
    worlds: dict[tuple[float | None, float], Replay] = {}
    for what_if in scenario.what_if:
        key = what_if.alignment, what_if.temperature
        if key not in worlds:
            worlds[key] = Replay(artifact, what_if, work.seed, prompts, work.length)
            check_positions(scenario, worlds[key].longest_text)
            worlds[key].texts.kept = MANY
        yield from _replayed(scenario, worlds[key].under(what_if))


def check_positions(scenario: Scenario, *tokens: int) -> None:
    """ConfigurationError where a text, of so many tokens in its parts, is too long for a model of the hardware."""
    for side, limit in scenario.hardware.positions().items() if scenario.hardware else ():
        if sum(tokens) > limit:
            raise scenario.error(
                ("hardware", side, "roofline", "model"),
                f"it has {limit} positions (max_position_embeddings), and texts with their prompts have up to "
                f"{sum(tokens)} tokens; ask for fewer in 'workload'.",
            )


def best_autoregressive(run: RunsOf, placements: Sequence[Placement]) -> tuple[Configuration, list[Run]]:
    """The placement that decodes autoregressively in the least time, and its runs."""
    tried = [Configuration(policy="autoregressive", placement=placement) for placement in placements]
    return min(((c, run(c)) for c in tried), key=lambda found: sum(r.seconds for r in found[1]))


def _replayed(scenario: Scenario, world: Replay) -> Iterator[OutcomeWithRuns]:
    if scenario.hardware is not None:
        yield from _elsewhere(scenario, scenario.hardware, world.what_if, world.texts.scripts)
        return
    _, baseline = best_autoregressive(world.runs, world.placements)
    measured = world.artifact.costs
    elsewhere = outdated(measured)
    if not same_hardware(measured.hardware, hardware()):
        elsewhere = (f"measured on other hardware: {measured.hardware.get('processor', 'unknown')}",)
    known = world.artifact.remarks + elsewhere
    for configuration in scenario.configurations:
        world.forget_notes()
        runs = world.runs(configuration)
        notes = known + world.far_notes(configuration) + world.notes()
        yield _outcome(configuration, world.what_if, runs, baseline, notes, world.is_far(configuration))


def pick_prompts(scenario: Scenario, kinds: Sequence[str]) -> list[int]:
    """As many prompts of the wanted kinds as wanted, evenly over those there are."""
    work = scenario.workload
    for place, kind in enumerate(work.kinds or ()):
        if kind not in kinds:
            nearest = difflib.get_close_matches(kind, dict.fromkeys(kinds), n=1)
            there = f"did you mean '{nearest[0]}'? " if nearest else ""
            raise scenario.error(
                ("workload", "kinds", place),
                f"the calibration has no prompts of kind '{kind}'; {there}"
                f"its kinds: {', '.join(dict.fromkeys(kinds))}.",
            )
    wanted = [index for index, kind in enumerate(kinds) if work.kinds is None or kind in work.kinds]
    if work.prompts is None:
        return wanted
    if work.prompts > len(wanted):
        of_kinds = " of these kinds" if work.kinds else ""
        raise ConfigurationError(
            f"the workload asks for {work.prompts} prompts, but the calibration recorded {len(wanted)}{of_kinds}; "
            "ask for fewer."
        )
    return [wanted[index * len(wanted) // work.prompts] for index in range(work.prompts)]


def _stated_scripts(scenario: Scenario) -> Callable[[Configuration], Scripts]:
    """What each configuration does along the stated texts."""
    assert scenario.acceptance is not None
    work = scenario.workload
    seeds = range(work.seed, work.seed + (work.prompts or STATED_PROMPTS))
    paths = [draw_stated(scenario.acceptance, work.length or STATED_TOKENS, seed) for seed in seeds]
    prompt = (PROMPT_TOKEN,) * work.prompt_length

    @lru_cache(maxsize=MANY)
    def scripts(configuration: Configuration) -> Scripts:
        return Scripts([write_script(configuration, path, prompt) for path in paths], range(len(paths)))

    return scripts


def _stated(
    scenario: Scenario, what_if: WhatIf, scripts: Callable[[Configuration], Scripts]
) -> Iterator[OutcomeWithRuns]:
    if scenario.hardware is not None:
        yield from _elsewhere(scenario, scenario.hardware, what_if, scripts)
        return
    assert scenario.costs is not None
    costs = StatedCosts.of(scenario.costs.under(what_if))

    def run(configuration: Configuration) -> list[Run]:
        return _run(configuration, costs, what_if, scripts(configuration))

    _, baseline = best_autoregressive(run, PLACEMENTS)
    for configuration in scenario.configurations:
        yield _outcome(configuration, what_if, run(configuration), baseline, ())


def _elsewhere(
    scenario: Scenario,
    hardware: Hardware,
    what_if: WhatIf,
    scripts: Callable[[Configuration], Scripts],
) -> Iterator[OutcomeWithRuns]:
    """Outcomes of any acceptance with the costs of hardware that was not measured here."""

    def run(configuration: Configuration) -> tuple[list[Run], HardwareCosts]:
        costs = hardware_costs(hardware, what_if, configuration.shares_device)
        return _run(configuration, costs, what_if, scripts(configuration)), costs

    _, baseline = best_autoregressive(lambda configuration: run(configuration)[0], ("at-once",))
    for configuration in scenario.configurations:
        runs, costs = run(configuration)
        notes = hardware.notes(configuration.shares_device, "draft" in configuration.uses)
        yield _outcome(configuration, what_if, runs, baseline, notes + costs.notes())


def _run(configuration: Configuration, costs: Costs, what_if: WhatIf, scripts: Scripts) -> list[Run]:
    """One run for each text."""
    shared = configuration.shares_device
    given = timings(scripts, costs, None if shared else what_if.link)
    return [record(played, shared) for played in play_all(scripts, given, costs.contention, shared)]


def _outcome(
    configuration: Configuration,
    what_if: WhatIf,
    runs: Sequence[Run],
    baseline: Sequence[Run],
    notes: tuple[str, ...],
    far_context: bool = False,
) -> OutcomeWithRuns:
    figures = measure(runs), speed(runs), speed_up(runs, baseline)
    return Outcome(configuration, what_if, *figures, notes, far_context), runs
