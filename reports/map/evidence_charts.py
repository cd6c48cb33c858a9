"""The charts of what lies outside a map: published gains, and measured ratios over predicted ones."""

import math
from collections.abc import Sequence
from typing import Any

from engine.naming import in_words, method_name
from reports.map.published import Regime
from reports.map.regime_charts import SHORT, TINTS
from reports.map.regime_points import MapPoint, MeasuredRatio
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, labelled_rows, layout
from reports.wording import LONG, number, percent, plain, ranged


def published_gains(regimes: Sequence[Regime]) -> Figure:
    """SpecBranch over PEARL: published, and what the map says wherever the pair may lie."""
    known = [(i, r) for i, r in enumerate(regimes) if r.places]
    spans: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "the map, wherever the pair may lie",
            "legendgroup": "map",
            "showlegend": place == 0,
            "x": [min(p.gain for p in r.places), max(p.gain for p in r.places)],
            "y": [i, i],
            "line": {"color": colour.BLUE, "width": 6},
            "marker": {"size": 9, "color": colour.BLUE},
            "hovertext": [
                f"<b>{plain(r.pair.name)}</b><br>the map: {number(p, 2)}"
                for p in (min(p.gain for p in r.places), max(p.gain for p in r.places))
            ],
            **HOVER,
        }
        for place, (i, r) in enumerate(known)
    ]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": "published",
        "x": [r.pair.gain for r in regimes],
        "y": list(range(len(regimes))),
        "marker": {"size": 12, "symbol": "diamond", "color": colour.VERMILLION},
        "hovertext": [
            f"<b>{plain(r.pair.name)}</b><br>published: {number(r.pair.specbranch, 2)} over "
            f"{number(r.pair.pearl, 2)} = {number(r.pair.gain, 2)}"
            for r in regimes
        ],
        **HOVER,
    }
    values = [r.pair.gain for r in regimes] + [p.gain for _, r in known for p in r.places] + [1.0]
    room = 0.08 * (max(values) - min(values)) + 0.01
    return {
        "data": [*spans, marks],
        "layout": layout(
            **labelled_rows([f"{r.pair.letter}: {r.pair.name}" for r in regimes], 110, 46),
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 40, "b": 8},
            xaxis=axis(
                "tokens/s of SpecBranch over PEARL",
                range=[min(values) - room, max(values) + room],
                fixedrange=True,
            ),
            shapes=[_line(1.0, "x")],
        ),
    }


def predicted_ratios(points: Sequence[MapPoint]) -> Figure:
    """Each measured ratio of two methods' speeds over its prediction, with its interval, and where both agree."""
    rows = [(p, r) for p in points for r in p.ratios]
    ends = [
        x
        for _, r in rows
        for x in (r.predicted, r.measured.value, r.measured.low, r.measured.high)
        if math.isfinite(x)
    ]
    room = 0.06 * (max(ends) - min(ends)) or 0.1
    span = [min(ends) - room, max(ends) + room]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": span,
            "y": span,
            "line": {"color": colour.LINE, "width": 1.3, "dash": "dash"},
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]
    kinds = list(dict.fromkeys((r.method.policy, r.rival.policy) for _, r in rows))
    for kind in kinds:
        mine = [(p, r) for p, r in rows if (r.method.policy, r.rival.policy) == kind]
        tint = TINTS.get(kind[0], colour.AMBER)
        opened = "" if kind[1] == "autoregressive" else "-open"
        symbol = {"autoregressive": "circle", "pearl": "diamond", "speculative": "square"}.get(
            kind[1], "star"
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": " over ".join(map(_short, kind)),
                "x": [r.predicted for _, r in mine],
                "y": [r.measured.value for _, r in mine],
                "error_y": errors([r.measured for _, r in mine], tint),
                "marker": {
                    "size": 10,
                    "color": tint,
                    "symbol": symbol + opened,
                    "line": {"width": 1.5, "color": tint},
                },
                "hovertext": [_ratio_facts(p, r) for p, r in mine],
                **HOVER,
            }
        )
    return {
        "data": traces,
        "layout": layout(
            520,
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 72, "b": 8},
            xaxis=axis("predicted", range=span, constrain="domain"),
            yaxis=axis("measured", range=span, scaleanchor="x", constrain="domain"),
        ),
    }


def _short(policy: str) -> str:
    """A method in a legend."""
    name = method_name(policy)
    return SHORT.get(policy) or plain(name[:1].upper() + name[1:])


def _ratio_facts(p: MapPoint, r: MeasuredRatio) -> str:
    return (
        f"<b>{plain(in_words(r.method), LONG)}</b><br>over {plain(in_words(r.rival), LONG)}<br>"
        f"ratio {number(p.ratio.value)}, alignment {percent(p.alignment.value, 0)}<br>"
        f"measured {ranged(r.measured, 2)}, predicted {number(r.predicted, 2)}"
    )


def _line(at: float, along: str) -> dict[str, Any]:
    line = {"color": colour.MUTED, "width": 1.2, "dash": "dash"}
    other = "y" if along == "x" else "x"
    return {
        "type": "line",
        f"{along}0": at,
        f"{along}1": at,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "line": line,
    }
