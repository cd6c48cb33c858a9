"""What operations cost in each placement: laps over all cells, both models at once, and the hand-over."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibrate.cost_records import PROMPT, DraftCosts, Key, PlacementCosts, Together
from calibrate.costs import operations
from calibrate.costs.contention import (
    BATCHES,
    ONE,
    ContentionTimes,
    add_together,
    as_together,
    time_together,
)
from calibrate.costs.lengths import LONGER, contexts, with_room
from calibrate.costs.notes import notes
from calibrate.costs.sampling_plan import (
    BETWEEN,
    SamplingPlan,
    add_lap,
    due_in,
    run_lap,
)
from calibrate.journal import Journal
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.progress import Show
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement, candidate_placements, serving_placement

HAND_OVER_TOKENS = 24  # of text in each lap

# Tokens x context. Past four rows other kernels may take over (engine.kernels.linear), and time may fall there, hence 4
# beside 5; nine are read by `engine.models.fused_llama` in one pass, ten in two, and no more than 18 so.
TARGET_TOKENS = (1, 2, 3, 4, 5, 9, 10, 18)
DRAFT_TOKENS = (1, 2, 4, 5, 9, 10, 18)
SHORTEST_PROMPT = PROMPT.tokens  # what is longer than a line is only ever read behind nothing
FORWARD_CONTEXTS = (0, 384)  # as far as usual texts reach; see `calibrate.costs.lengths`
BRANCHES = (1, 2, 3, 4, 5, 8)
BRANCH_CONTEXTS = (32, 384)
BURSTS = (1, 2, 4, 8)  # steps in a row

# Of batches: sequences x rows of each, in the target those of a line, in a draft as many branches. Four rows of four
# are as many as one of sixteen, which tells what a sequence takes from what a row does (`calibrate.costs.forward_fit`);
# five of four are more than two compiled passes. Behind no long context: as many caches as sequences have to be held.
SEQUENCES, BATCHED_CONTEXTS = (4, 16), (32, 256)
BATCHED_TOKENS, BATCHED_BRANCHES = (1, 2, 4, 5, 9), (1, 2, 4)
# Sequences and tokens of a prompt's chunk beside a row of each other sequence: as many rows in all as a batch above
# has, which tells what it takes to score a row, and of 4 and of 16, which tells what a sequence takes where another
# kernel reads many. And of prompts together: as many rows as a forward has at most (`engine.runtime.scheduler.Budget`).
CHUNKED, TOGETHER = ((4, 33), (16, 49), (4, 141), (16, 129)), (4, 128)


@dataclass(frozen=True)
class SamplingBudget:
    """How long costs are measured: `fewest` laps, then more over what is not known well enough, for `seconds` in all.

    `together_seconds`: how long each pair of operations runs at once in each lap. `batches`: whether forwards of
    several sequences are measured, too.
    """

    fewest: int
    seconds: float
    together_seconds: float
    batches: bool = False


@dataclass(frozen=True)
class Reach:
    """How far costs are measured: behind up to `tokens` of context, or as far as usual texts reach if that is more.

    `prompt`: the longest prompt, if a longer one than those given is wanted; `positions`: of the models, at most.
    """

    tokens: int
    prompt: int = 0
    positions: int | None = None

    def contexts(self, usual: Sequence[int]) -> tuple[int, ...]:
        """Those to measure behind, where `usual` ones are told."""
        return contexts(usual, self.tokens, self.positions)


@dataclass(frozen=True)
class Measured:
    """Costs by placement, times of the reference operation by placement, and what a reader has to know."""

    placements: tuple[PlacementCosts, ...]
    reference: dict[str, tuple[float, ...]]
    notes: tuple[str, ...]


@dataclass
class _Beside:
    """What a lap finds beside the cells: both models at once, by draft and sequences, and the hand-over."""

    together: dict[str, dict[int, ContentionTimes]] = field(default_factory=dict)
    hand_over: list[float] = field(default_factory=list)


def placements_of(pair: Pair) -> tuple[Placement, ...]:
    """The placements worth measuring on this machine."""
    return candidate_placements(pair.cores, pair.cuda_devices)


@dataclass
class CostLaps:
    """Laps over all costs of a pair, for prompts of so many tokens as `lengths` has, made when they are asked for.

    A machine's speed changes over minutes, and laps in a row would describe their own few minutes alone. So the caller
    makes them between its other work, all through the calibration, and `finish` makes those that are left. `show`
    hears of the time spent and how many cells are still open; `hrad`: whether H-RAD's inference is timed too; `reach`:
    behind how long a context; `prompt`: of the runs that tell the hand-over.
    """

    pair: Pair
    prompt: Sequence[int]
    lengths: Sequence[int]
    budget: SamplingBudget
    seed: int
    journal: Journal
    show: Show
    hrad: bool
    reach: Reach
    made: int = 0
    looks: int = 0
    spent: float = 0.0  # seconds
    plans: dict[Placement, list[SamplingPlan]] = field(init=False)
    beside: dict[Placement, _Beside] = field(init=False)

    def __post_init__(self) -> None:
        self.plans = {
            placement: [
                SamplingPlan(
                    placement,
                    model,
                    _plan(
                        model,
                        self.lengths,
                        self.reach,
                        hrad=self.hrad,
                        batches=self.budget.batches,
                        alone=not self.pair.seating(placement).shared,
                    ),
                )
                for model in (TARGET, *self.pair.drafts)
            ]
            for placement in placements_of(self.pair)
        }
        self.beside = {placement: _Beside() for placement in self.plans}

    @property
    def everything(self) -> list[SamplingPlan]:
        """The plans of all placements."""
        return [plan for some in self.plans.values() for plan in some]

    @property
    def over(self) -> bool:
        """Whether no further lap is due."""
        return not any(map(self._due, self.everything))

    def _due(self, plan: SamplingPlan) -> bool:
        return self.made < self.budget.fewest or (self.spent < self.budget.seconds and bool(plan.open()))

    def run_next(self) -> None:
        """The next lap, over all plans that are due. Raises WorkerLost if a worker dies."""
        for plan in self.everything:
            if not self._due(plan):
                continue
            found = self.journal.step(
                f"costs.{plan.placement}.{plan.model}.{self.made}",
                lambda plan=plan: _lap(  # type: ignore[misc]
                    self.pair, self.prompt, plan, self.made, self.budget, self.seed
                ),
            )
            add_lap(plan, found["visits"])
            _note(self.beside[plan.placement], plan.model, found)
            self.spent += found["seconds"]
            floor = round(self.spent / (self.made + 1) * max(self.budget.fewest, self.made + 1))
            self._tell(max(round(self.budget.seconds), floor, 1))
        self.made += 1

    def look(self) -> None:
        """A short lap over what tells the pace of each model in each placement. Raises WorkerLost if a worker dies."""
        for plan in self.everything:
            visits = self.journal.step(
                f"pace.{plan.placement}.{plan.model}.{self.looks}",
                lambda plan=plan: _visits(  # type: ignore[misc]
                    self.pair, plan, BETWEEN, f"{self.seed} look {self.looks}"
                ),
            )
            add_lap(plan, visits)
        self.looks += 1

    def finish(self) -> Measured:
        """All laps that are left, and what all of them found. Raises WorkerLost if a worker dies."""
        while not self.over:
            self.run_next()
        self._tell(round(self.spent))
        return Measured(
            tuple(
                _placement_costs(self.pair, placement, some, self.beside[placement])
                for placement, some in self.plans.items()
            ),
            {
                placement: tuple(visit.before for plan in some for visit in plan.visits)
                for placement, some in self.plans.items()
            },
            tuple(notes(self.everything)),
        )

    def _tell(self, seconds: int) -> None:
        """Show how far the laps are, of `seconds` in all."""
        left = sum(len(plan.open()) for plan in self.everything)
        cells = sum(len(plan.keys) for plan in self.everything)
        self.show(f"costs: {left} of {cells} cells open", round(self.spent), seconds)


def prompt_lengths(pair: Pair, prompts: Sequence[Sequence[int]], reach: Reach) -> tuple[int, ...]:
    """Of which lengths prompts are timed, in tokens, of each model. Raises WorkerLost if a worker dies."""
    lengths, placement = prompt_tokens(prompts, reach.prompt), placements_of(pair)[0]
    for name in (None, *pair.drafts):
        target, draft = pair.players(placement, name)
        one = draft or target
        lengths = on_both_sides(lengths, one.worker.call(operations.most_compiled_rows, name=one.model))
    return lengths


def prompt_tokens(prompts: Sequence[Sequence[int]], longer: int = 0) -> tuple[int, ...]:
    """How many tokens the prompts have that are timed: as many as the median and the longest of those given.

    And `longer`, if that is more.
    """
    found = [SHORTEST_PROMPT]
    for tokens in [*np.quantile([len(prompt) for prompt in prompts], (0.5, 1.0)).tolist(), longer]:
        if tokens >= LONGER * found[-1]:
            found.append(round(tokens))
    return tuple(found)


def on_both_sides(lengths: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The lengths, and `most` with the next one if they lie well among them: up to so many tokens are read in one way.

    More are read in another, and take a step longer; between lengths that were timed a time is interpolated. Times go
    on behind the longest as between the last two, which must not be next to each other.
    """
    if not lengths[0] < most < lengths[-1] / LONGER:
        return lengths
    return tuple(sorted({*lengths, most, most + 1}))


def _plan(
    model: str, lengths: Sequence[int], reach: Reach, *, hrad: bool, batches: bool, alone: bool
) -> list[Key]:
    """What is timed of a model; `alone`: a draft has a device of its own, on which it may have to wait."""

    def grid(
        operation: str, tokens: Sequence[int], contexts: Sequence[int], sequences: Sequence[int] = (1,)
    ) -> list[Key]:
        return [Key(operation, *place) for place in itertools.product(tokens, contexts, sequences)]

    forwards, branches = reach.contexts(FORWARD_CONTEXTS), reach.contexts(BRANCH_CONTEXTS)
    plan = grid("forward", lengths, (0,))
    if batches:
        rows = BATCHED_TOKENS if model == TARGET else BATCHED_BRANCHES
        behind = tuple(dict.fromkeys(with_room(context, reach.positions) for context in BATCHED_CONTEXTS))
        plan += grid("batched", rows, behind, SEQUENCES)
        chunks = [Key("chunked", tokens, behind[0], sequences) for sequences, tokens in CHUNKED]
        chunks.append(Key("prompts", TOGETHER[1], behind[0], TOGETHER[0]))
        plan += [key for key in chunks if with_room(key.tokens, reach.positions) == key.tokens]
    if model == TARGET:
        plan += grid("forward", TARGET_TOKENS, forwards)
        plan += grid("draw", (1, 5, 17), (0,))
        return plan + grid("foresight", (8,), (0,)) if hrad else plan
    plan += grid("forward", DRAFT_TOKENS, forwards) + grid("branch", BRANCHES, branches)
    plan += grid("burst", BURSTS, branches[:1]) if alone else []
    return plan + grid("fork", (2, 8), branches) + grid("draw", (1, 4), (0,))


def _lap(
    pair: Pair, prompt: Sequence[int], plan: SamplingPlan, number: int, budget: SamplingBudget, seed: int
) -> dict[str, Any]:
    """One lap of a model in a placement, as JSON."""
    placement = plan.placement
    draft = None if plan.model == TARGET else plan.model
    target, other = pair.players(placement, draft)
    shared = pair.seating(placement).shared
    began = time.monotonic()
    found: dict[str, Any] = {"visits": _visits(pair, plan, due_in(plan, number), f"{seed} {number}")}
    if not shared and other is not None:
        found["together"] = [[ONE.sequences, time_together(target, other, budget.together_seconds, ONE)]]
        if budget.batches and number < 2:
            # What several requests are served by, which may be another process.
            beside, served = pair.players(serving_placement(placement, draft), draft)
            assert served is not None
            found["together"] += [
                [crossed.sequences, time_together(beside, served, budget.together_seconds, crossed)]
                for crossed in BATCHES
            ]
    if (other is None) == shared:  # of the target's laps where models take turns, else of the drafts'
        found["hand_over"] = _hand_over(pair, prompt, placement, draft)
    return {**found, "seconds": time.monotonic() - began}


def _visits(pair: Pair, plan: SamplingPlan, due: Sequence[Key], seed: str) -> list[list[Any]]:
    """A lap over the cells that are `due`, the models seated, as JSON."""
    draft = None if plan.model == TARGET else plan.model
    target, other = pair.players(plan.placement, draft)
    after = TARGET if other and pair.seating(plan.placement).shared else None
    return run_lap(other or target, plan, due, seed, after)


def _note(beside: _Beside, model: str, found: dict[str, Any]) -> None:
    beside.hand_over += found.get("hand_over", [])
    for sequences, sampled in found.get("together", []):
        add_together(beside.together.setdefault(model, {}).setdefault(sequences, {}), sampled)


def _hand_over(pair: Pair, prompt: Sequence[int], placement: Placement, draft: str | None) -> list[float]:
    """From the end of what is waited for together to the start of the next job, in a real run: all but computing.

    Where models take turns, of autoregressive decoding; where they compute at once, of a draft that does beside the
    target.
    """
    policy = "pearl" if draft else "autoregressive"
    configuration = Configuration(policy=policy, draft=draft, draft_length=2, placement=placement)
    run = pair.generate(configuration, prompt, max_tokens=HAND_OVER_TOKENS)
    return [seconds for _, seconds in run.hand_overs()][:-1]


def _placement_costs(
    pair: Pair, placement: Placement, plans: Sequence[SamplingPlan], beside: _Beside
) -> PlacementCosts:
    seating = pair.seating(placement)
    target, *drafts = plans

    def together(draft: str) -> dict[bool, tuple[Together, ...]]:
        """By whether it is of several sequences."""
        known = beside.together.get(draft, {})
        return {
            several: tuple(
                one
                for sequences, times in known.items()
                if (sequences > 1) is several
                for one in as_together(times, sequences)
            )
            for several in (False, True)
        }

    return PlacementCosts(
        placement=placement,
        target_seat=str(seating.target),
        draft_seat=str(seating.draft),
        target=target.cells("forward"),
        batched=target.cells("batched"),
        chunked=target.cells("chunked", "prompts"),
        draw=target.cells("draw"),
        foresight=target.cells("foresight"),
        drafts={
            plan.model: DraftCosts(
                forward=plan.cells("forward"),
                batched=plan.cells("batched"),
                chunked=plan.cells("chunked", "prompts"),
                branch=plan.cells("branch"),
                burst=plan.cells("burst"),
                fork=plan.cells("fork"),
                draw=plan.cells("draw"),
                together=together(plan.model)[False],
                batched_together=together(plan.model)[True],
            )
            for plan in drafts
        },
        hand_over=tuple(beside.hand_over),
    )
