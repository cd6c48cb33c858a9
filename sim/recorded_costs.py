"""Durations of one recorded run, handed to the simulator's jobs in their order: what is left is how jobs are scheduled.

A job takes the seconds that its counterpart was busy, slow-downs by the other model included, so there are none on
top. The hand-over of each job is the time from the end of the last of the jobs that are waited for together to the
start of the next job (behind the last one: to the end of the run), which the simulator adds behind all of them.
So a simulated run differs by what the simulator knows nothing of: the time before the first job, jobs of one
wait that do not begin at once, and the time between two of them on one device.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from engine.configuration import Configuration
from engine.record import Job, Run
from sim.durations import Durations
from sim.explained import same_rounds
from sim.replay import Replay
from sim.work import MODELS, Script
from sim.world import play, record


def recorded_durations(script: Script, run: Run) -> Durations:
    """Those of a run, real or simulated, for the jobs of its replay; further jobs than were recorded take no time."""
    queues: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    waits = list(waited_together(run.jobs))
    following = [min(job.start for job in wait) for wait in waits[1:]] + [run.seconds]
    for wait, after in zip(waits, following, strict=True):
        gap = max(0.0, after - max(job.end for job in wait))
        for job in wait:
            queues[MODELS.index(job.model)].append((job.end - job.start, gap))
    left = [iter(queue) for queue in queues]
    given = [next(left[model], (0.0, 0.0)) for model in script.work.model.tolist()]
    return Durations([0.0] * len(given), [seconds for seconds, _ in given], [gap for _, gap in given])


def waited_together(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs in the order that they were asked for, by what a policy waited for at once.

    A verdict ends its round, so what follows it in the same round was asked for beside it; a draft before it was
    waited for alone, unless their times overlap.
    """
    wait: list[Job] = list(jobs[:1])
    for before, job in pairwise(jobs):
        if job.round != before.round or (before.model != "target" and job.start >= before.end):
            yield wait
            wait = []
        wait.append(job)
    if wait:
        yield wait


def rerun(world: Replay, configuration: Configuration, recorded: Sequence[Run]) -> list[Run]:
    """Replays of one configuration with the durations of recorded runs, one for each text in their order."""
    return [
        record(play(script, recorded_durations(script, run), shared=run.shared), run.shared)
        for script, run in zip(world.texts.scripts(configuration).scripts, recorded, strict=True)
    ]


def same_schedule(real: Run, simulated: Run) -> bool:
    """Whether two runs wrote one text in the same rounds (`same_rounds`), of lines as long, by the same jobs.

    How long the lines of the last two rounds were is not compared: they may reach past the end of the text.
    """
    return (
        same_rounds(real, simulated)
        and [r.verified for r in real.rounds[:-2]] == [r.verified for r in simulated.rounds[:-2]]
        and [(job.model, job.round) for job in real.jobs]
        == [(job.model, job.round) for job in simulated.jobs]
    )
