"""The section of the settling test: every comparison with the published claims, its interval, and how it fell."""

from math import isfinite
from typing import Any

from engine.naming import policy_name
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, labelled_rows, layout
from reports.page.sections import Section, Table, single
from reports.verify.settle import Claim, Settlement, published_range, summary
from reports.wording import LONG, plain, ranged

TINTS = {"for": colour.BLUE, "against": colour.VERMILLION, "undecided": colour.GREY}
SYMBOLS = {"for": "circle", "against": "x", "undecided": "circle-open"}


def settlement(found: Settlement) -> Section:
    """Whether the published claims hold here."""
    rows = tuple(
        (
            f"({c.claim})",
            c.draft,
            f"{c.quantity} {c.rival}",
            ranged(c.figure, 2),
            published_range(c),
            c.outcome,
            c.configuration,
        )
        for c in found.claims
    )
    columns = ("claim", "draft", "quantity", "measured (95%)", "published", "outcome", "SpecBranch as")
    words = ("claim", "draft", "quantity", "outcome", "SpecBranch as")
    caption = (
        "Circles: for the claim. Crosses: against it. Open circles: undecided. Bars: 95% intervals of a paired "
        f"bootstrap over {found.prompts} prompts ({found.resamples} resamples, seed {found.seed}). Thick lines: the "
        "published range."
    )
    label = "Measured ratio of each comparison with its interval, beside the published range"
    return Section(
        "settlement",
        "Settling test",
        "Do the published claims hold here?",
        f"{summary(found)} {' '.join(a.split(';')[0] + '.' for a in found.answers)}",
        (single("settlement", label, _figure(found.claims), caption),),
        (Table("Every comparison", columns, rows, words, shown=True),),
        "One target, the same prompts, and one fixed draft each time. Each method ran at its own best predicted "
        "setting and placement, and autoregressive decoding in its best. A comparison is decided where its whole "
        "interval is on one side; a claim holds if all its comparisons do.",
    )


def _figure(claims: tuple[Claim, ...]) -> Figure:
    ends = [e for c in claims for e in (c.figure.value, c.figure.low, c.figure.high) if isfinite(e)]
    known = [b for c in claims for b in (c.least, c.most) if b is not None]
    reach = 1.08 * max([*ends, *known])
    traces: list[dict[str, Any]] = []
    for outcome, tint in TINTS.items():
        # A rival that rolled nothing back leaves no ratio to draw.
        mine = [(i, c) for i, c in enumerate(claims) if c.outcome == outcome and isfinite(c.figure.value)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": outcome,
                "x": [c.figure.value for _, c in mine],
                "y": [i for i, _ in mine],
                "error_x": errors([c.figure for _, c in mine], tint),
                "marker": {
                    "size": 10,
                    "color": tint,
                    "symbol": SYMBOLS[outcome],
                    "line": {"width": 1.5, "color": tint},
                },
                "hovertext": [
                    f"<b>{plain(c.configuration, LONG)}</b><br>{plain(c.quantity)} {plain(c.rival, LONG)}"
                    f"<br>{ranged(c.figure, 2)}, published {published_range(c)}: {c.outcome}"
                    for _, c in mine
                ],
                **HOVER,
            }
        )
    spans = [
        {
            "type": "line",
            "x0": c.least or 0.0,
            "x1": reach if c.most is None else c.most,
            "y0": i + 0.3,
            "y1": i + 0.3,
            "line": {"color": colour.LINE, "width": 5},
        }
        for i, c in enumerate(claims)
    ]
    names = [
        f"({c.claim}) {c.draft}: {'speed' if 'speed' in c.quantity else 'rollback'}"
        f"{' rate' if 'rate' in c.quantity else ''} against {policy_name(c.rival_policy)}"
        for c in claims
    ]
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows(names, 80, 46),
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 34, "b": 8},
            xaxis=axis("measured ratio", range=[0, reach], fixedrange=True),
            shapes=spans,
        ),
    }
