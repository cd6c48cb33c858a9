"""Durations of one recorded run, handed to the simulator's jobs in their order: what is left is how jobs are scheduled.

A job takes the seconds that its counterpart was busy, slow-downs by the other model included, so there are none on
top. The hand-over of each job is the time from the end of the last of the jobs that are waited for together to the
start of the next job (behind the last one: to the end of the run), which the simulator adds behind all of them.
So a simulated run differs by what the simulator knows nothing of: the time before the first job, jobs of one
wait that do not begin at once, and the time between two of them on one device.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from engine.configuration import Configuration
from engine.policies import load_policy
from engine.record import Job, Run
from sim.devices import Model
from sim.explained import same_rounds
from sim.replay import Replay
from sim.world import Setting, SimulatedSession, play


@dataclass
class RecordedCosts:
    """Implements `sim.costs.Costs` for one simulated run; further jobs than were recorded take no time.

    A hand-over is that of the job whose seconds were asked for last.
    """

    jobs: dict[Model, Iterator[tuple[float, float]]]
    slow_downs: tuple[float, float] = (1.0, 1.0)
    outside: Counter[str] = field(default_factory=Counter)
    _hand_over: float = 0.0

    @classmethod
    def of(cls, run: Run) -> "RecordedCosts":
        """From a run, real or simulated."""
        queues: dict[Model, list[tuple[float, float]]] = {"target": [], "draft": []}
        waits = list(waited_together(run.jobs))
        following = [min(job.start for job in wait) for wait in waits[1:]] + [run.seconds]
        for wait, after in zip(waits, following, strict=True):
            gap = max(0.0, after - max(job.end for job in wait))
            for job in wait:
                queues[job.model].append((job.end - job.start, gap))
        return cls({model: iter(queue) for model, queue in queues.items()})

    def _next(self, model: Model) -> float:
        seconds, self._hand_over = next(self.jobs[model], (0.0, 0.0))
        return seconds

    def target_forward(self, tokens: int, context: int) -> float:
        return self._next("target")

    def draft_forward(self, tokens: int, context: int) -> float:
        """The whole job, with its further steps and its fork."""
        return self._next("draft")

    def branch_steps(self, branches: Sequence[int], context: int) -> float:
        return 0.0

    def fork(self, branches: int, context: int) -> float:
        return 0.0

    def hand_over(self, context: int) -> float:
        return self._hand_over

    def target_draw(self, tokens: int) -> float:
        return 0.0

    def draft_draw(self, tokens: int) -> float:
        return 0.0

    def foresight(self) -> float:
        return 0.0


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


@dataclass
class Rerun(Replay):
    """Replays the texts of a calibration with the durations of recorded runs."""

    _recorded: Sequence[Run] = ()

    def rerun(self, configuration: Configuration, recorded: Sequence[Run]) -> list[Run]:
        """One run a text; `recorded` holds one of this configuration for each, in their order."""
        self._recorded = recorded
        return self.runs(configuration)

    def _play(self, configuration: Configuration) -> Iterator[tuple[int, SimulatedSession, Setting]]:
        for index, source, run in zip(self._chosen, self.sources(configuration), self._recorded, strict=True):
            setting = Setting(RecordedCosts.of(run), run.shared, self._prompts[index])
            yield index, play(configuration, load_policy(configuration.policy), source, setting), setting


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
