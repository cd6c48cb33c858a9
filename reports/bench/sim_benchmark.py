"""How fast the simulator is: what a replay costs by policy, how that grows, and what SimPy alone would take."""

import cProfile
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import median

import numpy as np
import simpy

from calibrate.artifact import Artifact
from calibrate.hardware import hardware, software
from calibrate.trace_records import DraftTrace, Trace
from engine.configuration import Configuration
from engine.frozen_record import FrozenRecord
from engine.progress import Show
from scenarios.what_if import WhatIf
from sim.search.grid import Grid
from sim.search.processes import ParallelReplay
from sim.world.replay import Replay

PROMPTS, TOKENS, CONFIGURATIONS, PROCESSES = 60, 128, 500, 2
REPEATS, SWEEPS, EVENTS = 5, 3, 100_000
FEW = 12  # configurations, where their number is not what grows
LENGTHS, COUNTS, BRANCHES = (16, 32, 64, 128), (6, 12, 24, 48), (1, 2, 4, 8)


START = """
import sys
from specbranch import app
app(["simulate", sys.argv[1], "--json"], standalone_mode=False)
sys.exit("simulate imported torch" if "torch" in sys.modules else 0)
"""
SMALLEST = """
title: The smallest there is
acceptance: {independent: 0.7}
costs: {draft_step_ms: 5, target_forward_ms: 40}
workload: {prompts: 1, tokens: 8}
configurations: [{policy: pearl}]
"""


class Timing(FrozenRecord):
    """Something done several times; `seconds` of each, by the wall clock. `tokens` and `rounds` simulated each time."""

    name: str
    seconds: tuple[float, ...]
    tokens: int = 0
    rounds: int = 0

    @property
    def speeds(self) -> tuple[float, float, float]:
        """Tokens/s: median, least, most."""
        return (
            self.tokens / median(self.seconds),
            self.tokens / max(self.seconds),
            self.tokens / min(self.seconds),
        )


class SimBenchmark(FrozenRecord):
    """All timings with their conditions.

    `start`: a whole `simulate` of 8 tokens in a new process. `floor`: as many SimPy events as there are tokens,
    one process that sleeps. `plain`: speculative decoding as a loop that simulates nothing else. `policies`: one
    process; `scripted`: the same where the scripts are written already. `sweep`: `configurations` of the search's grid
    over `prompts` texts of up to `length` tokens in `processes` of them, started for it. `growth`: one process, by what
    grows. `shares` of the time of `profiled`, by where it was spent, under a profiler.
    """

    command: str
    hardware: dict[str, str]
    software: dict[str, str]
    calibrated: str
    prompts: int
    length: int
    configurations: int
    processes: int
    start: Timing
    floor: Timing
    plain: tuple[Timing, ...]
    policies: tuple[Timing, ...]
    scripted: tuple[Timing, ...]
    sweep: Timing
    growth: dict[str, tuple[Timing, ...]]
    profiled: str
    shares: dict[str, float]


def repeated(artifact: Artifact, prompts: int, tokens: int) -> Artifact:
    """A calibration of as many prompts, all with paths of `tokens` tokens, made of the recorded ones.

    The recorded texts take turns, and each is lengthened by those after it; a text that comes again has durations of
    its own, but the same tokens.
    """
    count = len(artifact.traces)
    traces = tuple(_lengthened(artifact.traces, index % count, tokens) for index in range(prompts))
    records = tuple(
        artifact.recorded.prompts[index % count].model_copy(update={"path_tokens": tokens})
        for index in range(prompts)
    )
    recorded = artifact.recorded.model_copy(update={"prompts": records, "max_tokens": tokens})
    return Artifact(artifact.costs, recorded, traces)


def _lengthened(traces: Sequence[Trace], first: int, tokens: int) -> Trace:
    parts, length = [traces[first]], len(traces[first].path)
    while length < tokens:
        parts.append(traces[(first + len(parts)) % len(traces)])
        length += len(parts[-1].path)

    def view(draft: str) -> DraftTrace:
        views = [part.drafts[draft] for part in parts]
        names = [field.name for field in fields(DraftTrace)]
        return DraftTrace(*(np.concatenate([getattr(v, name) for v in views])[:tokens] for name in names))

    return replace(
        parts[0],
        path=np.concatenate([part.path for part in parts])[:tokens],
        chances=np.concatenate([part.chances for part in parts])[:tokens],
        drafts={draft: view(draft) for draft in parts[0].drafts},
        drawing={},
    )


def benchmark_simulator(artifact: Artifact, command: str, show: Show, quick: bool = False) -> SimBenchmark:
    """Everything, in about two minutes; `quick`: once each and with a tenth of the configurations."""
    repeats, sweeps, wanted = (1, 1, CONFIGURATIONS // 10) if quick else (REPEATS, SWEEPS, CONFIGURATIONS)
    made = repeated(artifact, PROMPTS, TOKENS)
    grid = search_grid(made, wanted)
    show("benchmark: starting", 0, 5)
    start = _timed("start", _start, repeats)
    floor = _timed(f"SimPy alone, {EVENTS} events", _events, repeats, EVENTS, EVENTS)
    plain = tuple(_plain(made, length, repeats) for length in (4, 8))
    show("benchmark: policies", 1, 5)
    policies, scripted = (
        tuple(_one(made, configuration, repeats, scripted=known) for configuration in examples(made))
        for known in (False, True)
    )
    profiled = max(examples(made), key=lambda c: (c.policy == "pearl", c.draft_length))
    show("benchmark: growth", 2, 5)
    growth = {name: tuple(timings) for name, timings in _growth(made, grid, repeats)}
    show("benchmark: sweep", 4, 5)
    sweep = _timed("sweep", lambda: _sweep(made, grid), sweeps, len(grid) * PROMPTS * TOKENS)
    return SimBenchmark(
        command=command,
        hardware=hardware(),
        software=software(),
        calibrated=artifact.costs.created,
        prompts=PROMPTS,
        length=TOKENS,
        configurations=len(grid),
        processes=PROCESSES,
        start=start,
        floor=floor,
        plain=plain,
        policies=policies,
        scripted=scripted,
        sweep=sweep,
        growth=growth,
        profiled=profiled.label(),
        shares=profile(made, profiled),
    )


def search_grid(artifact: Artifact, count: int) -> list[Configuration]:
    """`count` configurations of the search's own grid, evenly spread; all of them if there are fewer."""
    placements = [costs.placement for costs in artifact.costs.placements]
    everything = Grid().configurations(list(artifact.recorded.drafts), placements)
    wanted = min(count, len(everything))
    return [everything[index * len(everything) // wanted] for index in range(wanted)]


def examples(artifact: Artifact) -> Iterator[Configuration]:
    """What stands for each policy: with the calibration's first draft, which is asked for the longest lines."""
    placement = artifact.costs.placements[0].placement
    yield Configuration(policy="autoregressive", placement=placement)
    for length in (4, 8):
        yield Configuration(policy="speculative", draft_length=length, placement=placement)
        yield Configuration(policy="pearl", draft_length=length, placement=placement)
        for branches in (1, 4):
            yield Configuration(
                policy="specbranch",
                draft_length=length,
                branches=branches,
                adaptive_branches=False,
                min_confidence=0.3 if branches == 1 else 0.0,
                placement=placement,
            )


def _timed(name: str, do: Callable[[], object], repeats: int, tokens: int = 0, rounds: int = 0) -> Timing:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - began)
    return Timing(name=name, seconds=tuple(seconds), tokens=tokens, rounds=rounds)


def _one(
    artifact: Artifact, configuration: Configuration, repeats: int, name: str = "", scripted: bool = False
) -> Timing:
    """A replay whose texts are prepared, as they are for all configurations but the first.

    `scripted`: so are its scripts, as they are for every further placement.
    """
    world = Replay(artifact)
    runs = world.runs(configuration)
    tokens, rounds = sum(len(run.tokens) for run in runs), sum(len(run.rounds) for run in runs)

    def replayed() -> None:
        if not scripted:
            world.texts.forget_scripts()
        world.tallies(configuration)

    return _timed(name or configuration.label(), replayed, repeats, tokens, rounds)


def _growth(
    artifact: Artifact, grid: Sequence[Configuration], repeats: int
) -> Iterator[tuple[str, Iterator[Timing]]]:
    def batch(few: int, tokens: int, name: str) -> Timing:
        shorter = repeated(artifact, PROMPTS // 5, tokens)
        some = [grid[index * len(grid) // few] for index in range(few)]
        return _timed(name, lambda: _sweep(shorter, some, 1), repeats, few * len(shorter.traces) * tokens)

    yield "tokens of a text", (batch(FEW, tokens, str(tokens)) for tokens in LENGTHS)
    yield "configurations", (batch(count, TOKENS, str(count)) for count in COUNTS)
    wide = Configuration(
        policy="specbranch",
        draft_length=8,
        adaptive_branches=False,
        placement=artifact.costs.placements[0].placement,
    )
    yield (
        "branches",
        (_one(artifact, wide.model_copy(update={"branches": k}), repeats, str(k)) for k in BRANCHES),
    )


def profile(artifact: Artifact, configuration: Configuration) -> dict[str, float]:
    """Shares of a replay's time by module, largest first; a built-in function's time is its caller's."""
    world = Replay(artifact)
    world.tallies(configuration)
    world.texts.forget_scripts()
    profiler = cProfile.Profile(builtins=False)
    profiler.runcall(world.tallies, configuration)
    spent: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        where = Path(file)
        name = "SimPy" if where.parent.name == "simpy" else "/".join([where.parent.name, where.name])
        spent[name] = spent.get(name, 0.0) + own
    total = sum(spent.values())
    return {name: own / total for name, own in sorted(spent.items(), key=lambda item: -item[1])}


def _plain(artifact: Artifact, length: int, repeats: int) -> Timing:
    """Speculative decoding with the first draft as a loop that knows nothing else: what Python itself takes."""
    draft = next(iter(artifact.recorded.drafts))
    texts = [(t.drafts[draft].tokens[:, 0] == t.path).tolist() for t in artifact.traces]

    def loop() -> int:
        rounds: list[tuple[int, int]] = []
        clock = 0.0
        for right in texts:
            position, end = 0, len(right)
            while position < end:
                accepted = 0
                while accepted < length and position + accepted < end and right[position + accepted]:
                    accepted += 1
                rounds.append((accepted, length - accepted))
                clock += 0.04 + 0.005 * length
                position += accepted + 1
        return len(rounds)

    return _timed(f"g{length}", loop, repeats, sum(map(len, texts)), loop())


def _sweep(artifact: Artifact, grid: Sequence[Configuration], processes: int = PROCESSES) -> None:
    parallel = ParallelReplay(artifact, WhatIf(), 0, processes)
    parallel.tallies(grid, range(len(artifact.traces)), lambda _: None)


def _events() -> None:
    env = simpy.Environment()

    def sleeper() -> Iterator[simpy.Event]:
        for _ in range(EVENTS):
            yield env.timeout(0.01)

    env.run(env.process(sleeper()))  # type: ignore[arg-type]  # any iterator with `send` and `throw` would do


def _start() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "smallest.yaml"
        scenario.write_text(SMALLEST)
        subprocess.run(
            [sys.executable, "-c", START, str(scenario)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
