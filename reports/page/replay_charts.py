"""Charts of what was simulated: the trade-off, and one generation above its real counterpart."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from engine.configuration import Configuration
from engine.naming import SEATS, in_words, policy_name
from engine.record import Job, Run
from reports.page import palette as colour
from reports.page.figure import HOVER, Chart, Choice, Figure, View, axis, heading, layout
from reports.verify.verification import Point, Timeline
from reports.wording import LONG, capital, milliseconds, number, percent, plain, plural, ranged, times

QUANTITIES = ("speed-up over the best autoregressive", "rollback rate", "hedge rate")


def _cell(point: Point, quantity: int) -> float:
    values = (point.best_speed_up.value, point.metrics.rollback_rate, point.metrics.hedge_rate)
    return values[quantity]


def tradeoff(sweep: Sequence[Point], chosen: Configuration | None) -> Chart:
    """Simulated speed-up, rollback and hedge rate over draft length x method and branches."""
    points = [p for p in sweep if p.configuration.drafts]
    drafts = sorted({p.configuration.draft or "" for p in points})
    cuts = sorted({p.configuration.min_confidence for p in points})
    alignments = sorted({p.alignment for p in points}, key=lambda a: -1.0 if a is None else a)
    policies = sorted({p.configuration.policy for p in points}, key=_order)
    methods = [None, *policies] if len(policies) > 1 else [None]
    placements = {p.configuration.placement for p in points}
    lengths = sorted({p.configuration.draft_length for p in points})

    def row(c: Configuration) -> tuple[int, str, str]:
        branched = c.policy == "specbranch"
        name = capital(policy_name(c.policy))
        if branched:
            name += f", {'up to ' if c.adaptive_branches else ''}{plural(c.branches, 'branch')}"
        if len(placements) > 1:
            name += f"\n{SEATS[c.placement]}"
        return (100 * _order(c.policy) + (c.branches if branched else 0), c.placement, name)

    def limits(quantity: int) -> tuple[float, float]:
        values = [_cell(p, quantity) for p in points]
        if quantity:
            return 0.0, max([*values, 0.01])
        reach = max([abs(v - 1.0) for v in values] + [0.05])
        return 1.0 - reach, 1.0 + reach

    several = [len(options) > 1 for options in (drafts, methods, alignments, cuts, QUANTITIES)]
    views = {}
    for places in itertools.product(
        *(range(len(o)) for o in (drafts, methods, alignments, cuts, QUANTITIES))
    ):
        draft, method, alignment = drafts[places[0]], methods[places[1]], alignments[places[2]]
        cut, quantity = cuts[places[3]], places[4]
        shown = [
            p
            for p in points
            if (p.configuration.draft or "") == draft
            and p.alignment == alignment
            and method in (None, p.configuration.policy)
            # PEARL has no cut, so it belongs to every one.
            and (p.configuration.min_confidence == cut or p.configuration.policy == "pearl")
        ]
        rows = sorted({row(p.configuration) for p in shown}, reverse=True)
        grid = {(row(p.configuration), p.configuration.draft_length): p for p in shown}
        marked = chosen if alignment is None else None
        figure = _heatmap(rows, lengths, grid, quantity, limits(quantity), marked)
        key = ",".join(str(place) for place, there in zip(places, several, strict=True) if there)
        views[key] = View(figure, _best_of(shown, quantity, marked))
    offered = (
        ("Draft", tuple(d or "the pair's first" for d in drafts)),
        ("Policy", tuple(policy_name(m) if m else "All" for m in methods)),
        ("Alignment", tuple("As recorded" if a is None else percent(a, 0) for a in alignments)),
        ("Confidence cut", tuple(f"{cut:g}" for cut in cuts)),
        ("Quantity", tuple(q.capitalize() if q[0] != "s" else "Speed-up" for q in QUANTITIES)),
    )
    choices = tuple(Choice(label, options) for label, options in offered if len(options) > 1)
    label = (
        "Heatmap of simulated speed-up, rollback rate and hedge rate over draft length and number of branches"
    )
    return Chart("tradeoff", label, views, choices)


def _order(policy: str) -> int:
    return {"speculative": 0, "pearl": 1, "specbranch": 3}.get(policy, 2)


def _best_of(points: Sequence[Point], quantity: int, chosen: Configuration | None) -> str:
    if not points:
        return "Nothing was simulated for this choice."
    pick = (max if quantity == 0 else min)(points, key=lambda p: _cell(p, quantity))
    value = times(_cell(pick, 0)) if quantity == 0 else percent(_cell(pick, quantity))
    word = "Highest" if quantity == 0 else "Lowest"
    star = " The star marks the chosen one." if any(p.configuration == chosen for p in points) else ""
    return f"{word} {QUANTITIES[quantity]} here, outlined: {value} with {in_words(pick.configuration)}.{star}"


def _heatmap(
    rows: Sequence[tuple[int, str, str]],
    lengths: Sequence[int],
    grid: Mapping[tuple[tuple[int, str, str], int], Point],
    quantity: int,
    limits: tuple[float, float],
    chosen: Configuration | None,
) -> Figure:
    found = [[grid.get((r, n)) for n in lengths] for r in rows]

    def written(point: Point | None) -> str:
        if point is None:
            return ""
        text = number(_cell(point, 0), 2) if quantity == 0 else number(100 * _cell(point, quantity), 0)
        return text + ("<br>\u2605" if point.configuration == chosen else "")

    def hover(point: Point | None) -> str:
        if point is None:
            return "not simulated"
        m = point.metrics
        return (
            f"<b>{plain(in_words(point.configuration), LONG)}</b><br>{ranged(point.speed)} tokens/s"
            f"<br>speed-up {ranged(point.best_speed_up, 2)}<br>accepted length {number(m.mean_accepted_length, 2)}"
            f"<br>rollback rate {percent(m.rollback_rate)}, hedge rate {percent(m.hedge_rate)}"
            f"<br>target idle {percent(m.target_idle)}, draft idle {percent(m.draft_idle)}"
        )

    scale = (
        (colour.WORSE, colour.EVEN, colour.BETTER)
        if quantity == 0
        else (colour.NONE, colour.SOME, colour.MUCH)
    )
    outlines = []
    known = [(i, j, p) for i, line in enumerate(found) for j, p in enumerate(line) if p]
    if known:
        i, j, _ = (max if quantity == 0 else min)(known, key=lambda k: _cell(k[2], quantity))
        corners = {"x0": j - 0.47, "x1": j + 0.47, "y0": i - 0.45, "y1": i + 0.45}
        outlines.append({"type": "rect", **corners, "line": {"color": colour.INK, "width": 2}})
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [str(n) for n in lengths],
                "y": ["<br>".join(map(plain, r[2].splitlines())) for r in rows],
                "z": [[_cell(p, quantity) if p else None for p in line] for line in found],
                "text": [[written(p) for p in line] for line in found],
                "texttemplate": "%{text}",
                "textfont": {"color": colour.INK, "size": 11},
                "hovertext": [[hover(p) for p in line] for line in found],
                **HOVER,
                "zmin": limits[0],
                "zmax": limits[1],
                "colorscale": [[0.0, scale[0]], [0.5, scale[1]], [1.0, scale[2]]],
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
            }
        ],
        "layout": layout(
            max(200, 80 + 34 * len(rows)),
            margin={"l": 8, "r": 8, "t": 8, "b": 8},
            xaxis=axis("draft length", type="category", showgrid=False, fixedrange=True),
            yaxis=axis(
                type="category", showgrid=False, fixedrange=True, tickfont={"color": colour.INK, "size": 11}
            ),
            shapes=outlines,
        ),
    }


def timeline(shown: Timeline) -> Figure:
    """One generation, simulated above real, on one time axis."""
    span = max(shown.simulated.seconds, shown.real.seconds)
    traces: list[dict[str, Any]] = []
    headings = []
    for title, run, lane_axis, top in (
        ("Simulated", shown.simulated, "y", 0.98),
        ("Real", shown.real, "y2", 0.44),
    ):
        traces += _lanes(run, lane_axis, first=lane_axis == "y")
        headings.append(
            heading(f"{title}: {number(run.seconds, 2)} s, {plural(len(run.rounds), 'round')}", 0.0, top)
        )
    lane: dict[str, Any] = {
        "tickmode": "array",
        "tickvals": [0, 1],
        "ticktext": ["draft", "target"],
        "range": [-0.5, 1.85],
        "showgrid": False,
        "fixedrange": True,
        "tickfont": {"color": colour.INK, "size": 11},
    }
    return {
        "data": traces,
        "layout": layout(
            400,
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 44, "b": 8},
            legend={"orientation": "h", "x": 0, "y": 1.09, "xanchor": "left", "yanchor": "bottom"},
            barmode="overlay",
            dragmode="pan",
            annotations=headings,
            xaxis=axis(
                "seconds since the generation began",
                anchor="y2",
                range=[0, span],
                minallowed=0,
                maxallowed=span * 1.02,
            ),
            yaxis=axis(domain=[0.58, 0.97], **lane),
            yaxis2=axis(domain=[0.0, 0.43], **lane),
        ),
    }


def _lanes(run: Run, lane_axis: str, first: bool) -> list[dict[str, Any]]:
    """A run's jobs as bars; those of rounds with a rollback hatched, and marked over the target's lane."""

    def rolled_back(job: Job) -> bool:
        return job.round < len(run.rounds) and run.rounds[job.round].rollback > 0

    def hover(job: Job) -> str:
        what = f"<b>{job.model}, round {job.round + 1}</b> ({run.world})"
        when = f"{milliseconds(job.start, 1)} to {milliseconds(job.end, 1)}: {milliseconds(job.end - job.start, 1)}"
        read = f"read {plural(job.tokens, 'token')} in {plural(job.forwards, 'forward')}"
        if job.round >= len(run.rounds):
            return "<br>".join([what, when, read, "still under way when the text ended"])
        r = run.rounds[job.round]
        fate = f"accepted {r.accepted} of {r.verified}, wrote {plural(r.emitted, 'token')}"
        lost = f"drafted {r.drafted}, rolled back {r.rollback}, hedge {r.hedge}"
        return "<br>".join([what, when, read, fate, lost])

    groups = (
        ("target", colour.BLUE, [j for j in run.jobs if j.model == "target" and not rolled_back(j)]),
        ("draft", colour.GREEN, [j for j in run.jobs if j.model == "draft" and not rolled_back(j)]),
        ("round with a rollback", colour.VERMILLION, [j for j in run.jobs if rolled_back(j)]),
    )
    traces: list[dict[str, Any]] = []
    for name, tint, jobs in groups:
        marker: dict[str, Any] = {"color": tint, "line": {"width": 0.6, "color": colour.SURFACE}}
        if name not in ("target", "draft"):
            marker["pattern"] = {
                "shape": "/",
                "fillmode": "replace",
                "size": 5,
                "solidity": 0.55,
                "fgcolor": tint,
            }
            marker["line"] = {"width": 1, "color": tint}
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "legendgroup": name,
                "showlegend": first,
                "yaxis": lane_axis,
                "y": [1 if j.model == "target" else 0 for j in jobs],
                "base": [j.start for j in jobs],
                "x": [j.end - j.start for j in jobs],
                "width": 0.72,
                "marker": marker,
                "hovertext": [hover(j) for j in jobs],
                **HOVER,
            }
        )
    judged = [j for j in groups[2][2] if j.model == "target"]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "rolled back",
            "legendgroup": groups[2][0],
            "showlegend": False,
            "yaxis": lane_axis,
            "x": [j.end for j in judged],
            "y": [1.52] * len(judged),
            "marker": {"symbol": "x", "size": 6, "color": colour.VERMILLION},
            "hovertext": [hover(j) for j in judged],
            **HOVER,
        }
    )
    return traces
