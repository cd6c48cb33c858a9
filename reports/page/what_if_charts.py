"""Charts of what was supposed to be otherwise: overheads switched off by count of branches, and a tornado."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.metrics import Estimate
from engine.naming import in_words
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, labelled_rows, layout
from reports.verify.verification import Supposed
from reports.wording import LONG, capital, number, plain, ranged

MARKS = (
    (colour.VERMILLION, "triangle-up"),
    (colour.BLUE, "diamond"),
    (colour.GREEN, "circle"),
    (colour.GREY, "square"),
)


@dataclass(frozen=True)
class Bar:
    """One change and what a figure becomes of it; `raises`: whether the configuration itself gets faster."""

    change: str
    value: float
    raises: bool
    hover: str


def by_branches(
    worlds: Mapping[str, Sequence[tuple[Supposed, Estimate]]], title: str, even: float | None
) -> Figure:
    """A figure over the count of branches in each world; `even`: where to draw a line."""
    counts = sorted({s.configuration.branches for rows in worlds.values() for s, _ in rows})
    traces: list[dict[str, Any]] = []
    for index, ((name, rows), (tint, symbol)) in enumerate(zip(worlds.items(), MARKS, strict=False)):
        lift = 0.12 * (index - (len(worlds) - 1) / 2.0)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plain(name),
                "x": [counts.index(s.configuration.branches) + lift for s, _ in rows],
                "y": [e.value for _, e in rows],
                "error_y": errors([e for _, e in rows], tint),
                "marker": {"size": 9, "color": tint, "symbol": symbol},
                "line": {"color": tint, "width": 1.2, "dash": "solid" if index == 0 else "dot"},
                "hovertext": [
                    f"<b>{plain(in_words(s.configuration), LONG)}</b><br>{plain(name)}<br>{title} {ranged(e, 2)}"
                    f"<br>{ranged(s.speed)} tokens/s<br>over the best autoregressive {ranged(s.best_speed_up, 2)}"
                    for s, e in rows
                ],
                **HOVER,
            }
        )
    line = {"color": colour.LINE, "width": 1.3, "dash": "dash"}
    flat = (
        [] if even is None else [{"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": even, "y1": even}]
    )
    return {
        "data": traces,
        "layout": layout(
            380,
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 48, "b": 8},
            xaxis=axis(
                "branches",
                tickmode="array",
                tickvals=list(range(len(counts))),
                ticktext=[str(count) for count in counts],
                range=[-0.5, len(counts) - 0.5],
                showgrid=False,
                fixedrange=True,
            ),
            yaxis=axis(title, fixedrange=True),
            shapes=[{**shape, "line": line} for shape in flat],
        ),
    }


def tornado(rows: Sequence[tuple[str, Sequence[Bar]]], base: float, title: str, digits: int) -> Figure:
    """What becomes of a figure under each change, as bars from its value without any, the widest first."""
    traces: list[dict[str, Any]] = []
    for raises, name, tint in (
        (True, "makes it faster", colour.BLUE),
        (False, "makes it slower", colour.AMBER),
    ):
        bars = [(i, bar) for i, (_, some) in enumerate(rows) for bar in some if bar.raises is raises]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "y": [i + (-0.18 if raises else 0.18) for i, _ in bars],
                "base": [base] * len(bars),
                "x": [bar.value - base for _, bar in bars],
                "width": 0.34,
                "marker": {"color": tint},
                "text": [f" {bar.change}: {number(bar.value, digits)} " for _, bar in bars],
                "textposition": "auto",
                "insidetextanchor": "middle",
                "constraintext": "none",
                "insidetextfont": {"color": colour.SURFACE, "size": 11},
                "outsidetextfont": {"color": colour.INK, "size": 11},
                "cliponaxis": False,
                "hovertext": [bar.hover for _, bar in bars],
                **HOVER,
            }
        )
    values = [base, *(bar.value for _, some in rows for bar in some)]
    room = 0.28 * (max(values) - min(values)) or 0.1 * base
    line = {"color": colour.MUTED, "width": 1.3, "dash": "dash"}
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows([capital(name) for name, _ in rows], 90, 56),
            showlegend=True,
            barmode="overlay",
            margin={"l": 8, "r": 16, "t": 30, "b": 8},
            xaxis=axis(title, range=[min(values) - room, max(values) + room], fixedrange=True),
            shapes=[
                {"type": "line", "x0": base, "x1": base, "y0": 0, "y1": 1, "yref": "paper", "line": line}
            ],
        ),
    }
