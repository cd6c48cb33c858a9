"""Durations of one recorded run, handed to the simulator's jobs in their order: what is left is how jobs are scheduled.

A job takes the seconds that its counterpart was busy, slow-downs by the other model included, so there are none on
top. The hand-over of each job is the time from the end of the last of the jobs that are waited for together to the
start of the next job (behind the last one: to the end of the run), which the simulator adds behind all of them.
So a simulated run differs by what the simulator knows nothing of: the time before the first job, jobs of one
wait that do not begin at once, and the time between two of them on one device.
"""

from collections.abc import Sequence

from engine.configuration import Configuration
from engine.record import Run
from engine.service_record import MODELS
from sim.costs.durations import Durations
from sim.scripts.work import Script
from sim.world.explained import same_rounds
from sim.world.replay import Replay
from sim.world.simulation import play, record


def recorded_durations(script: Script, run: Run) -> Durations:
    """Those of a run, real or simulated, for the jobs of its replay; further jobs than were recorded take no time."""
    queues: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for wait, gap in run.hand_overs():
        for job in wait:
            queues[MODELS.index(job.model)].append((job.end - job.start, gap))
    left = [iter(queue) for queue in queues]
    given = [next(left[model], (0.0, 0.0)) for model in script.work.model.tolist()]
    return Durations([0.0] * len(given), [seconds for seconds, _ in given], [gap for _, gap in given])


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
