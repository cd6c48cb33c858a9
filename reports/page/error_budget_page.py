"""How an error budget is shown: a section of the page, and a table for a terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as TerminalTable

from engine.naming import in_words
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, labelled_rows, layout, named
from reports.page.sections import Section, Table, single
from reports.verify.error_budget import ErrorBudget, Parts, Row
from reports.wording import LONG, number, percent, plain, plural, signed

TINTS = {
    "scheduling": colour.PURPLE,
    "timing": colour.BLUE,
    "acceptance": colour.AMBER,
    "unmatched": colour.MUTED,
}
COLUMNS = (
    "configuration",
    "measured tokens/s",
    "predicted tokens/s",
    "error",
    *Parts.model_fields,
    "runs matched",
)
MEANING = (
    "Scheduling: the measured runs' own rounds and durations, scheduled by the simulator. Timing: the calibration's "
    "durations instead. Acceptance: the calibration's prompts instead of these. Unmatched: what runs add that near "
    "ties led through other rounds than the simulator's."
)


def error_budget(budget: ErrorBudget) -> Section:
    """The parts of every configuration's error."""
    caption = (
        "Bars: the parts of the error of the predicted tokens/s, in percent of the measured; to the right, predicted "
        f"too fast. Diamonds: the whole error. {MEANING}"
    )
    label = "Stacked bars of the parts of each configuration's error: scheduling, timing, acceptance, unmatched runs"
    rows = tuple(map(_cells, budget.rows))
    return Section(
        "budget",
        "Error budget",
        "Where the errors come from",
        finding(budget),
        (single("budget", label, _figure(budget.rows), caption),),
        (Table("The parts of each error", COLUMNS, rows, COLUMNS[:1], shown=True),),
        "Scheduling and timing are those of the runs which the simulator plays round for round.",
    )


def finding(budget: ErrorBudget) -> str:
    """What the budget says, in words."""
    matched, runs = sum(row.matched for row in budget.rows), sum(row.runs for row in budget.rows)
    parts = budget.medians
    if parts is None:
        return f"No part is known: the simulator played none of {plural(runs, 'run')} round for round."
    sizes = {name: getattr(parts, name) for name in Parts.model_fields}
    largest = max(sizes, key=lambda name: sizes[name])
    listed = ", ".join(f"{name} {percent(size)}" for name, size in sizes.items())
    return (
        f"In the median of {plural(len(budget.rows), 'configuration')} the error is {percent(budget.median_error)} of "
        f"the measured tokens/s, and its parts are {listed}, so {largest} is the largest. {_kept(matched, runs)}"
    )


def _kept(matched: int, runs: int) -> str:
    if matched == runs:
        return f"All {plural(runs, 'run')} went round for round as simulated."
    return f"{matched} of {plural(runs, 'run')} went round for round as simulated."


def print_error_budget(out: Console, budget: ErrorBudget) -> None:
    """The table, the medians of the parts' sizes, and what the parts mean."""
    table = TerminalTable(title="The error of the predicted tokens/s, in parts")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right", overflow="fold")
    for row in budget.rows:
        table.add_row(*map(escape, _cells(row)))
    medians = budget.medians
    table.add_section()
    table.add_row(
        "median size",
        "",
        "",
        percent(budget.median_error),
        *(percent(getattr(medians, name)) if medians else "" for name in Parts.model_fields),
        "",
    )
    out.print(table)
    out.print(f"{finding(budget)} {MEANING}", highlight=False)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        in_words(row.configuration),
        number(row.measured),
        number(row.predicted),
        signed(row.error),
        *(signed(getattr(row.parts, name)) if row.parts else "" for name in Parts.model_fields),
        f"{row.matched} of {row.runs}",
    )


def _figure(rows: tuple[Row, ...]) -> Figure:
    """Parts to both sides of 0, stacked, and the whole error over them."""
    places = list(range(len(rows)))
    hover = [
        "<br>".join(
            [
                f"<b>{plain(in_words(row.configuration), LONG)}</b>: error {signed(row.error)}",
                *(
                    f"{name} {signed(getattr(row.parts, name))}"
                    for name in Parts.model_fields
                    if row.parts is not None
                ),
                f"{row.matched} of {plural(row.runs, 'run')} matched",
            ]
        )
        for row in rows
    ]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": places,
            "x": [100 * getattr(row.parts, name) if row.parts else None for row in rows],
            "width": 0.6,
            "marker": {"color": TINTS[name]},
            "hovertext": hover,
            **HOVER,
        }
        for name in Parts.model_fields
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "whole error",
            "y": places,
            "x": [100 * row.error for row in rows],
            "marker": {
                "symbol": "diamond",
                "size": 9,
                "color": colour.INK,
                "line": {"width": 1, "color": colour.SURFACE},
            },
            "hovertext": hover,
            **HOVER,
        }
    )
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows(named([row.configuration for row in rows]), 104, 44),
            barmode="relative",
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 40, "b": 8},
            xaxis=axis("percent of the measured tokens/s", zeroline=True, zerolinecolor=colour.MUTED),
        ),
    }
