"""The tables of a map's page: who wins each cell, what takes of a gain, published pairs and measured points."""

from collections.abc import Sequence

import numpy as np

from engine.metrics import Estimate
from engine.naming import SEATS, in_words, method_name
from reports.map import regime_charts
from reports.map.published import Regime
from reports.map.regime_charts import CODES, lead_text
from reports.map.regime_points import MapPoint
from reports.page.sections import Table
from reports.wording import has_interval, listing, number, percent, ranged, signed
from sim.search.regimes import Cell, Part, RegimeMap
from sim.search.regimes import View as MapView

PLACED = {"best": "each method where it is fastest", **SEATS}
CODED = ", ".join(f"{code}: {method_name(p)}" for p, code in CODES.items()) + f"; {regime_charts.TIE}: a tie."
HELPERS = ("as published", "with helpers")
# In words, and how many times as fast SpecBranch would be without it where its colour is full.
PARTS: dict[Part, tuple[str, float]] = {
    "overheads": ("overheads (hand-over, fork, start-up, spread of durations)", 1.5),
    "contention": ("contention", 1.5),
    "rollback": ("rollback (every draft token right)", 3.0),
}


def texts_name(temperature: float) -> str:
    """Of which texts a view is."""
    return f"Temperature {temperature:g}" if temperature else "Greedy"


def view_name(view: MapView) -> str:
    """A view in a few words."""
    return f"{texts_name(view.temperature).lower()}, {HELPERS[view.helpers]}, {PLACED[view.placement]}"


def matrix(found: RegimeMap, view: MapView) -> Table:
    """Alignment by ratio: the winner and its lead."""
    by_place = {(c.alignment, c.ratio): c for c in view.cells}
    rows = tuple(
        (
            percent(alignment, 0),
            *(_said(by_place[alignment, ratio]) for ratio in found.ratios),
        )
        for alignment in reversed(found.alignments)
    )
    columns = ("alignment \\ ratio", *(f"{ratio:g}" for ratio in found.ratios))
    return Table(f"Winner and its lead in percent: {view_name(view)}", columns, rows)


def _said(cell: Cell) -> str:
    return f"{CODES[cell.winner.policy]} {lead_text(cell)}"


LISTED = (
    "ratio",
    "alignment",
    "winner",
    "speed-up over the best autoregressive (95%)",
    "runner-up",
    "lead (95%)",
    "tied with",
    "SpecBranch over PEARL (95%)",
    "SpecBranch over speculative (95%)",
    "rollback tokens a token of text: winner, SpecBranch",
)
LISTED_WORDS = ("winner", "runner-up", "tied with")


def every_cell(view: MapView, key: str) -> Table:
    """All cells of a view, one below another; `key`: of the chart's view that they belong to."""
    rows = []
    for c in view.cells:
        branched = c.entry("specbranch")
        rows.append(
            (
                f"{c.ratio:g}",
                percent(c.alignment, 0),
                in_words(c.winner.configuration),
                ranged(c.winner.speed_up, 2),
                in_words(c.runner_up.configuration) if c.runner_up else "",
                ranged(c.lead, 2),
                listing([method_name(p) for p in c.tied[1:]]) if c.is_tie else "",
                ranged(c.over["pearl"], 2) if "pearl" in c.over else "",
                ranged(c.over["speculative"], 2) if "speculative" in c.over else "",
                f"{number(c.winner.rollback, 2)}, {number(branched.rollback, 2) if branched else ''}",
            )
        )
    return Table(f"Every cell: {view_name(view)}", LISTED, tuple(rows), LISTED_WORDS, of=("map", key))


def without_parts(view: MapView) -> Table:
    """How many times as fast SpecBranch would be in each cell without a part of what it costs."""
    rows = []
    for cell in view.cells:
        mine = cell.entry("specbranch")
        if mine:
            rows.append(
                (
                    f"{cell.ratio:g}",
                    percent(cell.alignment, 0),
                    in_words(mine.configuration, placed=False),
                    number(mine.speed_up.value, 2),
                    *(number(cell.without[part], 2) for part in PARTS),
                )
            )
    columns = (
        "ratio",
        "alignment",
        "SpecBranch as",
        "its speed-up",
        *(f"times as fast without {part}" for part in PARTS),
    )
    return Table(f"Every cell: {view_name(view)}", columns, tuple(rows), ("SpecBranch as",))


def published_pairs(regimes: Sequence[Regime]) -> Table:
    """What was published of each pair, beside the map where it may lie."""
    rows = []
    for r in regimes:
        low, middle, high = r.pair.ratios
        gains, speeds, shares, reach = (
            [getattr(p, name) for p in r.places] for name in ("gain", "specbranch", "alignment", "ratio")
        )
        if not r.places:
            there = ("the map gives PEARL its average nowhere", "", "", "")
        else:
            there = (
                f"{number(min(reach))} to {number(max(reach))}",
                f"{percent(min(shares), 0)} to {percent(max(shares), 0)}",
                f"{number(min(speeds), 2)} to {number(max(speeds), 2)}",
                f"{number(min(gains), 2)} to {number(max(gains), 2)}",
            )
        rows.append(
            (
                f"{r.pair.letter}: {r.pair.name}",
                r.pair.alignment,
                f"{number(low)} to {number(high)}, middle {number(middle)}",
                *there[:2],
                number(r.pair.pearl, 2),
                number(r.pair.specbranch, 2),
                there[2],
                number(r.pair.gain, 2),
                there[3],
            )
        )
    columns = (
        "pair",
        "published as",
        "ratio of steps, by layers to by parameters",
        "of these on the map",
        "alignment that gives PEARL its average",
        "PEARL, published",
        "SpecBranch, published",
        "SpecBranch, the map there",
        "over PEARL, published",
        "over PEARL, the map there",
    )
    return Table("Published pairs on the map", columns, tuple(rows), columns[:2], shown=True)


def every_point(found: RegimeMap, points: Sequence[MapPoint]) -> Table:
    """Where each measured point lies, and who won there."""
    rows = tuple(
        (
            p.draft,
            HELPERS[p.helpers],
            texts_name(p.temperature).lower(),
            ranged(p.ratio),
            f"{percent(p.alignment.value)}"
            + (f" ({_shares(p.alignment)})" if has_interval(p.alignment) else ""),
            method_name(p.winner.policy) + (" (tie)" if p.is_tie else ""),
            method_name(p.predicted_winner),
            _on_map(found, p),
            ranged(p.lead, 2),
            p.record,
            p.target,
        )
        for p in points
    )
    columns = (
        "draft",
        "methods",
        "texts",
        "ratio (95%)",
        "alignment (95%)",
        "measured winner",
        "predicted winner",
        "winner of the nearest cell",
        "lead over the second (95%)",
        "record",
        "target",
    )
    words = (
        "draft",
        "methods",
        "texts",
        "measured winner",
        "predicted winner",
        "winner of the nearest cell",
        "record",
        "target",
    )
    return Table("Every point", columns, rows, words, shown=True)


def every_ratio(points: Sequence[MapPoint]) -> Table:
    """Measured ratios of two methods' speeds, and what was predicted of each."""
    quotients = tuple(
        (
            p.draft,
            number(p.ratio.value),
            in_words(r.method),
            in_words(r.rival),
            ranged(r.measured, 2),
            number(r.predicted, 2),
            signed(r.error),
            p.record,
        )
        for p in points
        for r in p.ratios
    )
    names = ("draft", "ratio", "method", "over", "measured (95%)", "predicted", "error", "record")
    return Table("Every ratio", names, quotients, ("draft", "method", "over", "record"))


def _shares(e: Estimate) -> str:
    return f"{percent(e.low)} to {percent(e.high)}"


def _on_map(found: RegimeMap, p: MapPoint) -> str:
    """The winner of the cell of the map that is nearest to a point, if it has such a view."""
    if (p.temperature not in found.temperatures) or not np.isfinite([p.ratio.value, p.alignment.value]).all():
        return ""
    view = found.view(found.placements[0], p.temperature, helpers=p.helpers)
    x, y = (
        regime_charts.place_ratio(found, p.ratio.value),
        regime_charts.place_alignment(found, p.alignment.value),
    )
    ratio = found.ratios[max(0, min(len(found.ratios) - 1, round(x)))]
    alignment = found.alignments[max(0, min(len(found.alignments) - 1, round(y)))]
    cell = next(c for c in view.cells if (c.ratio, c.alignment) == (ratio, alignment))
    return method_name(cell.winner.policy) + (" (tie)" if cell.is_tie else "")
