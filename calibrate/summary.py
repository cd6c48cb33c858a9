"""A calibration in words, for a person."""

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from calibrate.artifact import Artifact
from calibrate.cost_records import PAUSE, Cell, MeasuredCosts, PlacementCosts
from calibrate.costs.forward_fit import ForwardFit, Terms
from calibrate.costs.slow_downs import slow_downs
from calibrate.intervals import uncertainty
from engine.models.specs import TARGET


def describe(artifact: Artifact) -> Iterator[str]:
    """A calibration for a person, line by line."""
    measured, machine = artifact.costs, artifact.costs.hardware
    yield f"measured {measured.created} on {machine['processor']}, {machine['cores']} cores ({measured.effort})"
    yield f"target {measured.target.spec.source} in {measured.target.spec.precision}"
    yield from artifact.remarks
    limited = measured.positions
    yield (
        f"costs are known behind contexts of up to {measured.longest_context} tokens"
        + (f"; the models have positions for {limited}" if limited else "")
    )
    yield from _autoregressive(measured)
    for costs in measured.placements:
        gap = median(costs.hand_over) * 1e3
        yield f"{costs.placement}: target on {costs.target_seat}, draft on {costs.draft_seat}; hand-over {gap:.2f} ms"
        yield f"  target, ms a forward over n tokens behind 0: {_row(costs.target, 0)}"
        if costs.batched:
            yield f"  target, ms a forward over n rows of several sequences: {_batched(costs.batched)}"
        if costs.chunked:
            yield f"  target, the same with prompts among them: {_batched(costs.chunked)}"
        for name, draft in costs.drafts.items():
            yield f"  {name}, ms a step of b branches behind 32: {_row(draft.branch, 32)}"
            if draft.batched:
                yield f"    ms a step of b branches of several sequences: {_batched(draft.batched)}"
            if draft.chunked:
                yield f"    the same with prompts among them: {_batched(draft.chunked)}"
            if draft.burst:
                yield (
                    f"    n steps in a row behind {PAUSE * 1e3:.0f} ms of idleness, ms: "
                    f"{_row(draft.burst, draft.burst[0].cache_tokens)}"
                )
            if draft.together:
                timed = (*draft.together, *draft.batched_together)
                slowed = (
                    f"{t.target_tokens} and {t.branches}{_of(t.sequences)}: x{target:.2f} and x{own:.2f}"
                    for t, (target, own) in zip(timed, slow_downs(timed), strict=True)
                )
                yield f"    at once, target of n tokens and {name} of b branches: {', '.join(slowed)}"
        yield from _small(costs)
        yield f"  fitted, a forward beyond its rows: {', '.join(_fitted(costs))}"
    for name in artifact.recorded.drafts:
        hits = np.concatenate([trace.drafts[name].tokens[:, 0] == trace.path for trace in artifact.traces])
        yield (
            f"{name}: its first candidate is the target's token at {hits.mean():.1%} of {len(hits)} positions "
            f"on {len(artifact.traces)} prompts"
        )
    for placement, seconds in measured.reference_seconds.items():
        low, middle, high = (1e3 * float(x) for x in np.percentile(seconds, [5, 50, 95]))
        yield (
            f"reference operation, {placement}: {middle:.1f} ms, 5th to 95th percentile {low:.1f} to {high:.1f}, over "
            f"{len(seconds)} timings"
        )
    yield from measured.notes


def _autoregressive(measured: MeasuredCosts) -> Iterator[str]:
    """Which placement decodes fastest without a draft, by a forward of one token behind the longest context."""
    steps = {}
    for costs in measured.placements:
        ones = [cell for cell in costs.target if cell.rows == 1]
        steps[costs.placement] = max(ones, key=lambda cell: cell.cache_tokens)
    best = min(steps, key=lambda placement: median(steps[placement].seconds))
    shown = ", ".join(f"{p} {median(c.seconds) * 1e3:.1f} ms {_known(c)}" for p, c in steps.items())
    yield f"best autoregressive set-up: {best} (a token behind {steps[best].cache_tokens}: {shown})"


def _fitted(costs: PlacementCosts) -> Iterator[str]:
    """What a token of the cache and a further sequence take and the like, and what the fit leaves, for each model."""
    models = {TARGET: (*costs.target, *costs.batched, *costs.chunked)}
    models |= {name: (*draft.forward, *draft.batched, *draft.chunked) for name, draft in costs.drafts.items()}
    for name, cells in models.items():
        fit = ForwardFit.of(cells)
        said = _terms(fit.few.terms)
        said += f"; of more than {fit.knee} rows {_terms(fit.many.terms)}" if fit.knee else ""
        yield f"{name} {said} (residual {fit.residual:.1%})"


def _terms(terms: Terms) -> str:
    shown = [f"{terms.cache_token * 1e6:.2f} us a token of the cache"]
    if terms.attended:
        shown.append(f"{terms.attended * 1e6:.2f} us a row that sees it")
    if terms.sequence:
        shown.append(f"{terms.sequence * 1e6:.1f} us a further sequence")
    if terms.scored:
        shown.append(f"{terms.scored * 1e6:.1f} us a row that is scored")
    return " and ".join(shown)


def _small(costs: PlacementCosts) -> Iterator[str]:
    """What is done beside forwards."""
    parts = [
        *((f"select a branch ({name})", draft.fork) for name, draft in costs.drafts.items()),
        ("draw at a temperature", costs.draw),
        ("H-RAD", costs.foresight),
    ]
    found = [(what, [cell.seconds for cell in cells]) for what, cells in parts]
    shown = [
        f"{what} {min(times):.0f} to {max(times):.0f}"
        for what, sampled in found
        if (times := [median(seconds) * 1e6 for seconds in sampled])
    ]
    if shown:
        yield f"  beside forwards, us: {', '.join(shown)}"


def _row(cells: Sequence[Cell], context: int) -> str:
    return ", ".join(
        f"{c.rows}: {median(c.seconds) * 1e3:.1f} {_known(c)}" for c in cells if c.cache_tokens == context
    )


def _batched(cells: Sequence[Cell]) -> str:
    """Behind the shortest context of each sequence."""
    shortest = min(cell.cache_tokens / cell.sequences for cell in cells)
    return ", ".join(
        f"{c.rows}{_of(c.sequences)}: {median(c.seconds) * 1e3:.1f} {_known(c)}"
        for c in cells
        if c.cache_tokens / c.sequences == shortest
    )


def _of(sequences: int) -> str:
    return f" of {sequences}" if sequences > 1 else ""


def _known(cell: Cell) -> str:
    """Half of the 95% interval."""
    share = uncertainty(cell)
    return f"(+-{share:.1%})" if share < 10.0 else "(+-?)"
