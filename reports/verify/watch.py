"""What a verification knows at each of its looks: the pace until then, and replays of the texts that were run.

    watch = Watch(pair, artifact, prompts, ids, sampling, plan, temperature, forecasts)
    run_interleaved(..., RunSchedule(watch.looks.planned, seconds, watch.look))

The runs themselves have no part in the pace, and the forecasts were made before the first of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from calibrate.artifact import Artifact
from calibrate.costs.drift import Drift, adjusted_for_drift, drifts
from calibrate.prompts import Prompt
from calibrate.trace_records import Trace
from engine.configuration import Configuration
from engine.models.sampling import Sampling
from engine.record import Run
from engine.runtime.pair import Pair
from reports.verify.fidelity import by_prompt, sides, take_look
from reports.verify.interleaved import Measured
from reports.verify.looks import Looks, plan_looks
from reports.verify.own_pace import replays_at_own_pace
from reports.verify.plan import Plan
from reports.verify.verification import Foretold
from reports.verify.written_texts import observe, on_these_prompts
from sim.acceptance.temperature import at_temperature
from sim.world.replay import Replay


@dataclass
class Watch:
    """What the looks of a run go by, and what they found: the last one's pace, the calibration and the measured texts
    at that pace, and replays of each text at the pace of its own runs."""

    pair: Pair
    artifact: Artifact
    prompts: Sequence[Prompt]
    ids: Sequence[list[int]]
    sampling: Sequence[Sampling]
    plan: Plan
    temperature: float
    calibrated: Mapping[Configuration, list[Run]]
    looks: Looks = field(init=False)
    traces: list[Trace] = field(default_factory=list)
    pace: tuple[Drift, ...] = ()
    now: Artifact = field(init=False)
    own: Artifact = field(init=False)
    replayed: dict[Configuration, Foretold] = field(default_factory=dict)

    def __post_init__(self) -> None:
        planned = plan_looks(len(self.prompts), self.plan.looks)
        self.looks = Looks(planned=planned, minutes=self.plan.minutes)

    def look(self, found: Measured, count: int, last: bool) -> bool:
        """Whether everything is decided after so many prompts."""
        unseen = range(len(self.traces), count)
        self.traces += observe(self.pair, self.ids, self.sampling, found.samples, unseen)
        self.pace = tuple(drifts(self.artifact.costs, found.timings))
        self.now = adjusted_for_drift(self.artifact, self.pace, found.crowds)
        prompts, ids = self.prompts[:count], self.ids[:count]
        self.own = on_these_prompts(
            self.now, prompts, ids, self.traces, self.plan.max_tokens, self.temperature
        )
        as_it_was = on_these_prompts(
            self.artifact, prompts, ids, self.traces, self.plan.max_tokens, self.temperature
        )

        def replay_all(artifact: Artifact) -> dict[Configuration, list[Run]]:
            world = Replay(at_temperature(artifact, self.temperature), seed=self.plan.seed)
            return {c: world.runs(c) for c in found.samples}

        self.replayed = replays_at_own_pace(
            as_it_was, self.pace, found.crowds, found.samples, found.timed, replay_all
        )
        recorded = at_temperature(self.artifact, self.temperature).recorded
        taken = take_look(
            self.looks,
            *sides(
                [by_prompt(mine) for mine in found.samples.values()],
                [p.kind for p in prompts],
                [Foretold.of(runs) for runs in self.calibrated.values()],
                [p.kind for p in recorded.prompts],
                list(self.replayed.values()),
            ),
            prompts=count,
            chosen=0,  # the first of `configurations`
            tolerance=self.plan.tolerance,
            seed=self.plan.seed,
            last=last,
        )
        self.looks = self.looks.model_copy(update={"taken": (*self.looks.taken, taken)})
        return taken.decided
