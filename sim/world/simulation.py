"""Scripts in time, over SimPy: each job takes the duration it is given, on the device of its model."""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from engine.policies.settings import Settings
from engine.record import Ending, Job, Run
from scenarios.what_if import Link
from sim.acceptance.sources import AcceptanceSource
from sim.costs.contention import FREE, Contention
from sim.costs.durations import Costs, Durations, Timings, timings
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.scripts.work import MODELS, Script, Scripts, widths_of
from sim.world.devices import Devices, Handle


@dataclass(slots=True)
class Played:
    """A script in time: when its last wait ended, when its first round did, and its jobs."""

    script: Script
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    jobs: list[Handle] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """What a run needs beside policy and path.

    With `shared` both models take turns on one device, and no `link` lies between them. `prompt`: its tokens, at
    least one. `sampled`: tokens are drawn, which takes longer than choosing them.
    """

    costs: Costs
    shared: bool = False
    prompt: Sequence[int] = (PROMPT_TOKEN,)
    link: Link | None = None
    sampled: bool = False


def play(script: Script, given: Durations, contention: Contention = FREE, shared: bool = False) -> Played:
    """Give a script its time; `contention` and `shared` as `sim.world.devices.Devices` takes them."""
    env, played = simpy.Environment(), Played(script)
    env.run(env.process(_follow(env, Devices(shared, contention), given, played)))
    played.seconds = float(env.now)
    return played


def play_all(
    scripts: Scripts, given: Timings, contention: Contention = FREE, shared: bool = False
) -> list[Played]:
    """Give scripts their time, as `play` does one."""
    each = zip(scripts.scripts, given.by_script(scripts.ends), strict=True)
    return [play(script, its, contention, shared) for script, its in each]


def _follow(
    env: simpy.Environment, devices: Devices, given: Durations, played: Played
) -> Generator[simpy.Event, Any, None]:
    script, jobs = played.script, played.jobs
    work = script.work
    submit, finish = devices.submit, devices.finish
    widths = itertools.repeat(1) if devices.independent else widths_of(work).tolist()
    rows = zip(work.model.tolist(), given.seconds, given.before, given.after, widths, strict=False)
    now, first = 0.0, script.first
    for count in script.waits:
        if count == 1:
            job = submit(now, *next(rows))
            jobs.append(job)
            finish()
            ready = job.end + job.after
        else:
            some = [submit(now, *row) for row in itertools.islice(rows, count)]
            jobs += some
            finish()
            ready = max([job.end + job.after for job in some])
        if ready > now:
            yield env.timeout(ready - now)
            now = env.now
        first -= 1
        if not first:
            played.first_token_seconds = now


def record(played: Played, shared: bool = False, ending: Ending = "token-limit") -> Run:
    """What a script in time has to tell."""
    script = played.script
    work = script.work
    rows = zip(*(part.tolist() for part in (work.model, work.round, work.forwards, work.read)), strict=True)
    return Run(
        world="simulator",
        tokens=script.path,
        rounds=script.rounds,
        jobs=tuple(
            Job(MODELS[model], number, job.start, job.end, forwards, tokens)
            for job, (model, number, forwards, tokens) in zip(played.jobs, rows, strict=True)
        ),
        seconds=played.seconds,
        first_token_seconds=played.first_token_seconds,
        shared=shared,
        ending=ending,
    )


def simulate(settings: Settings, source: AcceptanceSource, setting: Setting) -> Run:
    """Run one policy over one path.

    ConfigurationError if there is no such policy, or if it wants more branches than the source knows candidates.
    """
    script = write_script(settings, source, setting.prompt)
    scripts = Scripts([script], [0])
    link = None if setting.shared else setting.link
    given = timings(scripts, setting.costs, link, setting.sampled)
    (played,) = play_all(scripts, given, setting.costs.contention, setting.shared)
    return record(played, setting.shared)
