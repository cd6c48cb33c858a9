"""How long the jobs of scripts take at full speed, by the costs of their parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scenarios.what_if import Link
from sim.costs.contention import Contention
from sim.scripts.work import DRAFT, TARGET, Scripts

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class Operations(NamedTuple):
    """n operations of one kind over `tokens` tokens (or branches) behind `context` tokens of a text; int64 [n] each."""

    tokens: Counts
    context: Counts
    text: Counts


@dataclass(frozen=True)
class StartUp:
    """What a draft's job takes longer behind an idle time, in which the processor's caches came to hold other things.

    `seconds` float64 [k] beyond a steady run of as many `forwards`, int64 [k] ascending; in full behind `pause`
    seconds.
    """

    forwards: Counts
    seconds: Floats
    pause: float

    def extra(self, forwards: Counts, idle: Floats) -> Floats:
        """Of n jobs, float64 [n]."""
        full: Floats = np.interp(forwards, self.forwards, self.seconds)
        return full * np.clip(idle / self.pause, 0.0, 1.0)


class Costs(Protocol):
    """Seconds of operations, float64 [n] (or one number for all of them)."""

    @property
    def contention(self) -> Contention:
        """How much target and draft slow each other while both compute."""
        ...

    def target_forward(self, operations: Operations) -> Floats | float: ...

    def draft_forward(self, operations: Operations) -> Floats | float:
        """Reading tokens in a row and choosing candidates."""
        ...

    def branch_step(self, operations: Operations) -> Floats | float:
        """Extending as many branches by a token each."""
        ...

    def fork(self, operations: Operations) -> Floats | float:
        """Moving the branch that is kept, one of as many, behind the prefix."""
        ...

    def hand_over(self, operations: Operations) -> Floats | float:
        """A job's seconds beyond what its device is busy with."""
        ...

    def target_draw(self, operations: Operations) -> Floats | float:
        """Drawing the target's tokens at a temperature, beyond choosing them."""
        ...

    def draft_draw(self, operations: Operations) -> Floats | float:
        """Drawing draft tokens at a temperature, beyond choosing candidates."""
        ...

    def prediction(self) -> float:
        """H-RAD's inference."""
        ...

    @property
    def start_up(self) -> StartUp | None:
        """Of a draft on a device of its own; none: it takes none."""
        ...


class Greedy:
    """For costs that know nothing of drawing tokens, of H-RAD, nor of starting up: neither takes time."""

    start_up = None

    def target_draw(self, operations: Operations) -> float:
        return 0.0

    def draft_draw(self, operations: Operations) -> float:
        return 0.0

    def prediction(self) -> float:
        return 0.0


class Timings(NamedTuple):
    """Of n jobs: seconds on the way to the device, on it at full speed, and behind it; float64 [n] each."""

    before: Floats
    seconds: Floats
    after: Floats

    def by_script(self, ends: Counts) -> "list[Durations]":
        """For each script, whose jobs end there, its own."""
        columns = [column.tolist() for column in self]
        begin, found = 0, []
        for end in ends.tolist():
            found.append(Durations(*(column[begin:end] for column in columns)))
            begin = end
        return found


@dataclass(frozen=True, slots=True)
class Durations:
    """The `Timings` of a script's jobs in their order."""

    before: Sequence[float]
    seconds: Sequence[float]
    after: Sequence[float]


def timings(scripts: Scripts, costs: Costs, link: Link | None = None, sampled: bool = False) -> Timings:
    """Of all jobs of all scripts. `sampled`: tokens are drawn, which takes longer than choosing them."""
    return behind_pauses(scripts, costs, without_pauses(scripts, costs, link, sampled))


def without_pauses(
    scripts: Scripts, costs: Costs, link: Link | None = None, sampled: bool = False
) -> Timings:
    """As `timings`, but for what a draft's job takes longer behind an idle time."""
    work, text = scripts.work, scripts.text
    count = len(text)
    seconds = np.zeros(count)
    target, draft = np.flatnonzero(work.model == TARGET), np.flatnonzero(work.model == DRAFT)

    def some(jobs: Counts, tokens: Counts, context: Counts) -> Operations:
        return Operations(tokens[jobs], context[jobs], text[jobs])

    seconds[target] = costs.target_forward(some(target, work.tokens, work.context))
    if len(draft):
        seconds[draft] = costs.draft_forward(some(draft, work.tokens, work.context))
        job, branches, context = scripts.branch_steps
        if len(job):
            steps = np.broadcast_to(costs.branch_step(Operations(branches, context, text[job])), job.shape)
            seconds += np.bincount(job, weights=steps, minlength=count)
        forks = np.flatnonzero(work.opened)
        if len(forks):
            seconds[forks] += costs.fork(some(forks, work.opened, work.context - work.moved))
    predicted = np.flatnonzero(work.predicted)
    if len(predicted):
        seconds[predicted] += costs.prediction()
    if sampled:
        seconds[target] += costs.target_draw(some(target, work.drawn, work.context))
        drawing = draft[work.drawn[draft] > 0]
        if len(drawing):
            draws = costs.draft_draw(some(drawing, work.drawn, work.context))
            seconds[drawing] += work.forwards[drawing] * draws
    before, after = np.zeros(count), np.zeros(count)
    after[:] = costs.hand_over(Operations(work.forwards, work.context, text))
    if link is not None:
        before[draft] = link.seconds(work.sent[draft])
        after[draft] += link.seconds(work.returned[draft])
    return Timings(before, seconds, after)


def behind_pauses(scripts: Scripts, costs: Costs, given: Timings) -> Timings:
    """These timings, with what each draft's job takes longer behind the idle time before it."""
    work = scripts.work
    draft = np.flatnonzero(work.model == DRAFT)
    if costs.start_up is None or not len(draft):
        return given
    idle = _idle(scripts, draft, given.before + given.seconds, given.after)
    seconds = given.seconds.copy()
    seconds[draft] += costs.start_up.extra(work.forwards[draft], idle)
    return given._replace(seconds=seconds)


def faster_target(scripts: Scripts, given: Timings, speed: float) -> Timings:
    """These timings, with all that the target does `speed` times as fast."""
    target = scripts.work.model == TARGET
    return given._replace(seconds=np.where(target, given.seconds / speed, given.seconds))


def _idle(scripts: Scripts, draft: Counts, ends: Floats, after: Floats) -> Floats:
    """How long the draft's device was idle before each of its jobs, but for what models slow each other.

    `ends`: of all jobs, from when they are asked for; before a text's first job it was idle for ever.
    """
    first, count = scripts.waits
    wait = np.repeat(np.arange(len(first)), count)
    spans = np.maximum.reduceat(ends + after, first)
    begins = np.cumsum(spans) - spans
    free = begins[wait[draft]] + ends[draft]
    idle: Floats = begins[wait[draft]] - np.concatenate([[-np.inf], free[:-1]])
    text = np.searchsorted(scripts.ends, draft, side="right")
    idle[np.flatnonzero(np.diff(text, prepend=-1))] = np.inf
    return idle
