"""A schedule by load as tables for a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.naming import in_words
from reports.wording import number, stacked
from sim.sweeps.by_load import Schedule
from sim.sweeps.schedule_file import ScheduleFile

GOALS = {
    "tokens-per-second": "tokens/s",
    "goodput": "requests a second within the limits",
    "p95-token-seconds": "the 95th percentile of the time for each token",
}


def print_schedule(out: Console, found: Schedule, written: ScheduleFile) -> None:
    """What is best at each load, how it compares with decoding alone, and the schedule."""
    limited = found.objective == "goodput"
    table = Table(title=f"Predicted: the best by {GOALS[found.objective]} at each load")
    table.add_column("load", overflow="fold")
    table.add_column("chosen", overflow="fold")
    headings = (
        "tokens/s (95%)",
        "over auto-\nregressive",
        "ms a token\n95%",
        *(["good/s"] if limited else []),
    )
    for heading in (*headings, "tied"):
        table.add_column(heading, justify="right", overflow="fold")
    for result in found.results:
        figures = result.chosen.figures
        table.add_row(
            result.arrivals.label(),
            escape(in_words(result.chosen.configuration)),
            stacked(figures["tokens_per_second"], 0),
            stacked(result.chosen.over(result.autoregressive), 2),
            number(1e3 * figures["token_p95"].value),
            *([stacked(figures["goodput"], 2)] if limited else []),
            str(len(result.tied)),
        )
    out.print(table)
    out.print(
        f"{found.searched} configurations, {found.samples} samples of the requests at each load; intervals are over "
        "samples. Tied: as good as the best, for all that is known.",
        highlight=False,
    )
    for note in dict.fromkeys(found.notes):
        out.print(f"Note: {note}.", highlight=False)
    out.print(f"Schedule by {written.by}:", highlight=False)
    for stretch in written.stretches:
        out.print(f"  {stretch.label}: {escape(in_words(stretch.configuration))}", highlight=False)
