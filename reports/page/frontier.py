"""The section on what speed costs: tokens/s against tokens drafted in vain, and what no other configuration beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.configuration import Configuration
from engine.metrics import Estimate, Metrics
from engine.naming import in_words, policy_name
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, layout
from reports.page.sections import Section, Table, single
from reports.verify.verification import Verification, find_fastest
from reports.wording import LONG, number, plain, plural, ranged
from sim.world.reach import marked


@dataclass(frozen=True)
class Place:
    """Where a configuration lies: tokens wasted (rollback and hedge) for each token of text, and tokens/s."""

    configuration: Configuration
    waste: float
    speed: Estimate
    measured: bool
    far_context: bool = False  # of what is simulated, see `sim.world.reach`


def wasted(metrics: Metrics) -> float:
    """Tokens drafted in vain for each token of text."""
    return (metrics.rollback_tokens + metrics.hedge_tokens) / metrics.tokens


def front(places: Sequence[Place]) -> list[Place]:
    """Those that no other one beats: none wastes less and is as fast, or is faster and wastes as little; by waste."""
    best: list[Place] = []
    for place in sorted(places, key=lambda p: (p.waste, -p.speed.value)):
        if not best or place.speed.value > best[-1].speed.value:
            best.append(place)
    return best


def frontier(v: Verification) -> Section:
    """Speed against waste, measured and simulated."""
    measured = [
        Place(c.configuration, wasted(c.measured.metrics), c.measured.speed, True) for c in v.compared
    ]
    swept = [
        Place(p.configuration, wasted(p.metrics), p.speed, False, p.far_context)
        for p in v.sweep
        if p.alignment is None
    ]
    fronts = [front(places) for places in (measured, swept)]
    rows = tuple(
        (
            marked(in_words(p.configuration), p.far_context),
            "measured" if p.measured else "simulated",
            ranged(p.speed),
            number(p.waste, 2),
        )
        for places in fronts
        for p in places
    )
    columns = ("configuration", "world", "tokens/s (95%)", "wasted tokens for each token of text")
    label = (
        "Tokens per second against wasted tokens for each token of text, with the fronts that nothing beats"
    )
    caption = (
        "Up is faster, left wastes less. Filled: measured, with 95% intervals. Open: simulated. Lines: what no other "
        "configuration of the same world beats in both."
    )
    return Section(
        "frontier",
        "Waste",
        "Speed against tokens drafted in vain",
        _finding(v, fronts[0]),
        (single("frontier", label, _figure(measured, swept, fronts), caption),),
        (Table("The configurations that nothing beats", columns, rows, columns[:2], shown=len(rows) <= 12),),
    )


def _finding(v: Verification, best: Sequence[Place]) -> str:
    fastest = find_fastest(v.compared)
    waste = wasted(fastest.measured.metrics)
    found = (
        f"Of {plural(len(v.compared), 'configuration')} measured, {len(best)} are beaten by no other in speed and "
        f"waste at once. The fastest, {in_words(fastest.configuration)}, drafted {number(waste, 2)} tokens in vain for "
        "each token of text"
    )
    thrifty = [p for p in best if p.speed.value >= 0.95 * fastest.measured.speed.value and p.waste < waste]
    if thrifty:
        least = min(thrifty, key=lambda p: p.waste)
        found += (
            f"; {in_words(least.configuration)} reaches {number(least.speed.value)} tokens/s, within 5% of it, with "
            f"{number(least.waste, 2)}"
        )
    return found + "."


def _figure(measured: Sequence[Place], swept: Sequence[Place], fronts: Sequence[Sequence[Place]]) -> Figure:
    policies = list(dict.fromkeys(p.configuration.policy for p in (*measured, *swept)))
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [p.waste for p in places],
            "y": [p.speed.value for p in places],
            "line": {"color": colour.MUTED, "width": 1.3, "dash": dash, "shape": "hv"},
            "showlegend": False,
            "hoverinfo": "skip",
        }
        for name, places, dash in zip(("measured", "simulated"), fronts, ("solid", "dot"), strict=True)
    ]
    for real, places in ((False, swept), (True, measured)):
        for policy in policies:
            mine = [p for p in places if p.configuration.policy == policy]
            if not mine:
                continue
            tint, symbol = colour.mark(policy, policies)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": plain(policy_name(policy)) + (", measured" if real else ", simulated"),
                    "x": [p.waste for p in mine],
                    "y": [p.speed.value for p in mine],
                    **({"error_y": errors([p.speed for p in mine], tint)} if real else {}),
                    "marker": {
                        "size": 12 if real else 6,
                        "color": tint,
                        "symbol": symbol + ("" if real else "-open"),
                        "line": {"width": 1.2, "color": colour.SURFACE if real else tint},
                    },
                    "hovertext": [
                        f"<b>{plain(in_words(p.configuration), LONG)}</b> ({'measured' if real else 'simulated'})"
                        f"<br>{ranged(p.speed)} tokens/s<br>{number(p.waste, 2)} wasted for each token of text"
                        for p in mine
                    ],
                    **HOVER,
                }
            )
    return {
        "data": traces,
        "layout": layout(
            460,
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": -0.2, "xanchor": "left", "yanchor": "top"},
            xaxis=axis("wasted tokens for each token of text", rangemode="tozero"),
            yaxis=axis("tokens/s", rangemode="tozero"),
        ),
    }
