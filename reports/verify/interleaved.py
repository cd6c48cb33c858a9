"""Real runs of several configurations on the same prompts, interleaved, with the machine's pace in between. Torch-free.

Every prompt meets every configuration in an order drawn anew for each prompt and repeat, so that a slow minute of
the machine falls on all of them alike. Before each run a step and a short prompt of its models are timed where it
puts them. Before a prompt one of the drafts that some run has computing beside the target is timed so, before the
first prompt each of them: what models do to each other changes with the processes and hardly with the minute.
Prompts come in batches, a look behind each of which may end it, and so may the time.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from calibrate.costs.contention import ContentionTimes, as_together
from calibrate.costs.drift import ContentionSample, PlacedModel, Timing
from calibrate.costs.remeasure import pairs_at_once, time_contention, time_pace
from engine.configuration import Configuration
from engine.errors import WorkerLost
from engine.models.sampling import Sampling
from engine.naming import in_words
from engine.record import Run
from engine.runtime.pair import Pair
from engine.runtime.waiting import waited_since
from reports.verify.verification import Sample


@dataclass(frozen=True)
class Prompted:
    """What all configurations write: texts of up to `max_tokens` tokens behind these prompts (token ids)."""

    ids: Sequence[list[int]]
    sampling: Sequence[Sampling]
    max_tokens: int
    end_tokens: Collection[int]

    def write(self, pair: Pair, configuration: Configuration, prompt: int) -> Run:
        """One of them."""
        return pair.generate(
            configuration,
            self.ids[prompt],
            max_tokens=self.max_tokens,
            end_tokens=self.end_tokens,
            sampling=self.sampling[prompt],
        )


@dataclass(frozen=True)
class RunSchedule:
    """When to look, and when to end: the number of prompts at each look, ascending, and seconds at most.

    `look` hears of what was measured, of how many prompts, and whether it is the last look; it tells whether all is
    decided. `clock`: seconds.
    """

    planned: Sequence[int]
    seconds: float = math.inf
    look: Callable[["Measured", int, bool], bool] = lambda found, prompts, last: False
    clock: Callable[[], float] = time.monotonic


@dataclass
class Measured:
    """The runs of each configuration, by repeat and prompt; what tells each model's pace, seconds of the target and a
    draft at once, and of the reference operation, in the order timed; and what a reader has to know.

    `timed`: for each run in its order, which of its models' `timings` came just before it. `prompts`: how many were
    run, the first ones; `ended`: by what.
    """

    samples: dict[Configuration, list[Sample]]
    timings: dict[PlacedModel, list[Timing]] = field(default_factory=dict)
    timed: list[dict[PlacedModel, int]] = field(default_factory=list)
    contention: dict[PlacedModel, ContentionTimes] = field(default_factory=dict)
    reference: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prompts: int = 0
    ended: Literal["decided", "minutes", "prompts"] = "prompts"

    @property
    def crowds(self) -> tuple[ContentionSample, ...]:
        """The target and each draft at once, as records."""
        return tuple(
            ContentionSample(placement=placement, draft=draft, together=as_together(known))
            for (placement, draft), known in self.contention.items()
            if known
        )


FEWEST = 2  # prompts, for an interval


def run_interleaved(
    pair: Pair,
    chosen: Sequence[Configuration],
    prompted: Prompted,
    repeats: int,
    seed: int,
    advance: Callable[[str], None],
    schedule: RunSchedule | None = None,
) -> Measured:
    """Run them all, or until the schedule ends; `advance` hears of each run.

    WorkerLost if the target's worker dies in one. A prompt is begun if the time is likely to do for all repeats of
    what was begun, by the mean until then.
    """
    schedule = schedule or RunSchedule((len(prompted.ids),))
    rng = random.Random(seed)
    found = Measured({configuration: [] for configuration in chosen})
    orders = itertools.count()
    began, rounds = schedule.clock(), 0

    def run_all(prompt: int, repeat: int) -> None:
        nonlocal rounds
        _time_contention(pair, chosen, found, rounds)
        for configuration in rng.sample(chosen, len(chosen)):
            _run(pair, configuration, prompted, prompt, repeat, next(orders), found)
            left = began + schedule.seconds - schedule.clock()
            advance(
                in_words(configuration)
                if math.isinf(left)
                else f"{_minutes(left)}, {in_words(configuration)}"
            )
        rounds += 1

    def is_time_for(more: int) -> bool:
        spent = schedule.clock() - began
        return found.prompts + len(begun) < FEWEST or spent * (1.0 + more / rounds) <= schedule.seconds

    for end in schedule.planned:
        begun: list[int] = []
        for prompt in range(found.prompts, end):
            if not is_time_for(1 + (len(begun) + 1) * (repeats - 1)):
                break
            begun.append(prompt)
            run_all(prompt, 0)
        for repeat in range(1, repeats):
            for prompt in rng.sample(begun, len(begun)):
                run_all(prompt, repeat)
        found.prompts += len(begun)
        for mine in found.samples.values():
            mine.sort(key=lambda sample: (sample.repeat, sample.prompt))
        late = found.prompts < end
        if schedule.look(found, found.prompts, late or end == schedule.planned[-1]):
            found.ended = "decided"
            break
        if late:
            found.ended = "minutes"
            break
    return found


def _run(
    pair: Pair,
    configuration: Configuration,
    prompted: Prompted,
    prompt: int,
    repeat: int,
    order: int,
    found: Measured,
) -> None:
    """One run behind its models' timings."""
    _time_pace(pair, configuration, found)
    before = pair.waits()
    run = prompted.write(pair, configuration, prompt)
    if run.warning:
        # Fixed beforehand: a generation that lost its draft says nothing of the configuration, so it is run once more
        # and told of.
        found.notes.append(f"{in_words(configuration)}, prompt {prompt}: run again; {run.warning}")
        before = pair.waits()
        run = prompted.write(pair, configuration, prompt)
    waited = waited_since(before, pair.waits()) if before else None
    found.samples[configuration].append(
        Sample(prompt=prompt, repeat=repeat, order=order, run=run, waited=waited)
    )


def _minutes(seconds: float) -> str:
    """What is left, in words."""
    return f"{max(0, math.ceil(seconds / 60.0))} min left at most"


def _time_pace(pair: Pair, configuration: Configuration, found: Measured) -> None:
    """Note what each of its models takes now; a worker that was lost since is started again."""
    draft = configuration.draft_among(pair.drafts)
    try:
        timings, reference = time_pace(pair, configuration.placement, draft)
    except WorkerLost as lost:
        found.notes.append(f"{in_words(configuration)}: its models were timed again; {lost}")
        timings, reference = time_pace(pair, configuration.placement, draft)
    found.timed.append({seated: len(found.timings.get(seated, ())) for seated in timings})
    for seated, timing in timings.items():
        found.timings.setdefault(seated, []).append(timing)
    found.reference.append(reference)


def _time_contention(pair: Pair, chosen: Sequence[Configuration], found: Measured, turn: int) -> None:
    """Note what the target and drafts do to each other now: all of them in turn 0, and one in each turn from then on.

    One that is lost meanwhile is left for next time.
    """
    at_once = pairs_at_once(pair, chosen)
    if turn and at_once:
        at_once = [at_once[turn % len(at_once)]]
    for placement, draft in at_once:
        try:
            time_contention(pair, placement, draft, found.contention.setdefault((placement, draft), {}))
        except WorkerLost as lost:
            found.notes.append(f"the target and {draft} were timed at once one time less; {lost}")
