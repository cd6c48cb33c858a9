"""Small synthetic calibrations for tests: made up, quick to replay, with known regularities."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibrate.artifact import Artifact
from calibrate.cost_records import Cell, DraftCosts, MeasuredCosts, PlacementCosts, Together
from calibrate.costs.measurement import BATCHED_BRANCHES, BATCHED_CONTEXTS, BATCHED_TOKENS, SEQUENCES
from calibrate.records import ModelRecord
from calibrate.trace_records import DraftTrace, PromptRecord, RecordedTraces, Trace
from engine.configuration import Configuration
from engine.models.specs import ModelSpec
from engine.record import Run
from engine.runtime.placement import Placement
from scenarios.what_if import WhatIf
from sim.world.replay import NO_CHANGE, Replay

VOCABULARY = 1000
CONTEXTS = (0, 384)
# For each draft: its chance of a right first token, and the seconds of a forward.
DRAFTS: Mapping[str, tuple[float, float]] = {
    "int8": (0.9, 0.025),
    "int4": (0.7, 0.012),
    "distilled": (0.4, 0.004),
}
TARGET_SECONDS = {"at-once": 0.045, "in-turn": 0.028}


def spread(seconds: float, rng: np.random.Generator | None, samples: int = 9) -> tuple[float, ...]:
    """Samples whose median is `seconds`, within some 10%; all equal without a generator."""
    if rng is None:
        return (seconds,) * samples
    half = rng.uniform(0.0, 0.1, size=samples // 2)
    return tuple(float(seconds * (1.0 + x)) for x in sorted([0.0, *(-half), *half]))


def cells(
    base: float,
    counts: Sequence[int],
    rng: np.random.Generator | None,
    contexts: Sequence[int] = CONTEXTS,
    each: float = 0.02,
) -> tuple[Cell, ...]:
    """`base` seconds for one token behind nothing, `each` of it more for a token more, 20% more at 384."""
    return tuple(
        Cell(
            rows=n,
            cache_tokens=context,
            seconds=spread(base * (1.0 + each * (n - 1) + 0.2 * context / 384), rng),
        )
        for n in counts
        for context in contexts
    )


PER_SEQUENCE = 0.03  # of `base`, for each further sequence


def batched(
    base: float, counts: Sequence[int], rng: np.random.Generator | None, each: float = 0.02
) -> tuple[Cell, ...]:
    """As `cells`, of several sequences: so many rows of each, and their caches in all."""
    return tuple(
        Cell(
            rows=n * sequences,
            sequences=sequences,
            cache_tokens=context * sequences,
            seconds=spread(
                base
                * (
                    1.0
                    + each * (n * sequences - 1)
                    + 0.2 * context * sequences / 384
                    + PER_SEQUENCE * (sequences - 1)
                ),
                rng,
            ),
        )
        for n in counts
        for sequences in SEQUENCES
        for context in BATCHED_CONTEXTS
    )


def with_batches(made: Artifact) -> Artifact:
    """The same, with what '--batches' measures, without spread."""

    def of(placed: PlacementCosts) -> PlacementCosts:
        drafts = {}
        for name, draft in placed.drafts.items():
            seconds = float(np.median(draft.branch[0].seconds)) / (1.0 + 0.2 * 32 / 384)
            (one,) = draft.together or (None,)
            more = (
                ()
                if one is None
                else (one.model_copy(update={"target_tokens": 20, "branches": 4, "sequences": 4}),)
            )
            cells_ = batched(seconds, BATCHED_BRANCHES, None, each=0.1)
            drafts[name] = draft.model_copy(update={"batched": cells_, "batched_together": more})
        target = batched(TARGET_SECONDS[placed.placement], BATCHED_TOKENS, None)
        return placed.model_copy(update={"batched": target, "drafts": drafts})

    placements = tuple(map(of, made.costs.placements))
    return replace(made, costs=made.costs.model_copy(update={"placements": placements}))


def draft_trace(
    path: np.ndarray, right: float, rng: np.random.Generator, candidates: int = 8, reach: int = 6
) -> DraftTrace:
    """A draft that is right with chance `right`, more often where it is confident."""
    length = len(path)
    chances = -np.sort(-rng.dirichlet(np.full(candidates + 1, 0.5), size=length)[:, :candidates], axis=1)
    # The quantile of the confidence and luck decide together, so that confidence says something.
    order = chances[:, 0].argsort().argsort() / max(1, length - 1)
    hits = (
        0.5 * order + 0.5 * rng.random(length)
        >= 0.5 * (1.0 - right) * 2.0 * rng.random(length) + (1.0 - right) / 4
    )
    ranks = np.where(hits, 0, rng.integers(1, candidates + 3, size=length))
    tokens = np.stack(
        [rng.choice(VOCABULARY, size=candidates, replace=False) + VOCABULARY for _ in range(length)]
    )
    for i, rank in enumerate(ranks):
        if rank < candidates:
            tokens[i, rank] = path[i]
    wrong = ~hits
    off_tokens = rng.integers(0, 2 * VOCABULARY, size=(length, reach))
    off_chances = np.where(wrong[:, None], rng.random((length, reach)), np.nan)
    true_chance = np.where(
        ranks < candidates, chances[np.arange(length), np.minimum(ranks, candidates - 1)], 0.01
    )
    return DraftTrace(
        tokens.astype(np.int32),
        chances.astype(np.float32),
        off_tokens.astype(np.int32),
        off_chances.astype(np.float32),
        true_chance.astype(np.float32),
        bounds=chances[:, 0].astype(np.float32) ** 2,
        off_bounds=off_chances.astype(np.float32) ** 2,
        foreseen=rng.dirichlet(np.ones(17), size=length).astype(np.float32),
    )


def placement_costs(
    placement: Placement,
    rng: np.random.Generator | None,
    drafts: Mapping[str, tuple[float, float]],
    slow_downs: tuple[float, float],
) -> PlacementCosts:
    """Costs with the grids that `calibrate` measures."""
    target_slow, draft_slow = slow_downs
    costs = {}
    for name, (_, seconds) in drafts.items():
        together = Together(
            target_tokens=5,
            branches=1,
            context=128,
            target_alone=(0.05,),
            target_together=(0.05 * target_slow,),
            draft_alone=(seconds,),
            draft_together=(seconds * draft_slow,),
        )
        costs[name] = DraftCosts(
            forward=cells(seconds, (1, 2, 4, 5, 33, 256), rng),
            branch=cells(seconds, (1, 2, 3, 4, 5, 8), rng, (32, 384), each=0.1),
            fork=cells(seconds / 20, (2, 8), rng, (32, 384)),
            together=(together,) if placement == "at-once" else (),
        )
    return PlacementCosts(
        placement=placement,
        target_seat="cpu cores 0",
        draft_seat="cpu cores 1",
        target=cells(TARGET_SECONDS[placement], (1, 2, 3, 5, 9, 17, 33, 256), rng),
        drafts=costs,
        hand_over=spread(0.0003, rng),
    )


def artifact(
    *,
    prompts: int = 6,
    tokens: int = 48,
    seed: int = 0,
    drafts: Mapping[str, tuple[float, float]] = DRAFTS,
    placements: Sequence[Placement] = ("at-once", "in-turn"),
    slow_downs: tuple[float, float] = (1.05, 1.1),
    jitter: bool = True,
    candidates: int = 8,
    prompt_tokens: int = 40,
    kinds: tuple[str, str, str] = ("chat", "code", "story"),
    drawn: bool = False,
) -> Artifact:
    """A calibration of `drafts` (name -> chance of a right token, seconds of a forward) on made-up texts.

    Every third text ends early, the others at `tokens`. `drawn`: the same texts stand for those of temperature 1, too,
    and drafts that draw see them as others do.
    """
    rng = np.random.default_rng(seed)
    traces, records = [], []
    for index in range(prompts):
        length = max(1, tokens - 7) if index % 3 == 2 else tokens
        path = rng.integers(0, VOCABULARY, size=length).astype(np.int32)
        traces.append(
            Trace(
                np.arange(prompt_tokens + index, dtype=np.int32),
                path,
                {name: draft_trace(path, right, rng, candidates) for name, (right, _) in drafts.items()},
                np.full(length, 0.6, dtype=np.float32),
            )
        )
        records.append(
            PromptRecord(
                id=f"p{index}",
                kind=kinds[index % 3],
                digest=f"{index:064x}",
                tokens=prompt_tokens + index,
                path_tokens=length,
            )
        )
    origin: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "hardware": {"machine": "made up", "processor": "made up", "features": "", "cores": "2"},
        "software": {"python": "3.11"},
        "effort": "quick",
        "seed": seed,
        "target": ModelRecord(spec=ModelSpec(source="target"), sha256="0" * 64),
        "drafts": {name: ModelRecord(spec=ModelSpec(source=name), sha256="1" * 64) for name in drafts},
    }
    costs = MeasuredCosts(
        **origin,
        placements=tuple(placement_costs(p, rng if jitter else None, drafts, slow_downs) for p in placements),
        reference_seconds={p: (0.01, 0.0101) for p in placements},
    )
    recorded = RecordedTraces(
        **origin,
        prompts=tuple(records),
        max_tokens=tokens,
        temperature=1.0 if drawn else None,
        sampled_tokens=tokens if drawn else 0,
    )
    sampled = tuple(replace(trace, drawing=trace.drafts) for trace in traces) if drawn else ()
    return Artifact(costs, recorded, tuple(traces), sampled)


def replay(
    artifact: Artifact,
    configuration: Configuration,
    *,
    what_if: WhatIf = NO_CHANGE,
    seed: int = 0,
    prompts: Sequence[int] | None = None,
    tokens: int | None = None,
) -> list[Run]:
    """Runs of one configuration, one for each trace of the artifact; see `Replay` for many configurations."""
    return Replay(artifact, what_if, seed, prompts, tokens).runs(configuration)
