"""What a calibration found, on one screen: a step of each model, how often a draft is right, how sure all that is.

All the rest is what `calibrate.summary` and `sim.world.explained` tell.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from calibrate.artifact import Artifact
from calibrate.cost_records import Cell, DraftCosts, PlacementCosts, step_of
from calibrate.costs.slow_downs import MOST_SLOW, slow_downs
from calibrate.intervals import uncertainty
from calibrate.traces.acceptance_statistics import acceptance_statistics
from engine.models.specs import TARGET
from engine.naming import SEATS, in_words
from reports.wording import number, percent, sentence
from sim.world.explained import explain


def print_brief(out: Console, artifact: Artifact, whole: str) -> None:
    """A table and some sentences; `whole`: the command that prints everything."""
    measured, machine = artifact.costs, artifact.costs.hardware
    out.print(_table(artifact))
    said = [
        *(sentence(remark) for remark in artifact.remarks),
        f"Measured on {machine['processor']}, {machine['cores']} cores, with the effort '{measured.effort}', on "
        f"{len(artifact.traces)} prompts. {' '.join(_seats(measured.placements))}",
        *_accounted(artifact),
        *(sentence(note.split(": ")[0]) for note in measured.notes),
        f"Everything that was measured: {whole}",
    ]
    for line in said:
        out.print(line, highlight=False, markup=False)


def _table(artifact: Artifact) -> Table:
    placements = artifact.costs.placements
    right = {found.draft: found.overall.within[0] for found in acceptance_statistics(artifact)}
    table = Table(title="A step of each model, alone, and how often a draft is right")
    table.add_column("model", overflow="fold")
    headings = [f"{SEATS[p.placement]}, ms" for p in placements]
    for heading in [*headings, "steps in one\nof the target", "right (95%)"]:
        table.add_column(heading, justify="right", overflow="fold")
    target = [step_of(p, TARGET) for p in placements]
    table.add_row("target", *map(_shown, target), "", "")
    for name in artifact.recorded.drafts:
        steps = [step_of(p, name) for p in placements]
        dearer = [median(t.seconds) / median(d.seconds) for t, d in zip(target, steps, strict=True)]
        table.add_row(
            escape(name),
            *map(_shown, steps),
            ", ".join(map(number, dearer)),
            f"{percent(right[name].value)}\n{number(100 * right[name].low)} to {percent(right[name].high)}",
        )
    return table


def _shown(cell: Cell) -> str:
    """In milliseconds, with half of its 95% interval where that is known."""
    share = uncertainty(cell)
    known = f"\n\u00b1{percent(share, 0)}" if share < 1.0 else "\nunsure"
    return number(1e3 * median(cell.seconds)) + known


def _seats(placements: Sequence[PlacementCosts]) -> Iterator[str]:
    for costs in placements:
        yield (
            f"{SEATS[costs.placement].capitalize()}: the target on {costs.target_seat}, the draft on "
            f"{costs.draft_seat}."
        )
        slowed = {name: _slowed(draft) for name, draft in costs.drafts.items() if draft.together}
        if slowed:
            yield (
                "While both compute they take so many times as long, target and draft: "
                + ", ".join(f"{name} {_factor(a)} and {_factor(b)}" for name, (a, b) in slowed.items())
                + "."
            )


def _factor(slower: float) -> str:
    """At its cap it is no finding: what a short step does to a long one is lost in how the long one scatters."""
    return number(slower) if slower < MOST_SLOW else "unsure"


def _slowed(draft: DraftCosts) -> tuple[float, float]:
    """The target and the draft, in the median over what was timed at once."""
    target, own = zip(*slow_downs(draft.together), strict=True)
    return median(target), median(own)


def _accounted(artifact: Artifact) -> Iterator[str]:
    """How much of real rounds' time is what their parts add up to."""
    for found in explain(artifact):
        share = found.share
        yield (
            f"Put together, the parts make {percent(share.value)} ({number(100 * share.low)} to {percent(share.high)}) "
            f"of what {found.rounds} real rounds of {in_words(found.configuration)} took."
        )
