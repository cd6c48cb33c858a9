"""What `verify` simulates beside what it runs: overheads on and off, sensitivities, and the sweep. Torch-free."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from calibrate.artifact import Artifact
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.configuration import Configuration
from engine.metrics import measure, speed, speed_up
from engine.progress import Advance
from engine.record import Run
from engine.runtime.placement import Seat
from reports.verify.verification import Occupied, Point, Supposed
from scenarios.what_if import WhatIf
from sim.sweeps.run import best_autoregressive
from sim.world.replay import NO_CHANGE, Replay

# With everything, then without overheads (see `WhatIf`), without contention, without both.
WORLDS = (
    NO_CHANGE,
    WhatIf(overheads=False),
    WhatIf(contention=False),
    WhatIf(overheads=False, contention=False),
)
COUNTS = (1, 2, 4, 8)  # of branches, for which overheads are switched off
FASTER, POINTS = 1.5, 0.10  # of the sensitivities: a factor and its inverse, points of alignment up and down
LENGTHS, BRANCHES = (1, 2, 3, 4, 5, 6, 8, 10), (1, 2, 3, 4, 6, 8)  # of the sweep
ALIGNMENTS = (
    0.5,
    0.8,
)  # to which the sweep changes the drafts; then fewer values, on no more prompts than these
SOME_LENGTHS, SOME_BRANCHES, SOME_PROMPTS = (1, 2, 4, 6, 8), (1, 2, 4, 8), 12


def count_steps(artifact: Artifact) -> int:
    """How often `sweep` will report an advance."""
    return len(artifact.recorded.drafts) * (1 + len(ALIGNMENTS))


def overheads(here: Artifact, configurations: Sequence[Configuration], seed: int = 0) -> tuple[Supposed, ...]:
    """Each configuration in each of `WORLDS`, replayed on the texts of `here`; then SpecBranch by count of branches.

    That is each of the configurations that is SpecBranch, the first one for each draft, with `COUNTS` branches.
    """
    branched: dict[str | None, Configuration] = {}
    for c in configurations:
        if c.policy == "specbranch":
            branched.setdefault(c.draft, c)
    counted = [
        c.model_copy(update={"branches": count, "adaptive_branches": False})
        for c in branched.values()
        for count in COUNTS
    ]
    found: list[Supposed] = []
    unchanged = Replay(here, seed=seed)
    for world in map(unchanged.under, WORLDS):
        found += _suppose(world, configurations)
        found += _suppose(world, counted, over_one=True)
    return tuple(found)


def changes(artifact: Artifact, configuration: Configuration) -> Iterator[WhatIf]:
    """The sensitivities' changes, as far as the configuration depends on them; no change first."""
    yield NO_CHANGE
    draft = configuration.draft_among(artifact.recorded.drafts)
    yield from (WhatIf(target_speed=factor) for factor in (FASTER, 1.0 / FASTER))
    if draft is not None:
        yield from (WhatIf(draft_speed=factor) for factor in (FASTER, 1.0 / FASTER))
        drawn = configuration.draws_drafts and artifact.temperature > 0.0
        share = first_token_shares(artifact, drawn=drawn)[draft]
        wished = share + POINTS, share - POINTS
        yield from (WhatIf(alignment=share) for share in wished if 0.0 < share < 1.0)
        yield WhatIf(contention=False)
    yield WhatIf(overheads=False)


def sensitivities(artifact: Artifact, configuration: Configuration, seed: int = 0) -> tuple[Supposed, ...]:
    """The configuration and the best autoregressive placement under each of `changes`, in this order."""
    found: list[Supposed] = []
    unchanged = Replay(artifact, seed=seed)
    for world in map(unchanged.under, changes(artifact, configuration)):
        alone, _ = best_autoregressive(world.runs, world.placements)
        found += _suppose(world, [configuration, alone])
    return tuple(found)


def occupied(artifact: Artifact) -> tuple[Occupied, ...]:
    """What each placement takes of the machine."""
    found = []
    for costs in artifact.costs.placements:
        target, draft = Seat.of(costs.target_seat), Seat.of(costs.draft_seat)
        unit: Literal["core", "device"] = "core" if target.cores else "device"
        both = len(target.units | draft.units)
        found.append(Occupied(placement=costs.placement, target=len(target.units), both=both, unit=unit))
    return tuple(found)


def sweep(artifact: Artifact, seed: int = 0, advance: Advance = lambda what: None) -> tuple[Point, ...]:
    """SpecBranch over draft length x branches, PEARL and speculative decoding over draft length, for every draft.

    Parallel methods on devices of their own if there are any, speculative decoding in turn. First with alignment as
    recorded, then over fewer values and prompts with the drafts' alignment changed to `ALIGNMENTS`.
    """
    points: list[Point] = []
    for alignment in (None, *ALIGNMENTS):
        count = len(artifact.traces)
        few = range(0, count, -(-count // SOME_PROMPTS)) if alignment is not None else None
        world = Replay(artifact, WhatIf(alignment=alignment), seed, few)
        _, baseline = best_autoregressive(world.runs, world.placements)
        for draft in artifact.recorded.drafts:
            for configuration in _grid(world, draft, alignment is None):
                runs = world.runs(configuration)
                point = Point(
                    configuration=configuration,
                    alignment=alignment,
                    speed=speed(runs),
                    best_speed_up=speed_up(runs, baseline),
                    metrics=measure(runs),
                    far_context=world.is_far(configuration),
                )
                points.append(point)
            advance("simulating the sweep")
    return tuple(points)


def _grid(world: Replay, draft: str, whole: bool) -> Iterator[Configuration]:
    lengths, branches = (LENGTHS, BRANCHES) if whole else (SOME_LENGTHS, SOME_BRANCHES)
    in_turn = next((p for p in world.placements if p == "in-turn"), world.placements[0])
    for length in lengths:
        for policy, placement in (("speculative", in_turn), ("pearl", world.placements[0])):
            yield Configuration(policy=policy, draft=draft, draft_length=length, placement=placement)
    for length, count in itertools.product(lengths, branches):
        yield Configuration(
            policy="specbranch",
            draft=draft,
            draft_length=length,
            branches=count,
            adaptive_branches=False,
            placement=world.placements[0],
        )


def _suppose(
    world: Replay, configurations: Iterable[Configuration], over_one: bool = False
) -> Iterator[Supposed]:
    """Configurations under one change; with `over_one` each is a count of branches, one first."""
    _, baseline = best_autoregressive(world.runs, world.placements)
    one: Sequence[Run] = ()
    for c in configurations:
        runs = world.runs(c)
        if over_one and c.branches == 1:
            one = runs
        yield Supposed(
            configuration=c,
            what_if=world.what_if,
            speed=speed(runs),
            best_speed_up=speed_up(runs, baseline),
            over_one=speed_up(runs, one) if over_one else None,
            far_context=world.is_far(c),
        )
