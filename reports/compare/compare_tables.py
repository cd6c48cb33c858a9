"""A comparison as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.compare.compare_page import finding
from reports.compare.pairing import Comparison
from reports.wording import number, percent, signed, stacked
from sim.world.reach import MEANING


def print_comparisons(out: Console, comparisons: Sequence[Comparison], wide: bool = False) -> None:
    """For each: a row a configuration, what is not shared, and a warning for each condition that differs."""
    for one in comparisons:
        out.print(comparison_table(one, wide))
        for remark in one.named_remarks:
            out.print(remark, highlight=False, markup=False)
        out.print(f"{finding(one)} Intervals are over prompts.", highlight=False, markup=False)
        for name, labels in zip((one.first, one.second), one.only, strict=True):
            if labels:
                out.print(f"Only in {name}: {', '.join(labels)}.", highlight=False, markup=False)
        if any(side.far_context for row in one.rows for side in (row.first, row.second)):
            out.print(f"{MEANING}.", highlight=False, markup=False)
        for difference in one.differences:
            out.print(f"Warning: {difference.sentence}.", highlight=False, markup=False)


def comparison_table(one: Comparison, wide: bool = False) -> Table:
    """Both records' figures side by side; `wide`: the errors of their predictions, too."""
    table = Table(title=escape(f"{one.second} (second) against {one.first} (first)"))
    table.add_column("configuration", overflow="fold")
    headings = ("tokens/s", "second over first (95%)", "rollback rate", "difference, points")
    errors = ("error of the prediction", "of timing alone")
    for heading in headings + errors if wide else headings:
        table.add_column(heading, justify="right", overflow="fold")
    for row in one.rows:
        first, second = row.first, row.second
        rates = f"{percent(first.rollback_rate)} / {percent(second.rollback_rate)}"
        known = first.timing_error is not None and second.timing_error is not None
        cells = (
            escape(row.label),
            f"{number(first.tokens_per_second)} / {number(second.tokens_per_second)}",
            stacked(row.ratio, 3),
            rates if row.configuration.drafts else "",
            number(100 * row.rollback.value) if row.configuration.drafts else "",
            f"{signed(first.error)} / {signed(second.error)}",
            f"{signed(first.timing_error or 0.0)} / {signed(second.timing_error or 0.0)}" if known else "",
        )
        table.add_row(*(cells if wide else cells[: -len(errors)]))
    return table
