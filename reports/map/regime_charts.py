"""Charts of a map of regimes: who wins, and surfaces of ratios and of what a gain is made of.

Cells are drawn at their places in the map's lists of ratios and alignments, so that all are equally large; what lies
between two of them is placed between them, ratios by their logarithms.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.metrics import Estimate
from engine.naming import in_words, method_name
from reports.map.published import Placed, Regime
from reports.map.regime_points import MapPoint
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, layout
from reports.wording import LONG, capital, has_interval, interval, number, percent, plain, ranged, times
from sim.search.regimes import Cell, Own, RegimeMap, View

METHODS = ("specbranch", "pearl", "speculative", "prompt-lookup", "autoregressive")  # as a legend names them
MARGIN = 0.4  # of the winner over the runner-up, from which a cell has its method's full colour
TIE = "\u2248"
TINTS = {
    "specbranch": colour.VERMILLION,
    "pearl": colour.GREEN,
    "speculative": colour.BLUE,
    "prompt-lookup": colour.PURPLE,
    "autoregressive": colour.GREY,
}
SHORT = {
    "specbranch": "SpecBranch",
    "pearl": "PEARL",
    "speculative": "Speculative",
    "prompt-lookup": "Prompt lookup",
    "autoregressive": "Autoregressive",
}
CODES = {
    "specbranch": "SB",
    "pearl": "PE",
    "speculative": "SD",
    "prompt-lookup": "PL",
    "autoregressive": "AR",
}
LINES = 3  # of a tie's hatching


def winners(
    found: RegimeMap, view: View, own: Sequence[Own], regimes: Sequence[Regime], points: Sequence[MapPoint]
) -> Figure:
    """Who wins each cell, the paler the less it leads; on it the calibration's pairs, published ones, and points."""
    there = {c.winner.policy for c in view.cells}
    shown = [policy for policy in METHODS if policy in there]
    traces: list[dict[str, Any]] = [_won(found, view, policy) for policy in shown]
    traces += [_key(policy) for policy in shown]
    traces.append(_hatching(found, view))
    placed = [(r, middle) for r in regimes if (middle := r.middle)]
    traces += [_span(found, r) for r, _ in placed]
    traces += [_letter(found, r, middle) for r, middle in placed]
    traces += _own(found, view, own)
    traces += _points(found, points)
    return _on_cells(found, traces, showlegend=True, annotations=[_named(found, o) for o in own])


def lead_text(cell: Cell) -> str:
    """A cell in a figure or two: by how many percent its winner leads; two waves where it is a tie."""
    return TIE if cell.is_tie else number(100.0 * (cell.lead.value - 1.0), 0)


def surface(
    found: RegimeMap,
    view: View,
    name: str,
    of: Callable[[Cell], Estimate | None],
    full: float,
    *,
    two_sided: bool = True,
) -> Figure:
    """A ratio in every cell: blue over 1, orange under it, in full from `full` or its inverse on.

    Not `two_sided`: from 1 on, none to much.
    """

    def tone(value: float) -> float:
        return max(-1.0, min(1.0, math.log(value) / math.log(full))) if value > 0.0 else -1.0

    values = _rows(found, view, of)
    scale = (
        (colour.WORSE, colour.EVEN, colour.BETTER) if two_sided else (colour.NONE, colour.SOME, colour.MUCH)
    )
    cells = _rows(found, view, lambda cell: cell)
    traces = [
        {
            "type": "heatmap",
            "z": [[None if e is None else round(tone(e.value), 3) for e in row] for row in values],
            "zmin": -1.0 if two_sided else 0.0,
            "zmax": 1.0,
            "colorscale": [[i / 2, tint] for i, tint in enumerate(scale)],
            "showscale": False,
            "xgap": 1,
            "ygap": 1,
            "text": [["" if e is None else number(e.value, 2) for e in row] for row in values],
            "texttemplate": "%{text}",
            "textfont": {"size": 11, "color": colour.INK},
            "hovertext": [
                [
                    f"ratio {c.ratio:g}, alignment {percent(c.alignment, 0)}<br>{name} "
                    + (ranged(e, 2) if e and has_interval(e) else number(e.value, 2) if e else "not there")
                    for c, e in zip(some, row, strict=True)
                ]
                for some, row in zip(cells, values, strict=True)
            ],
            **HOVER,
        }
    ]
    return _on_cells(found, traces)


def _rows(found: RegimeMap, view: View, of: Callable[[Cell], Any]) -> list[list[Any]]:
    """By alignment, then by ratio."""
    by_place = {(c.alignment, c.ratio): c for c in view.cells}
    return [[of(by_place[a, r]) for r in found.ratios] for a in found.alignments]


def _won(found: RegimeMap, view: View, policy: str) -> dict[str, Any]:
    """The cells that a method wins."""

    def mine(of: Callable[[Cell], Any], otherwise: Any) -> list[list[Any]]:
        return _rows(found, view, lambda cell: of(cell) if cell.winner.policy == policy else otherwise)

    pale, full = colour.WON[policy]
    return {
        "type": "heatmap",
        "name": SHORT[policy],
        "z": mine(lambda c: 0.0 if c.is_tie else round(min(MARGIN, c.lead.value - 1.0), 3), None),
        "zmin": 0.0,
        "zmax": MARGIN,
        "colorscale": [[0.0, pale], [1.0, full]],
        "showscale": False,
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "text": mine(lambda c: f"{CODES[policy]}<br>{lead_text(c)}", ""),
        "texttemplate": "%{text}",
        "textfont": {"size": 12, "color": colour.INK},
        "hovertext": mine(_facts, ""),
        **HOVER,
    }


def _facts(cell: Cell) -> str:
    """Everything about a cell, for its hover box."""
    head = f"<b>{capital(plain(in_words(cell.winner.configuration), LONG))}</b>"
    lines = [f"ratio {cell.ratio:g}, alignment {percent(cell.alignment, 0)}", head]
    lines.append(
        f"{times(cell.winner.speed_up.value)} the best autoregressive ({interval(cell.winner.speed_up, 2)})"
    )
    if cell.runner_up:
        ahead = f"{percent(cell.lead.value - 1.0)} ahead ({_percents(cell.lead)})"
        others = [method_name(policy) for policy in cell.tied[1:]]
        lines.append(f"tied with {plain(' and '.join(others))}" if cell.is_tie else ahead)
    for place, entry in enumerate(cell.entries[1:]):
        word = "runner-up: " if not place else ""
        lines.append(f"{word}{plain(in_words(entry.configuration), LONG)}, {times(entry.speed_up.value)}")
    return "<br>".join(lines)


def _percents(lead: Estimate) -> str:
    if not has_interval(lead):
        return interval(lead)
    return f"{number(100 * (lead.low - 1.0))} to {number(100 * (lead.high - 1.0))}"


def _hatching(found: RegimeMap, view: View) -> dict[str, Any]:
    """Slanting lines over the ties."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for cell in view.cells:
        if not cell.is_tie:
            continue
        x, y = found.ratios.index(cell.ratio), found.alignments.index(cell.alignment)
        for step in range(LINES):
            at = (step + 1) / (LINES + 1) * 2.0 - 1.0  # x - y within the cell, from one corner to the other
            ends = (max(-0.5, at - 0.5), min(0.5, at + 0.5))
            xs += [x + ends[0], x + ends[1], None]
            ys += [y + ends[0] - at, y + ends[1] - at, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "tie",
        "x": xs,
        "y": ys,
        "line": {"color": colour.LINE, "width": 1},
        "showlegend": bool(xs),
        "hoverinfo": "skip",
    }


def _key(policy: str) -> dict[str, Any]:
    """A method's square in the legend, with its code in the cells."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{SHORT[policy]} ({CODES[policy]})",
        "x": [None],
        "y": [None],
        "marker": {"symbol": "square", "size": 13, "color": colour.WON[policy][1]},
        "hoverinfo": "skip",
    }


def place_ratio(found: RegimeMap, ratio: float) -> float:
    """Where a ratio lies among the cells; beyond the last one near its outer edge."""
    return _place(math.log(ratio), [math.log(r) for r in found.ratios])


def place_alignment(found: RegimeMap, alignment: float) -> float:
    """Where an alignment lies among the cells."""
    return _place(alignment, found.alignments)


def _place(value: float, known: Sequence[float]) -> float:
    if value < known[0]:
        return -0.4
    if value > known[-1]:
        return len(known) - 0.6
    return float(np.interp(value, known, range(len(known))))


def _span(found: RegimeMap, regime: Regime) -> dict[str, Any]:
    """Where a published pair may lie."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [place_ratio(found, p.ratio) for p in regime.places],
        "y": [place_alignment(found, p.alignment) for p in regime.places],
        "line": {"color": colour.INK, "width": 2, "dash": "dot"},
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _letter(found: RegimeMap, regime: Regime, middle: Placed) -> dict[str, Any]:
    pair = regime.pair
    hover = (
        f"<b>{pair.letter}: {plain(pair.name)}</b>, {pair.alignment}"
        f"<br>published: PEARL {pair.pearl:g}, SpecBranch {pair.specbranch:g}"
        f"<br>here: SpecBranch {number(middle.specbranch, 2)}, {number(middle.gain, 2)} times PEARL"
        "<br>the place is an estimate"
    )
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [place_ratio(found, middle.ratio)],
        "y": [place_alignment(found, middle.alignment)],
        "marker": {"size": 20, "color": colour.SURFACE, "line": {"color": colour.INK, "width": 1.5}},
        "text": [f"<b>{pair.letter}</b>"],
        "textposition": "middle center",
        "textfont": {"size": 11, "color": colour.INK},
        "showlegend": False,
        "hovertext": [hover],
        **HOVER,
    }


def _named(found: RegimeMap, o: Own) -> dict[str, Any]:
    """A draft's name under its star."""
    return {
        "x": place_ratio(found, o.ratio),
        "y": place_alignment(found, o.alignment),
        "yshift": -17,
        "text": plain(o.draft, 14),
        "showarrow": False,
        "font": {"size": 11, "color": colour.INK},
        "bgcolor": colour.SURFACE,
        "borderpad": 1,
    }


def _own(found: RegimeMap, view: View, own: Sequence[Own]) -> list[dict[str, Any]]:
    if not own:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "the calibrated pair",
            "x": [place_ratio(found, o.ratio) for o in own],
            "y": [place_alignment(found, o.alignment) for o in own],
            "marker": {
                "size": 15,
                "symbol": "star",
                "color": colour.INK,
                "line": {"color": colour.SURFACE, "width": 1},
            },
            "cliponaxis": False,
            "hovertext": [_own_facts(o, o.cell(view.placement, view.helpers)) for o in own],
            **HOVER,
        }
    ]


def _own_facts(o: Own, cell: Cell) -> str:
    winner = cell.winner
    return "<br>".join(
        [
            f"<b>calibrated with {plain(o.draft)}</b>: ratio {number(o.ratio)}, alignment {percent(o.alignment)}",
            f"{plain(in_words(winner.configuration), LONG)}, {times(winner.speed_up.value)} "
            f"({interval(winner.speed_up, 2)})",
            *(
                f"{plain(in_words(e.configuration), LONG)}, {times(e.speed_up.value)}"
                for e in cell.entries[1:]
            ),
        ]
    )


def _points(found: RegimeMap, points: Sequence[MapPoint]) -> list[dict[str, Any]]:
    """Measured pairs, in the colour of the method that won, with the intervals of their places."""
    known = [p for p in points if math.isfinite(p.ratio.value) and math.isfinite(p.alignment.value)]
    if not known:
        return []

    def spread(
        of: Callable[[MapPoint], Estimate], place: Callable[[RegimeMap, float], float]
    ) -> dict[str, Any]:
        placed = []
        for p in known:
            e = of(p)
            ends = [place(found, max(1e-6, x)) for x in (e.value, e.low, e.high)] if has_interval(e) else None
            placed.append(Estimate(*ends) if ends else Estimate(0.0, math.nan, math.nan))
        return errors(placed, colour.INK)

    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "measured",
            "x": [place_ratio(found, p.ratio.value) for p in known],
            "y": [place_alignment(found, p.alignment.value) for p in known],
            "error_x": spread(lambda p: p.ratio, place_ratio),
            "error_y": spread(lambda p: p.alignment, place_alignment),
            "marker": {
                "size": 13,
                "color": [TINTS.get(p.winner.policy, colour.AMBER) for p in known],
                "symbol": [
                    "circle" if p.winner.policy == p.predicted_winner or p.is_tie else "x" for p in known
                ],
                "line": {"color": colour.SURFACE, "width": 2},
            },
            "hovertext": [_point_facts(p) for p in known],
            **HOVER,
        }
    ]


def _point_facts(p: MapPoint) -> str:
    lines = [
        f"<b>measured with {plain(p.draft)}</b>: ratio {ranged(p.ratio)}, alignment {percent(p.alignment.value)}",
        f"<b>{plain(in_words(p.winner), LONG)}</b>"
        + (" (not told from the second)" if p.is_tie else f", {percent(p.lead.value - 1.0)} ahead"),
    ]
    lines += [
        f"{method_name(r.method.policy)} over {method_name(r.rival.policy)}: {ranged(r.measured, 2)}, predicted "
        f"{number(r.predicted, 2)}"
        for r in p.ratios
    ]
    return "<br>".join(lines)


def _on_cells(found: RegimeMap, traces: list[dict[str, Any]], **more: Any) -> Figure:
    """On axes with a place for each ratio and alignment."""
    columns, rows = len(found.ratios), len(found.alignments)
    return {
        "data": traces,
        "layout": layout(
            110 + 37 * rows,
            margin={"l": 8, "r": 16, "t": 56 if more.get("showlegend") else 12, "b": 8},
            xaxis=axis(
                "a target step over a draft step",
                tickmode="array",
                tickvals=list(range(columns)),
                ticktext=[f"{r:g}" for r in found.ratios],
                range=[-0.5, columns - 0.5],
                showgrid=False,
                fixedrange=True,
                tickangle=0,
            ),
            yaxis=axis(
                "alignment",
                tickmode="array",
                tickvals=list(range(rows)),
                ticktext=[percent(a, 0) for a in found.alignments],
                range=[-0.5, rows - 0.5],
                showgrid=False,
                fixedrange=True,
            ),
            **more,
        ),
    }
