"""A map of regimes for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from reports.map.claims import findings
from reports.map.evidence_sections import measured
from reports.map.page_tables import CODED, matrix
from reports.map.regime_points import MapPoint
from reports.map.regime_verdict import decide, said
from reports.map.settled_rows import Row
from sim.search.regimes import RegimeMap


def print_map(
    out: Console, found: RegimeMap, points: Sequence[MapPoint], settled: Sequence[Row] = ()
) -> None:
    """The decision, who wins each cell in the first two placements, how the points fell, and the published claims."""
    opening = decide(found)
    for remark in said(found, points):
        out.print(remark, highlight=False, markup=False)
    for placement in found.placements[:2]:
        shown = matrix(found, found.view(placement, found.temperatures[0], helpers=False))
        table = Table(title=shown.title)
        for column in shown.columns:
            table.add_column(column, justify="right", overflow="fold")
        for row in shown.rows:
            table.add_row(*row)
        out.print(table)
    out.print(f"In the table {CODED}", highlight=False, markup=False)
    if points:
        out.print(measured(found, points).finding, highlight=False, markup=False)
    for line in findings(settled):
        out.print(line, highlight=False, markup=False)
    out.print(
        f"{len(found.views)} views of {len(found.views[0].cells)} cells, {found.settings} settings in each, simulated "
        "in "
        f"{found.seconds:.0f} s by {found.processes} processes ({found.processor_seconds:.0f} s of processor time in "
        "all).",
        highlight=False,
    )
    out.print(" ".join([opening.headline, *opening.sentences]), highlight=False, markup=False)
