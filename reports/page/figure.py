"""What every chart is made of: Plotly figures as plain JSON, in the light colours of the palette."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.configuration import Configuration
from engine.metrics import Estimate
from reports.page import palette as colour
from reports.wording import has_interval, two_lines

Figure = dict[str, Any]
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
HOVER = {"hovertemplate": "%{hovertext}<extra></extra>"}


@dataclass(frozen=True)
class Choice:
    """A drop-down over a chart: what it switches, and the options in order."""

    label: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """What a chart shows for one set of choices, and a line of text for it."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Chart:
    """A chart: views by the places of the chosen options ("0,1"; "" where there is no choice).

    `label` says in words what the chart shows. With `zoom` the page offers buttons for the x axis.
    """

    key: str
    label: str
    views: Mapping[str, View]
    choices: tuple[Choice, ...] = ()
    zoom: bool = False


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis in the page's style."""
    made: dict[str, Any] = {
        "gridcolor": colour.GRID,
        "linecolor": colour.LINE,
        "tickcolor": colour.LINE,
        "tickfont": {"color": colour.MUTED},
        "zeroline": False,
        "automargin": True,
    }
    if title:
        made["title"] = {"text": title, "font": {"color": colour.MUTED, "size": 12}, "standoff": 10}
    return {**made, **more}


def layout(height: int, **more: Any) -> dict[str, Any]:
    """A layout in the page's style, transparent, without a legend."""
    return {
        "height": height,
        "autosize": True,
        "margin": {"l": 8, "r": 16, "t": 28, "b": 8},
        "paper_bgcolor": colour.CLEAR,
        "plot_bgcolor": colour.CLEAR,
        "font": {"family": FONT, "size": 12, "color": colour.INK},
        "hoverlabel": {
            "bgcolor": colour.SURFACE,
            "bordercolor": colour.LINE,
            "font": {"color": colour.INK, "family": FONT, "size": 12},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "showlegend": False,
        "modebar": {"bgcolor": colour.CLEAR, "color": colour.MUTED, "activecolor": colour.INK},
        "hovermode": "closest",
        "uirevision": "kept",
        **more,
    }


def errors(estimates: Sequence[Estimate], tint: str) -> dict[str, Any]:
    """Error bars of 95% intervals, where there are any."""
    known = [has_interval(e) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": [e.high - e.value if k else None for e, k in zip(estimates, known, strict=True)],
        "arrayminus": [e.value - e.low if k else None for e, k in zip(estimates, known, strict=True)],
        "thickness": 1.3,
        "width": 3,
        "color": tint,
    }


def heading(text: str, x: float, y: float = 1.0) -> dict[str, Any]:
    """A bold heading over a part of a chart, at `x`, `y` of its area."""
    return {
        "text": f"<b>{text}</b>",
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
        "font": {"size": 12, "color": colour.INK},
    }


def named_rows(configurations: Sequence[Configuration]) -> dict[str, Any]:
    """An axis with a row for each configuration, the first at the top."""
    count = len(configurations)
    return axis(
        tickmode="array",
        tickvals=list(range(count)),
        ticktext=[two_lines(c) for c in configurations],
        tickfont={"color": colour.INK, "size": 11},
        range=[count - 0.45, -0.55],
        showgrid=False,
        fixedrange=True,
    )
