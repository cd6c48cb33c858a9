"""The settling test for a terminal: how each published claim fell, and every comparison."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.naming import method_name
from reports.verify.settle import Settlement, how_decided, published_range, summary
from reports.wording import estimated


def print_settlement(out: Console, found: Settlement) -> None:
    """A table of the comparisons and, below it, what they come to."""
    table = Table(title="The published claims, with 95% intervals")
    for heading in ("claim", "SpecBranch with", "measured", "published", "outcome"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "measured" else "left")
    letter = ""
    for claim in found.claims:
        if letter and claim.claim != letter:
            table.add_section()
        letter = claim.claim
        table.add_row(
            f"({letter}) {escape(claim.quantity)} {method_name(claim.rival_policy)}",
            escape(claim.draft),
            estimated(claim.figure, 2),
            published_range(claim),
            claim.outcome,
        )
    out.print(table)
    for answer in found.answers:
        out.print(f"{answer.split(';')[0]}.", highlight=False)
    out.print(f"{summary(found)} {how_decided(found)}", highlight=False)
