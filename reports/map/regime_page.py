"""The page of a map of regimes: who wins where, by how much and why, what was published, and what was measured.

    write_map(regime_map(artifact), points, Path("map.html"))

It is made of the report's own parts, style and template (`reports/page/html.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.map import claims_page
from reports.map.assumptions import assumptions
from reports.map.cell_sections import losses, published_view, ratios, winners
from reports.map.evidence_sections import measured, published
from reports.map.published import find_regimes
from reports.map.regime_points import MapPoint
from reports.map.regime_verdict import decide, said
from reports.map.settled_rows import Row
from reports.page import html
from reports.page.sections import Answers
from sim.search.regimes import RegimeMap


def write_map(found: RegimeMap, points: Sequence[MapPoint], out: Path, settled: Sequence[Row] = ()) -> None:
    """Write the page to `out`. SpecBranchError if the file cannot be written."""
    html.write(out, render(found, points, settled))


def render(found: RegimeMap, points: Sequence[MapPoint] = (), settled: Sequence[Row] = ()) -> str:
    """The page as HTML; `settled`: what the points' records say of the published claims."""
    return html.fill(
        "map.html",
        answers(found, points, settled),
        replace(decide(found), remarks=tuple(said(found, points))),
        json.dumps(document(found, points, settled)),
        found=found,
    )


def document(found: RegimeMap, points: Sequence[MapPoint], settled: Sequence[Row] = ()) -> dict[str, Any]:
    """The map, its points, where the published pairs lie, and how the published claims fell, as JSON."""
    regimes = find_regimes(found, published_view(found))
    return {
        **claims_page.document(settled),
        "map": json.loads(found.model_dump_json(exclude_defaults=True)),
        "points": [json.loads(p.model_dump_json(exclude_defaults=True)) for p in points],
        "published": [
            {
                "pair": r.pair.name,
                "published": {"pearl": r.pair.pearl, "specbranch": r.pair.specbranch},
                "ratios": r.pair.ratios,
                "places": [vars(p) for p in r.places],
            }
            for r in regimes
        ],
    }


def answers(found: RegimeMap, points: Sequence[MapPoint] = (), settled: Sequence[Row] = ()) -> Answers:
    """Who wins, by how much, what of it is lost, what was published and measured, and what is assumed."""
    return Answers(
        run=(winners(found, points),),
        trust=(measured(found, points), published(found), *claims_page.claims(settled)),
        why=(losses(found),),
        what_if=(ratios(found),),
        conditions=(assumptions(found),),
    )
