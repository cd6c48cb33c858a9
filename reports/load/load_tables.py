"""Predicted and measured services beside each other: a section of the page, and a table for a terminal."""

from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table as TerminalTable

from engine.metrics import Estimate
from engine.naming import in_words
from engine.runtime.workload import Arrivals
from reports.load.load_fidelity import BOUNDS, LoadFidelity, judge_loads
from reports.load.ranking import Setting, name_of
from reports.load.verifying import ComparedLoad, LoadVerification
from reports.page.sections import Section, Table
from reports.page.verdict import TONES, Tone
from reports.service_tables import SPEED_UPS, beyond_measured
from reports.verify.criteria import Finding
from reports.wording import (
    estimated,
    has_interval,
    interval,
    listing,
    number,
    percent,
    plural,
    signed,
    stacked,
)
from reports.wording import sentence as as_sentence
from scenarios.served import Batching
from sim.sweeps.served_outcome import best_autoregressive, gain, objective_at
from sim.world.reach import marked

SCALES = {"tokens_per_second": 1.0, "token_median": 1e3, "first_token_p95": 1.0}
UNITS = {
    "tokens_per_second": "tokens/s",
    "token_median": "ms a token",
    "first_token_p95": "first token 95%, s",
}
DIGITS = {"tokens_per_second": 1, "token_median": 1, "first_token_p95": 2}


def judged_briefly(verified: LoadVerification) -> tuple[Tone, str]:
    """The verdict with the sizes of errors, and its tone."""
    found = judge_loads(verified.compared, verified.reference_seconds)
    return TONES[found.verdict], said(found)


def said(found: LoadFidelity) -> str:
    """The verdict on the model in one sentence."""
    parts = [
        f"{check.figure}: {check.finding.name} {percent(check.finding.figure.value)} "
        f"(bound {percent(check.finding.bound)})"
        for check in found.checks
    ]
    unsteady = [] if found.steadiness.outcome == "held" else [found.steadiness.sentence]
    return f"{found.verdict}: {'; '.join([*unsteady, *parts])}."


def limits(finding: Finding) -> str:
    """A criterion's figure with its limits, and what came of it."""
    figure = finding.figure
    ranged = (
        f" ({percent(figure.low)} to {percent(figure.high)})"
        if has_interval(figure)
        else f" ({interval(figure)})"
    )
    return f"{percent(figure.value)}{ranged}: {finding.outcome}"


def regret_said(found: LoadFidelity) -> str:
    """What the choice by prediction lacks at each load, in a sentence."""
    lacking = [
        f"{percent(regret.lacks.value)} with {regret.load} ({regret.fastest} was the best measured)"
        for regret in found.regrets
        if regret.lacks.value > 0.0
    ]
    if not lacking:
        return "At each load the configuration that was predicted to be the best was the best measured."
    return f"What is predicted to be the best lacks of the best measured: {listing(lacking)}."


def waiting_said(compared: Sequence[ComparedLoad]) -> str:
    """For how much of the time threads waited for cores; empty where nobody knows."""
    known = [(one.waited, one) for one in compared if one.waited is not None]
    if not known:
        return ""
    most, where = max(known, key=lambda pair: pair[0])
    return (
        "Threads, the engine's own among them, kept each other waiting for a core for "
        f"{percent(median([share for share, _ in known]))} of the services' time in the median, and for "
        f"{percent(most)} with {where.measured.arrivals.label()} by {in_words(where.measured.configuration)}."
    )


def compared_section(verified: LoadVerification, setting: Setting) -> Section:
    """Predicted and measured figures of each configuration at each load."""
    found = judge_loads(verified.compared, verified.reference_seconds)
    columns = ["load", "configuration"]
    for bound in BOUNDS:
        columns += [f"{UNITS[bound.figure]}: predicted", "measured", "error"]
    columns += ["speed-up: predicted", "measured"]
    rows = tuple(
        (
            one.measured.arrivals.label(),
            marked(name_of(one.predicted, setting), one.predicted.extrapolated > 0.0),
            *_cells(one),
            *(("", "") if gains is None else (estimated(its, 2) for its in gains)),
        )
        for one, gains in zip(verified.compared, speed_ups(verified.compared), strict=True)
    )
    criteria = Table(
        "The criteria, with limits of the true figures",
        ("criterion", "at the run's pace", "asked for"),
        tuple(
            (
                f"{check.figure}, {check.finding.name}",
                limits(check.finding),
                f"at most {percent(check.finding.bound)}",
            )
            for check in found.checks
        ),
        ("criterion", "at the run's pace", "asked for"),
        shown=True,
    )
    samples = len(verified.compared[0].measured.samples)
    return Section(
        "compared",
        "Predicted and measured",
        "The engine served the same requests",
        f"{said(found)} {regret_said(found)}",
        (),
        (criteria, Table("Predicted and measured", tuple(columns), rows, ("load", "configuration"))),
        f"The engine wrote the calibration's own texts, {plural(samples, 'sample')} of the requests, in an order drawn "
        "anew; predictions are for the machine's pace of the run, timed between the services. Limits are over samples "
        f"of the requests. {SPEED_UPS} {waiting_said(verified.compared)}".rstrip(),
        items=tuple(map(as_sentence, verified.notes)),
    )


def _cells(one: ComparedLoad) -> list[str]:
    cells = []
    for bound in BOUNDS:
        name = bound.figure
        for side in (one.predicted, one.measured):
            cells.append(number(SCALES[name] * side.figures[name].value, DIGITS[name]))
        cells.append(signed(one.error(name)))
    return cells


def speed_ups(compared: Sequence[ComparedLoad]) -> list[tuple[Estimate, Estimate] | None]:
    """Of each one the predicted and the measured speed-up over autoregressive decoding at the same load.

    In the set-up that is predicted to be the best one there, on both sides; None for that one itself, and where nothing
    is decoded so.
    """
    by_load: dict[tuple[Batching, Arrivals], list[ComparedLoad]] = {}
    for one in compared:
        by_load.setdefault((one.measured.batching, one.measured.arrivals), []).append(one)
    found: list[tuple[Estimate, Estimate] | None] = []
    for one in compared:
        here = by_load[one.measured.batching, one.measured.arrivals]
        best = best_autoregressive([other.predicted for other in here])
        alone = next((other for other in here if other.predicted is best), None)
        if alone is None or alone is one:
            found.append(None)
            continue
        objective = objective_at(one.measured.arrivals)
        found.append(
            (gain(one.predicted, alone.predicted, objective), gain(one.measured, alone.measured, objective))
        )
    return found


def _beside(gains: tuple[Estimate, Estimate] | None) -> str:
    """A predicted speed-up and a measured one, below which its interval is, where it has one."""
    if gains is None:
        return ""
    predicted, measured = gains
    shown = stacked(measured, 2) if has_interval(measured) else number(measured.value, 2)
    return f"{number(predicted.value, 2)} / {shown}"


def print_verified(out: Console, title: str, verified: LoadVerification) -> None:
    """Predicted beside measured at each load, and whether the errors keep to their bounds."""
    found = judge_loads(verified.compared, verified.reference_seconds)
    table = TerminalTable(title=escape(title))
    table.add_column("configuration", overflow="fold")
    for bound in BOUNDS:
        table.add_column(f"{UNITS[bound.figure]}\npredicted / measured", justify="right", overflow="fold")
        table.add_column("error", justify="right")
    table.add_column("speed-up\npredicted / measured", justify="right", overflow="fold")
    load, over = "", speed_ups(verified.compared)
    for one, gains in zip(verified.compared, over, strict=True):
        label = "; ".join((one.measured.arrivals.label(), one.measured.batching.label()))
        if label != load:
            table.add_section()
            table.add_row(f"[bold]{escape(label)}[/bold]")
            load = label
        cells = _cells(one)
        paired = [
            cell
            for i in range(len(BOUNDS))
            for cell in (f"{cells[3 * i]} / {cells[3 * i + 1]}", cells[3 * i + 2])
        ]
        name = marked(in_words(one.measured.configuration), one.predicted.extrapolated > 0.0)
        table.add_row(f"  {escape(name)}", *paired, _beside(gains))
    out.print(table)
    if any(over):
        out.print(SPEED_UPS, highlight=False)
    for check in found.checks:
        out.print(
            f"{check.figure}, {check.finding.name}: {limits(check.finding)}; at most {percent(check.finding.bound)} is "
            "asked for.",
            highlight=False,
        )
    out.print(regret_said(found), highlight=False)
    if waited := waiting_said(verified.compared):
        out.print(waited, highlight=False)
    if found.steadiness.outcome != "held":
        out.print(as_sentence(found.steadiness.sentence), highlight=False)
    out.print(f"Is the model right, given the machine's speed meanwhile? {found.verdict}.", highlight=False)
    predicted = [one.predicted for one in verified.compared]
    if meaning := beyond_measured(predicted):
        out.print(meaning, highlight=False)
    costs = dict.fromkeys(note for outcome in predicted for note in outcome.notes)
    for note in (*verified.remarks, *costs, *verified.notes):
        out.print(as_sentence(note), highlight=False)
