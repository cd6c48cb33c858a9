"""The section on how well the drafts predict the target: by place in the draft, kind of prompt, and confidence."""

from collections.abc import Iterator, Sequence
from typing import Any

from calibrate.traces.acceptance_statistics import RANKS, AcceptanceStatistics
from engine.metrics import Estimate
from reports.page import palette as colour
from reports.page.condition_charts import DASHES, MODELS
from reports.page.figure import HOVER, Chart, Choice, Figure, View, axis, errors, layout
from reports.page.sections import Section, Table, single
from reports.wording import has_interval, number, percent, plain, plural, wrapped

Point = tuple[float, Estimate, str]  # x, the share, what the hover box says


def acceptance(statistics: Sequence[AcceptanceStatistics]) -> Section:
    """What the calibration's texts tell of each draft."""
    short, title = "Acceptance", "How well the drafts predict the target"
    if not statistics:
        return Section("acceptance", short, title, "The calibration holds no draft.")
    return Section(
        "acceptance",
        short,
        title,
        _finding(statistics),
        (_depth_chart(statistics), _kind_chart(statistics), _reliability_chart(statistics)),
        (_kind_table(statistics), *_depth_tables(statistics), _reliability_table(statistics)),
        "From the calibration's texts: every position counts, and intervals are over prompts.",
    )


def _finding(statistics: Sequence[AcceptanceStatistics]) -> str:
    parts = []
    for one in statistics:
        kinds = sorted(one.by_kind, key=lambda k: k.within[0].value)
        part = f"{one.draft} predicts {_shown(one.overall.within[0])} of the target's tokens"
        if len(kinds) > 1:
            part += (
                f", from {percent(kinds[0].within[0].value, 0)} ({kinds[0].kind}) to "
                f"{percent(kinds[-1].within[0].value, 0)} ({kinds[-1].kind})"
            )
        parts.append(
            part + f", and its confidence is off by {number(100 * one.miscalibration)} points in the mean"
        )
    return "; ".join(parts) + "."


def _shown(share: Estimate) -> str:
    """A share with its interval, in percent."""
    if not has_interval(share):
        return percent(share.value)
    return f"{percent(share.value)} ({number(100 * share.low)} to {number(100 * share.high)})"


def _lines(drafts: Sequence[tuple[str, Sequence[Point]]], lines: bool = True) -> Iterator[dict[str, Any]]:
    """One trace a draft, in percent."""
    for index, (name, points) in enumerate(drafts):
        tint, symbol = MODELS[(index + 1) % len(MODELS)]  # the first is the target's
        shares = [Estimate(*(100 * x for x in (e.value, e.low, e.high))) for _, e, _ in points]
        yield {
            "type": "scatter",
            "mode": "lines+markers" if lines else "markers",
            "name": plain(name),
            "x": [x for x, _, _ in points],
            "y": [s.value for s in shares],
            "error_y": errors(shares, tint),
            "marker": {"size": 8, "color": tint, "symbol": symbol},
            "line": {"color": tint, "width": 1.5, "dash": DASHES[index % len(DASHES)]},
            "hovertext": [f"<b>{plain(name)}</b><br>{text}" for _, _, text in points],
            **HOVER,
        }


def _depth_chart(statistics: Sequence[AcceptanceStatistics]) -> Chart:
    def figure(given: bool) -> Figure:
        drafts = []
        for one in statistics:
            known = [(d.depth, d.given if given else d.reached) for d in one.by_depth]
            drafts.append((one.draft, [(n, e, f"token {n}: {_shown(e)}") for n, e in known if e is not None]))
        return {
            "data": list(_lines(drafts)),
            "layout": layout(
                340,
                showlegend=True,
                xaxis=axis("place in the draft", dtick=1, fixedrange=True),
                yaxis=axis("accepted, %", range=[0, 104], fixedrange=True),
            ),
        }

    views = {
        "0": View(figure(True), "Tokens accepted of those before which all were. Bars: 95% intervals."),
        "1": View(figure(False), "Drafts accepted at least this far. Bars: 95% intervals."),
    }
    choices = (Choice("Share", ("Accepted where all before were", "Accepted this far")),)
    return Chart("depth", "Share of drafted tokens accepted, by place in the draft", views, choices)


def _kind_chart(statistics: Sequence[AcceptanceStatistics]) -> Chart:
    kinds = list(dict.fromkeys(k.kind for one in statistics for k in one.by_kind))
    views = {}
    for rank, candidates in enumerate(RANKS):
        drafts = []
        for index, one in enumerate(statistics):
            lift = 0.16 * (index - (len(statistics) - 1) / 2.0)
            points = [
                (
                    kinds.index(k.kind) + lift,
                    k.within[rank],
                    f"{plain(k.kind)}: {_shown(k.within[rank])}<br>{plural(k.positions, 'position')} on "
                    f"{plural(k.prompts, 'prompt')}",
                )
                for k in one.by_kind
            ]
            drafts.append((one.draft, points))
        figure: Figure = {
            "data": list(_lines(drafts, lines=False)),
            "layout": layout(
                340,
                showlegend=True,
                xaxis=axis(
                    tickmode="array",
                    tickvals=list(range(len(kinds))),
                    ticktext=[wrapped(kind, 14) for kind in kinds],
                    range=[-0.5, len(kinds) - 0.5],
                    showgrid=False,
                    fixedrange=True,
                ),
                yaxis=axis("positions, %", range=[0, 104], fixedrange=True),
            ),
        }
        among = "the draft's first candidate" if candidates == 1 else f"one of its first {candidates}"
        caption = f"Positions where the target's token is {among}, by kind of prompt. Bars: 95% intervals."
        views[str(rank)] = View(figure, caption)
    choices = (Choice("Candidates", tuple(f"First {k}" if k > 1 else "First" for k in RANKS)),)
    return Chart("kinds", "Share of positions predicted by each draft, by kind of prompt", views, choices)


def _reliability_chart(statistics: Sequence[AcceptanceStatistics]) -> Chart:
    drafts = [
        (
            one.draft,
            [
                (
                    100 * b.confidence,
                    b.right,
                    f"confidence {percent(b.confidence)} in the mean<br>right {_shown(b.right)}"
                    f"<br>{plural(b.positions, 'position')}",
                )
                for b in one.reliability
            ],
        )
        for one in statistics
    ]
    even = {
        "type": "scatter",
        "mode": "lines",
        "name": "confidence = share right",
        "x": [0, 100],
        "y": [0, 100],
        "line": {"color": colour.LINE, "width": 1.3, "dash": "dash"},
        "showlegend": False,
        "hoverinfo": "skip",
    }
    figure: Figure = {
        "data": [even, *_lines(drafts)],
        "layout": layout(
            400,
            showlegend=True,
            xaxis=axis("the draft's confidence, %", range=[0, 104], fixedrange=True),
            yaxis=axis("right, %", range=[0, 104], fixedrange=True),
        ),
    }
    caption = (
        "Positions by the draft's confidence, in tenths. Under the dashed line it is too sure of itself."
    )
    return single("reliability", "Share of positions right against the draft's confidence", figure, caption)


def _kind_table(statistics: Sequence[AcceptanceStatistics]) -> Table:
    rows = tuple(
        (one.draft, k.kind, str(k.prompts), f"{k.positions:,}", *map(_shown, k.within))
        for one in statistics
        for k in (one.overall, *one.by_kind)
    )
    columns = ("draft", "kind", "prompts", "positions", *(f"in the first {k} (95%)" for k in RANKS))
    return Table("Foreseen by kind of prompt", columns, rows, columns[:2], shown=len(rows) <= 12)


def _depth_tables(statistics: Sequence[AcceptanceStatistics]) -> tuple[Table, ...]:
    depths = tuple(
        (one.draft, str(d.depth), _shown(d.given) if d.given else "", _shown(d.reached))
        for one in statistics
        for d in one.by_depth
    )
    runs = tuple(
        (one.draft, f"{r.length}" + (" or more" if r is one.run_lengths[-1] else ""), _shown(r.share))
        for one in statistics
        for r in one.run_lengths
    )
    columns = ("draft", "place", "accepted where all before were (95%)", "accepted this far (95%)")
    return (
        Table("Acceptance by place in the draft", columns, depths, columns[:1]),
        Table(
            "Runs of right tokens between two misses", ("draft", "length", "share (95%)"), runs, ("draft",)
        ),
    )


def _reliability_table(statistics: Sequence[AcceptanceStatistics]) -> Table:
    rows = tuple(
        (
            one.draft,
            f"{percent(b.low, 0)} to {percent(b.high, 0)}",
            percent(b.confidence),
            _shown(b.right),
            f"{b.positions:,}",
        )
        for one in statistics
        for b in one.reliability
    )
    columns = ("draft", "confidence", "in the mean", "right (95%)", "positions")
    return Table("Confidence and the share right", columns, rows, columns[:1])
