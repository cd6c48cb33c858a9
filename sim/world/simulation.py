"""Scripts in time, over SimPy: each job takes the duration it is given, on the device of its model."""

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from engine.record import Ending, Job, Run
from engine.service_record import MODELS
from sim.costs.contention import FREE, Contention
from sim.costs.durations import Durations, Timings
from sim.scripts.work import Script, Scripts, widths_of
from sim.world.devices import Devices, Handle


@dataclass(slots=True)
class Played:
    """A script in time: when its last wait ended, when its first round did, and its jobs."""

    script: Script
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    jobs: list[Handle] = field(default_factory=list)


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
