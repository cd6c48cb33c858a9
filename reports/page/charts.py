"""Charts that set measured beside predicted: filled is measured, open is predicted."""

from collections.abc import Sequence
from typing import Any

from engine.configuration import Configuration
from engine.metrics import Metrics
from engine.naming import in_words, policy_name
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, heading, labelled_rows, layout, named
from reports.verify.verification import Compared
from reports.wording import LONG, has_interval, number, percent, plain, plural, ranged, signed


def _facts(one: Compared) -> str:
    """Everything about a configuration, for its hover box."""
    measured, predicted = one.measured, one.predicted
    return "<br>".join(
        [
            f"<b>{plain(in_words(one.configuration), LONG)}</b> ({plain(one.role)})",
            f"measured {ranged(measured.speed)} tokens/s",
            f"predicted {ranged(predicted.speed)} tokens/s, error {signed(one.error)}",
            *([f"replaying the measured texts {ranged(one.replayed)} tokens/s"] if one.replayed else []),
            f"speed-up over the best autoregressive: measured {ranged(measured.best_speed_up, 2)}, "
            f"predicted {number(predicted.best_speed_up.value, 2)}",
            f"accepted length {number(measured.metrics.mean_accepted_length, 2)}, "
            f"predicted {number(predicted.metrics.mean_accepted_length, 2)}",
            f"rollback rate {percent(measured.metrics.rollback_rate)}, "
            f"predicted {percent(predicted.metrics.rollback_rate)}",
            plural(len(one.samples), "run"),
        ]
    )


def speeds(compared: Sequence[Compared], best: Compared | None, chosen: Compared) -> Figure:
    """Measured and predicted tokens/s of every configuration, with intervals; the chosen one's name is bold."""
    policies = [c.configuration.policy for c in compared]
    marks = [colour.mark(p, policies) for p in policies]
    traces: list[dict[str, Any]] = []
    for real in (True, False):
        estimates = [(c.measured if real else c.predicted).speed for c in compared]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "measured" if real else "predicted",
                "x": [e.value for e in estimates],
                "y": [i + (-0.14 if real else 0.16) for i in range(len(compared))],
                "error_x": errors(estimates, colour.MUTED if real else colour.LINE),
                "marker": {
                    "size": 11 if real else 9,
                    "color": [m[0] for m in marks],
                    "symbol": [m[1] + ("" if real else "-open") for m in marks],
                    "line": {"width": 0 if real else 1.5},
                },
                "hovertext": [_facts(c) for c in compared],
                **HOVER,
            }
        )
    ends = [
        c.measured.speed.high if has_interval(c.measured.speed) else c.measured.speed.value for c in compared
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": ends,
            "y": [i - 0.14 for i in range(len(compared))],
            "text": [f"  {number(c.measured.speed.value)}" for c in compared],
            "textposition": "middle right",
            "textfont": {"color": colour.INK, "size": 11},
            "hoverinfo": "skip",
            "cliponaxis": False,
        }
    )
    lines = []
    if best is not None:
        at = best.measured.speed.value
        line = {"color": colour.MUTED, "width": 1.2, "dash": "dash"}
        lines.append({"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line})
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows(
                named([c.configuration for c in compared]), 56, 38, *named([chosen.configuration])
            ),
            margin={"l": 8, "r": 40, "t": 6, "b": 8},
            xaxis=axis("tokens/s", rangemode="tozero"),
            shapes=lines,
        ),
    }


def predicted_measured(compared: Sequence[Compared]) -> Figure:
    """Predicted against measured tokens/s with both intervals, and the line where they agree."""
    policies = list(dict.fromkeys(c.configuration.policy for c in compared))
    corners = [
        e
        for c in compared
        for s in (c.predicted.speed, c.measured.speed)
        for e in ((s.low, s.value, s.high) if has_interval(s) else (s.value,))
    ]
    room = 0.06 * (max(corners) - min(corners)) or 1.0
    span = [min(corners) - room, max(corners) + room]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "predicted = measured",
            "x": span,
            "y": span,
            "line": {"color": colour.LINE, "width": 1.3, "dash": "dash"},
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]
    for policy in policies:
        tint, symbol = colour.mark(policy, policies)
        mine = [c for c in compared if c.configuration.policy == policy]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(policy_name(policy)),
                "x": [c.predicted.speed.value for c in mine],
                "y": [c.measured.speed.value for c in mine],
                "error_x": errors([c.predicted.speed for c in mine], tint),
                "error_y": errors([c.measured.speed for c in mine], tint),
                "marker": {
                    "size": 11,
                    "color": tint,
                    "symbol": [
                        symbol + ("-open" if c.configuration.placement == "in-turn" else "") for c in mine
                    ],
                    "line": {"width": 1.5, "color": tint},
                },
                "hovertext": [_facts(c) for c in mine],
                **HOVER,
            }
        )
    notes = [
        {
            "x": c.predicted.speed.value,
            "y": c.measured.speed.value,
            "text": "chosen",
            "showarrow": True,
            "arrowhead": 0,
            "arrowwidth": 1,
            "arrowcolor": colour.MUTED,
            "ax": -34,
            "ay": -26,
            "font": {"color": colour.INK, "size": 12},
            "bgcolor": colour.SURFACE,
        }
        for c in compared
        if c.role == "chosen"
    ]
    return {
        "data": traces,
        "layout": layout(
            480,
            showlegend=True,
            legend={"orientation": "h", "x": 0.5, "y": 1.02, "xanchor": "center", "yanchor": "bottom"},
            xaxis=axis("predicted tokens/s", range=span, constrain="domain"),
            yaxis=axis("measured tokens/s", range=span, scaleanchor="x", constrain="domain"),
            annotations=notes,
        ),
    }


def shares(compared: Sequence[Compared]) -> Figure:
    """How long each model's device computes, waits, and computes for the other model; measured above predicted."""
    traces: list[dict[str, Any]] = []
    for panel, (model, tint) in enumerate((("target", colour.BLUE), ("draft", colour.GREEN))):
        for real in (True, False):
            sides = [c.measured if real else c.predicted for c in compared]
            busy = [getattr(s.metrics, f"{model}_busy") for s in sides]
            idle = [getattr(s.metrics, f"{model}_idle") for s in sides]
            other = [max(0.0, 1.0 - b - i) for b, i in zip(busy, idle, strict=True)]
            lift = -0.2 if real else 0.2
            word = "measured" if real else "predicted"
            parts = (
                ("busy", busy, [0.0] * len(busy), tint),
                ("other model's turn", other, busy, colour.LINE),
                ("idle", idle, [b + o for b, o in zip(busy, other, strict=True)], colour.IDLE),
            )
            for name, length, base, fill in parts:
                opened = not real and name == "busy"
                traces.append(
                    {
                        "type": "bar",
                        "orientation": "h",
                        "name": f"{model} {name}, {word}",
                        "xaxis": "x2" if panel else "x",
                        "y": [i + lift for i in range(len(compared))],
                        "x": [100 * n for n in length],
                        "base": [100 * b for b in base],
                        "width": 0.34,
                        "marker": {
                            "color": colour.CLEAR if opened else fill,
                            "line": {"color": tint if opened else fill, "width": 1.5 if opened else 0},
                        },
                        "text": [f"{100 * n:.0f}%" if name == "busy" and n > 0 else "" for n in length],
                        "textposition": "inside",
                        "insidetextanchor": "start",
                        "insidetextfont": {"color": colour.INK if opened else colour.SURFACE, "size": 10},
                        "hovertext": [
                            f"<b>{plain(in_words(c.configuration), LONG)}</b><br>{model} {name}, {word}: {percent(n)}"
                            for c, n in zip(compared, length, strict=True)
                        ],
                        **HOVER,
                    }
                )
    return _two_panels([c.configuration for c in compared], traces, ("Target", "Draft"), (100.0, 100.0), "%")


def dropped(compared: Sequence[Compared]) -> Figure:
    """Rollback and hedge tokens for each 100 tokens of text; measured above predicted."""
    traces: list[dict[str, Any]] = []
    reaches: list[float] = []
    for panel, (name, tint) in enumerate((("rollback", colour.VERMILLION), ("hedge", colour.PURPLE))):
        longest = max(
            1.0, *(per_hundred(s.metrics, name) for c in compared for s in (c.measured, c.predicted))
        )
        reaches.append(longest)
        for real in (True, False):
            sides = [(c.measured if real else c.predicted).metrics for c in compared]
            values = [per_hundred(m, name) for m in sides]
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": f"{name}, {'measured' if real else 'predicted'}",
                    "xaxis": "x2" if panel else "x",
                    "y": [i + (-0.2 if real else 0.2) for i in range(len(compared))],
                    "x": values,
                    "width": 0.34,
                    "marker": {
                        "color": tint if real else colour.CLEAR,
                        "line": {"color": tint, "width": 1.5},
                    },
                    "text": [number(v, 0) for v in values],
                    # A short bar has no room for its number.
                    "textposition": ["inside" if v > 0.3 * longest else "outside" for v in values],
                    "cliponaxis": False,
                    "insidetextanchor": "end",
                    "insidetextfont": {"color": colour.SURFACE if real else colour.INK, "size": 10},
                    "outsidetextfont": {"color": colour.INK, "size": 10},
                    "hovertext": [
                        f"<b>{plain(in_words(c.configuration), LONG)}</b><br>{name}, "
                        f"{'measured' if real else 'predicted'}: {number(v)} for each 100 tokens of text"
                        f"<br>{getattr(m, f'{name}_tokens'):,} in {m.tokens:,} tokens of text, "
                        f"rate {percent(getattr(m, f'{name}_rate'))}"
                        for c, v, m in zip(compared, values, sides, strict=True)
                    ],
                    **HOVER,
                }
            )
    return _two_panels(
        [c.configuration for c in compared], traces, ("Rollback", "Hedge"), (reaches[0], reaches[1])
    )


def per_hundred(metrics: Metrics, kind: str) -> float:
    """Rollback or hedge tokens for each 100 tokens of text."""
    count: int = getattr(metrics, f"{kind}_tokens")
    return 100.0 * count / metrics.tokens


def _two_panels(
    configurations: Sequence[Configuration],
    traces: list[dict[str, Any]],
    titles: tuple[str, str],
    longest: tuple[float, float],
    unit: str = "",
) -> Figure:
    axes: list[dict[str, Any]] = []
    for reach in longest:
        # Three ticks at most: a phone has room for no more beside each other.
        step = max(
            digit * 10.0**power
            for power in range(-2, 7)
            for digit in (1, 2, 5)
            if digit * 10.0**power <= reach / 1.4
        )
        ticks = [tick for tick in (0.0, step, 2 * step) if tick <= reach]
        text = [*(f"{tick:g}" for tick in ticks[:-1]), f"{ticks[-1]:g}{unit}"]
        axes.append(
            {
                "tickmode": "array",
                "tickvals": ticks,
                "ticktext": text,
                "range": [0, 1.06 * reach],
                "tickangle": 0,
            }
        )
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows(named(configurations), 68, 48),
            barmode="overlay",
            xaxis=axis(domain=[0.0, 0.43], fixedrange=True, **axes[0]),
            xaxis2=axis(domain=[0.57, 1.0], fixedrange=True, anchor="y", **axes[1]),
            annotations=[heading(titles[0], 0.0), heading(titles[1], 0.57)],
        ),
    }
