"""Charts of the costs that predictions are made of, and of how steady the machine was."""

import itertools
from collections.abc import Sequence
from statistics import median
from typing import Any

from calibrate.cost_records import Cell, MeasuredCosts
from engine.runtime.placement import Placement
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, layout
from reports.wording import milliseconds, plain, plural

MODELS = (
    (colour.BLUE, "square"),
    (colour.VERMILLION, "circle"),
    (colour.GREEN, "diamond"),
    (colour.PURPLE, "triangle-up"),
    (colour.AMBER, "pentagon"),
)
DASHES = ("solid", "dot", "dash", "dashdot")


def costs(measured: MeasuredCosts, placement: Placement) -> Figure:
    """Milliseconds of a forward over tokens, raw samples and medians, for the target and each draft."""
    here = measured.at(placement)
    models: list[tuple[str, tuple[Cell, ...]]] = [("target", here.target)]
    models += [(f"draft {name}", found.forward) for name, found in here.drafts.items()]
    contexts = sorted({cell.cache_tokens for _, cells in models for cell in cells})
    counts = sorted({cell.rows for _, cells in models for cell in cells})
    ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
    traces: list[dict[str, Any]] = []
    for (name, cells), (tint, symbol) in zip(models, itertools.cycle(MODELS), strict=False):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "legendgroup": name,
                "x": [cell.rows for cell in cells for _ in cell.seconds],
                "y": [1e3 * s for cell in cells for s in cell.seconds],
                "marker": {"color": tint, "symbol": symbol, "size": 6, "opacity": 0.55},
                "hovertext": [
                    f"<b>{plain(name)}</b>: {milliseconds(s)}<br>{plural(cell.rows, 'token')} "
                    f"behind {cell.cache_tokens}<br>median of {plural(len(cell.seconds), 'sample')} "
                    f"{milliseconds(median(cell.seconds))}"
                    for cell in cells
                    for s in cell.seconds
                ],
                **HOVER,
            }
        )
        for context, dash in zip(contexts, itertools.cycle(DASHES), strict=False):
            line = sorted((c.rows, 1e3 * median(c.seconds)) for c in cells if c.cache_tokens == context)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"median behind {context}",
                    "legendgroup": name,
                    "showlegend": False,
                    "x": [n for n, _ in line],
                    "y": [ms for _, ms in line],
                    "line": {"color": tint, "width": 1.6, "dash": dash},
                    "hoverinfo": "skip",
                }
            )
    return {
        "data": traces,
        "layout": layout(
            420,
            showlegend=True,
            xaxis=axis(
                "tokens read in one forward",
                type="log",
                tickmode="array",
                tickvals=counts,
                ticktext=[str(n) for n in counts],
            ),
            yaxis=axis(
                "ms, logarithmic",
                type="log",
                tickmode="array",
                tickvals=ticks,
                ticktext=[f"{t:g}" for t in ticks],
            ),
        ),
    }


def reference(seconds: Sequence[float]) -> Figure:
    """The fixed operation's time over the run, which shows how steady the machine was."""
    middle = 1e3 * median(seconds)
    order = list(range(1, len(seconds) + 1))
    line = {"color": colour.LINE, "width": 1.3, "dash": "dash"}
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "reference operation",
                "x": order,
                "y": [1e3 * s for s in seconds],
                "line": {"color": colour.BLUE, "width": 1.6},
                "marker": {"size": 5, "color": colour.BLUE},
                "hovertext": [f"timing {n}: {milliseconds(s)}" for n, s in zip(order, seconds, strict=True)],
                **HOVER,
            }
        ],
        "layout": layout(
            230,
            margin={"l": 8, "r": 16, "t": 8, "b": 8},
            xaxis=axis("timing, in the order taken", nticks=8, range=[0.5, len(seconds) + 0.5]),
            yaxis=axis("ms", rangemode="tozero"),
            shapes=[
                {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": middle, "y1": middle, "line": line}
            ],
        ),
    }
