"""One calibration, from a pair to a folder: costs of every placement, then the drafts' view of the target's text."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from calibrate import operations
from calibrate.artifact import (
    HRAD_FOLDER,
    Artifact,
    Calibration,
    Cell,
    DraftCosts,
    ModelRecord,
    PlacementCosts,
    PromptRecord,
    Together,
    Trace,
    save_artifact,
)
from calibrate.hardware import hardware, model_digest, same_hardware, software
from calibrate.hrad_traces import foresee
from calibrate.journal import Journal
from calibrate.observation import as_trace, view
from calibrate.prompts import Prompt
from engine.configuration import Configuration
from engine.models import TARGET, ModelSpec
from engine.pair import Pair
from engine.placement import Placement, candidate_placements
from engine.session import Player
from engine.tokenizer import Tokenizer

TOGETHER_TOKENS, TOGETHER_CONTEXT = 5, 128
VISIT_SAMPLES = 2

# Tokens x context, seconds of a forward; the last token counts are those of prompts. Past four rows the packed
# kernels give way to dense ones (engine.linear), hence the step from 4 to 5.
TARGET_TOKENS = (1, 2, 3, 5, 9, 17, 33, 256)
DRAFT_TOKENS = (1, 2, 4, 5, 33, 256)
FORWARD_CONTEXTS = (0, 384)
BRANCHES = (1, 2, 3, 4, 5, 8)
BRANCH_CONTEXTS = (32, 384)


@dataclass(frozen=True)
class Effort:
    """How much is measured: prompts, tokens of text for each, passes over all cells, seconds run together.

    `hrad`: whether H-RAD is trained and its foresight recorded; a dozen short texts are too few for it.
    """

    name: str
    prompts: int
    tokens: int
    passes: int
    together_seconds: float
    hrad: bool = False


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("quick", prompts=12, tokens=64, passes=2, together_seconds=1.0),
        Effort("default", prompts=36, tokens=96, passes=5, together_seconds=2.0, hrad=True),
        Effort("full", prompts=36, tokens=192, passes=20, together_seconds=6.0, hrad=True),
    )
}

Advance = Callable[[str], None]


def placements_of(pair: Pair) -> tuple[Placement, ...]:
    """The placements worth measuring on this machine."""
    return candidate_placements(pair.cores, pair.cuda_devices)


def count_steps(pair: Pair, effort: Effort, prompts: Sequence[Prompt]) -> int:
    """How often `calibrate` will report an advance."""
    costs = len(placements_of(pair)) * (1 + len(pair.drafts)) * effort.passes
    foresight = (len(prompts) + len(pair.drafts)) * effort.hrad
    return costs + len(prompts) * (1 + len(pair.drafts)) + foresight


def is_calibrated(
    artifact: Artifact,
    target: ModelSpec,
    drafts: Mapping[str, ModelSpec],
    prompts: Sequence[Prompt],
    effort: Effort,
    seed: int,
) -> bool:
    """Whether an artifact is what `calibrate` would measure again here: same pair, prompts, effort and machine."""
    calibration = artifact.calibration
    return (
        same_hardware(calibration.hardware, hardware())
        and calibration.target.spec == target
        and {name: record.spec for name, record in calibration.drafts.items()} == dict(drafts)
        and [p.digest for p in calibration.prompts] == [p.digest for p in prompts]
        and (calibration.effort, calibration.seed) == (effort.name, seed)
    )


def calibrate(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    effort: Effort,
    out: Path,
    *,
    seed: int = 0,
    advance: Advance = lambda what: None,
) -> Artifact:
    """Measure `pair`, write the folder `out` and return what it holds; resumes what was interrupted.

    `advance` hears what was just done, `count_steps` times. Raises WorkerLost if a worker dies.
    """
    models = {TARGET: pair.target, **pair.drafts}
    records = {name: ModelRecord(spec=spec, sha256=model_digest(spec)) for name, spec in models.items()}
    machine, packages = hardware(), software()
    conditions = [
        machine,
        packages,
        asdict(effort),
        seed,
        list(pair.cores),
        {name: record.model_dump(mode="json") for name, record in records.items()},
        [(p.id, p.digest) for p in prompts],
    ]
    journal = Journal(out, conditions)
    reference: dict[str, list[float]] = {}
    placements = tuple(
        _placement_costs(pair, tokenizer, prompts, placement, effort, seed, journal, reference, advance)
        for placement in placements_of(pair)
    )
    traced = [_trace(pair, tokenizer, prompt, effort, journal, advance) for prompt in prompts]
    traces = [trace for _, trace in traced]
    if effort.hrad:
        traces = foresee(pair, traces, out / HRAD_FOLDER, seed, advance)
    notes = (
        [f"{journal.resumed} steps were resumed from an interrupted calibration"] if journal.resumed else []
    )
    calibration = Calibration(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=machine,
        software=packages,
        effort=effort.name,
        seed=seed,
        target=records.pop(TARGET),
        drafts=records,
        placements=placements,
        prompts=tuple(record for record, _ in traced),
        max_tokens=effort.tokens,
        reference_seconds={placement: tuple(seconds) for placement, seconds in reference.items()},
        notes=tuple([*notes, "no sample was excluded"]),
    )
    artifact = Artifact(calibration, tuple(traces))
    save_artifact(out, artifact)
    journal.clear()
    return artifact


def _placement_costs(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    placement: Placement,
    effort: Effort,
    seed: int,
    journal: Journal,
    reference: dict[str, list[float]],
    advance: Advance,
) -> PlacementCosts:
    target, _ = pair.players(placement, None)
    seating = pair.seating(placement)

    def measure(player: Player, plan: list[Any]) -> dict[str, Any]:
        after = TARGET if seating.shared and player.model != TARGET else None
        found = _interleaved(
            player, plan, effort.passes, seed, after, lambda: advance(f"{placement}: {player.model}")
        )
        return {**found, "reference": target.worker.call(operations.time_reference)}

    def forwards(tokens: Sequence[int]) -> list[Any]:
        return [("forward", n, c) for n, c in itertools.product(tokens, FORWARD_CONTEXTS)]

    found = journal.step(f"{placement}.target", lambda: measure(target, forwards(TARGET_TOKENS)))
    steady = reference.setdefault(placement, [found["reference"]])
    drafts = {}
    for name in pair.drafts:
        plan = forwards(DRAFT_TOKENS)
        plan += [("branch", n, c) for n, c in itertools.product(BRANCHES, BRANCH_CONTEXTS)]
        plan += [("fork", n, c) for n, c in itertools.product((2, 8), BRANCH_CONTEXTS)]

        def of_draft(name: str = name, plan: list[Any] = plan) -> dict[str, Any]:
            _, player = pair.players(placement, name)
            assert player is not None
            return {
                **measure(player, plan),
                "together": None if seating.shared else _together(target, player, effort.together_seconds),
            }

        costs = journal.step(f"{placement}.{name}", of_draft)
        steady.append(costs["reference"])
        together = costs["together"]
        drafts[name] = DraftCosts(
            forward=_cells(costs, "forward"),
            branch=_cells(costs, "branch"),
            fork=_cells(costs, "fork"),
            together=Together.model_validate(together) if together else None,
        )
    hand_over = journal.step(
        f"{placement}.hand-over", lambda: _hand_over(pair, tokenizer, prompts[0], placement)
    )
    return PlacementCosts(
        placement=placement,
        target_seat=str(seating.target),
        draft_seat=str(seating.draft),
        target=_cells(found, "forward"),
        drafts=drafts,
        hand_over=tuple(hand_over),
    )


_OPERATIONS: dict[str, tuple[Callable[..., list[float]], str]] = {
    "forward": (operations.time_forward, "tokens"),
    "branch": (operations.time_branches, "branches"),
    "fork": (operations.time_fork, "branches"),
}


def _interleaved(
    player: Player, plan: list[Any], passes: int, seed: int, after: str | None, advance: Callable[[], None]
) -> dict[str, Any]:
    """Samples of each planned (operation, tokens, context), in passes of a random order each.

    A pass takes contexts one after the other, since changing the context means reading it, and takes
    `VISIT_SAMPLES` of each cell, whose warm-up they share. `after`: see `operations.time_forward`.
    """
    rng = random.Random(seed)
    found: dict[tuple[str, int, int], list[float]] = {cell: [] for cell in plan}
    contexts = sorted({context for _, _, context in plan})
    for number in range(passes):
        # Forks are orders of magnitude cheaper than forwards, but what they are set up with is not.
        due = [cell for cell in plan if cell[0] != "fork" or number == 0]
        for context in rng.sample(contexts, len(contexts)):
            cells = [cell for cell in due if cell[2] == context]
            for operation, tokens, _ in rng.sample(cells, len(cells)):
                function, key = _OPERATIONS[operation]
                arguments = {"name": player.model, key: tokens, "context": context, "repeats": VISIT_SAMPLES}
                if after and operation == "forward":
                    arguments["after"] = after
                found[operation, tokens, context] += player.worker.call(function, **arguments)
        advance()
    return {"cells": [[*cell, seconds] for cell, seconds in found.items()]}


def _cells(found: dict[str, Any], operation: str) -> tuple[Cell, ...]:
    return tuple(
        Cell(tokens=tokens, context=context, seconds=tuple(seconds))
        for kind, tokens, context, seconds in found["cells"]
        if kind == operation
    )


def _together(target: Player, draft: Player, seconds: float) -> dict[str, Any]:
    """Target forwards and draft steps alone, at the same time, and alone again."""
    plan = {"context": TOGETHER_CONTEXT, "repeats": 5}

    def forward(duration: float) -> Any:
        return target.worker.submit(
            operations.time_forward, name=target.model, tokens=TOGETHER_TOKENS, seconds=duration, **plan
        )

    def steps(duration: float) -> Any:
        return draft.worker.submit(
            operations.time_branches, name=draft.model, branches=1, seconds=duration, **plan
        )

    alone = [forward(seconds / 2).wait().value], [steps(seconds / 2).wait().value]
    both = forward(seconds), steps(seconds)
    together = [ticket.wait().value for ticket in both]
    alone[0].append(forward(seconds / 2).wait().value)
    alone[1].append(steps(seconds / 2).wait().value)
    return {
        "target_tokens": TOGETHER_TOKENS,
        "context": TOGETHER_CONTEXT,
        "target_alone": list(itertools.chain(*alone[0])),
        "target_together": together[0],
        "draft_alone": list(itertools.chain(*alone[1])),
        "draft_together": together[1],
    }


def _hand_over(pair: Pair, tokenizer: Tokenizer, prompt: Prompt, placement: Placement) -> list[float]:
    """From the end of one job to the start of the next, in a real autoregressive run: all that is not computing."""
    run = pair.generate(
        Configuration(policy="autoregressive", placement=placement),
        tokenizer.encode(prompt.text),
        max_tokens=48,
    )
    return [after.start - before.end for before, after in itertools.pairwise(run.jobs)]


def _trace(
    pair: Pair, tokenizer: Tokenizer, prompt: Prompt, effort: Effort, journal: Journal, advance: Advance
) -> tuple[PromptRecord, Trace]:
    """The target's own text after a prompt, and how every draft sees it.

    The text is written by speculative decoding, which changes nothing but which way numeric ties fall in
    bfloat16: as they do where several tokens are read at once (docs/design.md, "Numeric ties").
    """
    ids = tokenizer.encode(prompt.text)
    fastest: Placement = "in-turn"

    def write() -> list[int]:
        run = pair.generate(
            Configuration(policy="speculative", placement=fastest),
            ids,
            max_tokens=effort.tokens,
            end_tokens=tokenizer.end_tokens,
        )
        return list(run.tokens)

    def see(name: str) -> dict[str, Any]:
        _, player = pair.players(fastest, name)
        assert player is not None
        return view(player, ids, path)

    path = journal.step(f"trace.{prompt.id}.path", write)
    advance("the target's text")
    drafts = {}
    for name in pair.drafts:
        seen = journal.step(f"trace.{prompt.id}.{name}", partial(see, name))
        advance(f"traces of {name}")
        drafts[name] = as_trace(seen)
    record = PromptRecord(
        id=prompt.id, kind=prompt.kind, digest=prompt.digest, tokens=len(ids), path_tokens=len(path)
    )
    return record, Trace(np.array(ids, dtype=np.int32), np.array(path, dtype=np.int32), drafts)


def describe(artifact: Artifact) -> Iterator[str]:
    """A calibration for a person, line by line."""
    calibration = artifact.calibration
    machine = calibration.hardware
    yield f"measured {calibration.created} on {machine['processor']}, {machine['cores']} cores ({calibration.effort})"
    yield f"target {calibration.target.spec.source} in {calibration.target.spec.precision}"
    for costs in calibration.placements:
        gap = median(costs.hand_over) * 1e3
        yield f"{costs.placement}: target on {costs.target_seat}, draft on {costs.draft_seat}; hand-over {gap:.2f} ms"
        yield f"  target, ms a forward over n tokens behind 0: {_row(costs.target, 0)}"
        for name, draft in costs.drafts.items():
            yield f"  {name}, ms a step of b branches behind 32: {_row(draft.branch, 32)}"
            if draft.together:
                target, slowed = draft.together.slow_down()
                yield f"    together: target x{target:.2f}, {name} x{slowed:.2f}"
    for name in calibration.drafts:
        hits = np.concatenate([trace.drafts[name].tokens[:, 0] == trace.path for trace in artifact.traces])
        yield (
            f"{name}: its first candidate is the target's token at {hits.mean():.1%} of {len(hits)} positions "
            f"on {len(artifact.traces)} prompts"
        )
    for placement, spread in calibration.reference_seconds.items():
        low, high = min(spread) * 1e3, max(spread) * 1e3
        yield f"reference operation, {placement}: {low:.1f} to {high:.1f} ms over {len(spread)} timings"


def _row(cells: Sequence[Cell], context: int) -> str:
    return ", ".join(f"{c.tokens}: {median(c.seconds) * 1e3:.1f}" for c in cells if c.context == context)
