"""Timing all operations of a model, lap after lap, until each is known well enough.

A lap visits the cells (`calibrate.cost_records.Key`) in a random order, short ones more than once, and a fixed
reference operation is timed before each visit. Laps of all models and placements alternate, so that a slow stretch
of the machine falls on all of them, and no cell's samples come from one stretch alone.

Exclusion, by a rule fixed beforehand: a visit was disturbed if the reference operation took more than `DISTURBED`
times its median, over all laps of that model and placement, on both sides of it, or if threads waited for more than
`DISTURBING` of its time for a core that something else had (`engine.runtime.waiting`). Its samples are kept apart and
counted, and used for nothing. If more than `MOST` of the visits are, then this is the machine's state and no
disturbance: all count.

A machine's memory may be half as fast in one minute as in the next, and a cell that met more slow laps than another
would seem to cost more. So each lap times the model's step several times, and what its steps took longer than those of
all laps in the mean is taken off each of its forwards (see `calibrate.costs.drift`, which adds what they take longer
later). Between two laps there are short ones over the step and the shortest prompt alone, so that their mean is of all
the machine's moods that a calibration meets, and not of the few minutes that whole laps fall on.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from calibrate.cost_records import PROMPT, STEP, Cell, Key
from calibrate.costs import operations
from calibrate.costs.drift import share_of_step
from calibrate.intervals import half_width
from engine.runtime.placement import Placement
from engine.runtime.session import Player
from engine.runtime.waiting import DISTURBING

SAMPLES = 2  # of each visit, behind one warm-up
DISTURBED = 1.25
MOST = 1 / 3
WANTED = 0.02  # of a time, either side: what is sought
NEGLIGIBLE = 20e-6  # seconds either side, below which nobody notices

SEVERAL = ("batched", "chunked", "prompts")  # operations of several sequences
# What takes long, or whose set-up does; left out from the third lap on.
DEAR = ("fork", *SEVERAL)
OFTEN = {STEP: 4, PROMPT: 2}  # visits in a lap to what tells the pace
# And to a line of a few tokens or a step of a few branches. Decoding consists of these, and beside prompts they take
# little of a lap's time.
FEW, OF_FEW = 5, 3
BETWEEN = (STEP, STEP, PROMPT)  # visits of a short lap between laps
# Operations that read a model's weights, a burst once for each token.
FORWARDS = ("forward", *SEVERAL, "branch", "burst")


@dataclass(frozen=True)
class Visit:
    """Samples of a cell, and the reference operation's time just before and just after them; seconds.

    `waited`: for what share of the time threads waited for a core that something else had.
    """

    key: Key
    seconds: tuple[float, ...]
    before: float
    after: float
    lap: int = 0
    waited: float = 0.0

    @property
    def reference(self) -> float:
        """The quicker of the two: a disturbance that lasted through the visit slows both."""
        return min(self.before, self.after)

    @property
    def crowded(self) -> bool:
        """Whether something else had the cores meanwhile."""
        return self.waited > DISTURBING


@dataclass
class SamplingPlan:
    """A model in one placement, the cells it is timed on, and the visits made so far."""

    placement: Placement
    model: str
    keys: Sequence[Key]
    visits: list[Visit] = field(default_factory=list)
    laps: int = 0

    def sifted(self) -> tuple[list[Visit], list[Visit]]:
        """The visits that count, and those that were disturbed, all at one pace."""
        if not self.visits:
            return [], []
        visits = without_drift(self.visits)
        limit = DISTURBED * median(visit.before for visit in visits)
        kept: list[Visit] = []
        disturbed: list[Visit] = []
        for visit in visits:
            (disturbed if visit.reference > limit or visit.crowded else kept).append(visit)
        return (visits, []) if len(disturbed) > MOST * len(visits) else (kept, disturbed)

    def open(self) -> list[Key]:
        """The cells that are not known well enough yet."""
        kept: dict[Key, list[tuple[float, ...]]] = {key: [] for key in self.keys}
        for visit in self.sifted()[0]:
            kept[visit.key].append(visit.seconds)
        return [key for key, visits in kept.items() if not well_known(visits)]

    def cells(self, *operations: str) -> tuple[Cell, ...]:
        """What was found of some operations."""
        kept, disturbed = self.sifted()
        cells = []
        for key in (key for key in self.keys if key.operation in operations):
            mine = [visit.seconds for visit in kept if visit.key == key]
            apart = [visit.seconds for visit in disturbed if visit.key == key]
            if not mine:  # every visit of this cell was disturbed, which is better than nothing
                mine, apart = apart, []
            cells.append(
                Cell(
                    rows=key.rows,
                    sequences=key.sequences,
                    cache_tokens=key.context * key.sequences,
                    unscored=key.unscored,
                    seconds=tuple(second for samples in mine for second in samples),
                    visits=tuple(map(len, mine)),
                    excluded=tuple(second for samples in apart for second in samples),
                )
            )
        return tuple(cells)


def steps_by_lap(visits: Sequence[Visit]) -> dict[int, float]:
    """What a step took in each lap that timed it undisturbed, in seconds, in the laps' order."""
    timed: dict[int, list[float]] = {}
    for visit in visits:
        if visit.key == STEP and not visit.crowded:
            timed.setdefault(visit.lap, []).append(fmean(visit.seconds))
    return {lap: median(seconds) for lap, seconds in timed.items()}


def without_drift(visits: Sequence[Visit]) -> list[Visit]:
    """The visits as if all laps had been as fast as they were in the mean, by what their own steps took longer."""
    steps = steps_by_lap(visits)
    if not steps:
        return list(visits)
    mean = fmean(steps.values())
    found = []
    for visit in visits:
        operation, tokens, *_ = visit.key
        longer = steps.get(visit.lap, mean) - mean
        if longer and operation in FORWARDS:
            took = fmean(visit.seconds)
            kept = 1.0 - share_of_step(operation, tokens, took, mean + longer) * longer / took
            # Each sample in proportion: less the same from each, a short one would have taken less than no time.
            visit = replace(visit, seconds=tuple(kept * second for second in visit.seconds))
        found.append(visit)
    return found


def well_known(visits: Sequence[Sequence[float]]) -> bool:
    """Whether the interval of these samples is as narrow as is wanted."""
    if len(visits) < 2:
        return False
    width = half_width(visits)
    return width <= NEGLIGIBLE or width <= WANTED * fmean(fmean(samples) for samples in visits)


def time_cell(
    player: Player, key: Key, after: str | None, samples: int = SAMPLES, warm: bool = False
) -> tuple[list[float], float, float]:
    """A visit to a cell: its samples, the reference operation's time just before them, both seconds, and waiting.

    The last is a share of the time (see `operations.visit`). `after`: the target, where a draft takes turns with it
    (see `operations.time_forward`); `warm`: nothing need be warmed up.
    """
    operation, tokens, context, sequences = key
    arguments: dict[str, Any] = {"name": player.model, "tokens": tokens, "context": context}
    if operation in SEVERAL:
        arguments["sequences"] = sequences
    if after and operation == "forward":
        arguments["after"] = after
    if after and operation in ("branch", *SEVERAL):
        arguments["warm_ups"] = 1
    if warm:
        arguments["warm_ups"] = 0
    found, reference, waited = player.worker.call(
        operations.visit, operation=operation, repeats=samples, **arguments
    )
    return found, reference, waited


def due_in(plan: SamplingPlan, number: int) -> list[Key]:
    """The cells that a lap visits, all but those that are well known by then, and some more than once."""
    due = [key for key in plan.keys if number < 2 or key.operation not in DEAR]
    if number >= 2:
        wanted = set(plan.open())
        due = [key for key in due if key in wanted]
    if due:
        due += [key for key in OFTEN if key in plan.keys and key not in due]
    return [key for key in due for _ in range(_visits_in_a_lap(key))]


def _visits_in_a_lap(key: Key) -> int:
    few = key.operation in ("forward", "branch") and key.tokens <= FEW
    return OFTEN.get(key, OF_FEW if few else 1)


def run_lap(
    player: Player, plan: SamplingPlan, due: Sequence[Key], seed: str, after: str | None
) -> list[list[Any]]:
    """One lap over the cells that are `due`, as JSON; see `add_lap`.

    A lap takes contexts one after the other, since changing the context means reading it. `after`: see `time_cell`.
    """
    rng = random.Random(f"{seed} {plan.placement} {plan.model}")
    contexts = sorted({key.context for key in due})
    visits: list[list[Any]] = []
    for context in rng.sample(contexts, len(contexts)):
        keys = [key for key in due if key.context == context]
        for key in rng.sample(keys, len(keys)):
            visits.append([*key, *time_cell(player, key, after)])
    closing = player.worker.call(operations.time_reference) if visits else 0.0
    return [*visits, ["", 0, 0, 1, [], closing, 0.0]]


def add_lap(plan: SamplingPlan, found: Sequence[Sequence[Any]]) -> None:
    """Note the visits of a lap."""
    for (*key, samples, before, waited), (*_, after, _) in itertools.pairwise(found):
        plan.visits.append(Visit(Key(*key), tuple(samples), before, after, plan.laps, waited))
    plan.laps += 1
