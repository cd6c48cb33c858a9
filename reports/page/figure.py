"""What every chart is made of: Plotly figures as plain JSON, in the light colours of the palette."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.configuration import Configuration
from engine.metrics import Estimate
from engine.naming import in_words
from reports.page import palette as colour
from reports.wording import capital, has_interval, wrapped

Figure = dict[str, Any]
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
WIDE, NARROW = 44, 22  # characters of a row's label, on a screen and on a phone
LINE = 14  # pixels of a line of a label
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


def labelled_rows(labels: Sequence[str], room: int, least: int, bold: str | None = None) -> dict[str, Any]:
    """Of a layout, what makes a row for each label, the first at the top, whose lines all have their place.

    `room`: pixels beside the rows. `least`: pixels of a row at least. `bold`: the label that stands out.
    `meta.narrow` holds what a phone needs instead, which has less room for a line (`page.js`).
    """

    def made(width: int) -> tuple[list[str], int]:
        texts = [wrapped(label, width) for label in labels]
        most = max((text.count("<br>") + 1 for text in texts), default=1)
        marked = [
            f"<b>{text}</b>" if label == bold else text for text, label in zip(texts, labels, strict=True)
        ]
        return marked, room + len(labels) * max(least, LINE * most + 10)

    (texts, height), (narrow_texts, narrow_height) = made(WIDE), made(NARROW)
    return {
        "height": height,
        "meta": {"narrow": {"ticktext": narrow_texts, "height": narrow_height}},
        "yaxis": axis(
            tickmode="array",
            tickvals=list(range(len(labels))),
            ticktext=texts,
            tickfont={"color": colour.INK, "size": 11},
            range=[len(labels) - 0.4, -0.6],
            showgrid=False,
            fixedrange=True,
        ),
    }


def named(configurations: Sequence[Configuration]) -> list[str]:
    """Configurations in words, as rows name them."""
    return [capital(in_words(c)) for c in configurations]
