"""The page of a comparison: ratios of tokens/s, the predictions' errors, and every condition that differs.

It is made of the report's own sections, charts, style and template (`reports/page/html.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from engine.configuration import Configuration
from engine.metrics import Estimate
from engine.naming import in_words
from reports.compare.pairing import Comparison, Row
from reports.page import html
from reports.page import palette as colour
from reports.page.figure import HOVER, Figure, axis, errors, labelled_rows, layout, named
from reports.page.sections import Answers, Section, Table, single
from reports.page.verdict import Verdict
from reports.wording import LONG, has_interval, number, percent, plain, plural, ranged, signed, times
from sim.world.reach import MEANING

TINTS = (colour.BLUE, colour.VERMILLION, colour.GREEN, colour.PURPLE, colour.AMBER, colour.GREY)


def write_comparison(comparisons: Sequence[Comparison], out: Path) -> None:
    """Write the page to `out`. SpecBranchError if the file cannot be written."""
    html.write(out, render(comparisons))


def render(comparisons: Sequence[Comparison]) -> str:
    """The page as HTML."""
    return html.fill(
        "compare.html",
        answers(comparisons),
        _opening(comparisons),
        TypeAdapter(list[Comparison]).dump_json(list(comparisons)).decode(),
        created=[comparisons[0].created[0], *(c.created[1] for c in comparisons)],
    )


def answers(comparisons: Sequence[Comparison]) -> Answers:
    """Ratios, errors, conditions."""
    return Answers(
        run=(_ratios(comparisons),), trust=(_errors(comparisons),), conditions=(_conditions(comparisons),)
    )


def finding(one: Comparison) -> str:
    """How the second record's speeds lie to the first's, in words."""
    known = [row.ratio for row in one.rows if has_interval(row.ratio)]
    text = (
        f"Over {plural(len(one.rows), 'shared configuration')} and {plural(one.prompts, 'shared prompt')}, "
        f"{one.second} ran at {times(median(row.ratio.value for row in one.rows))} the tokens/s of {one.first} "
        "in the median"
    )
    if not known:
        return text + "; one prompt gives no interval."
    faster, slower = sum(r.low > 1.0 for r in known), sum(r.high < 1.0 for r in known)
    same = len(known) - faster - slower
    return f"{text}: {faster} faster and {slower} slower beyond the 95% interval, {same} not told apart."


def _opening(comparisons: Sequence[Comparison]) -> Verdict:
    ratios = [row.ratio for one in comparisons for row in one.rows]
    apart = sum(_apart(ratio) for ratio in ratios)
    headline = (
        f"{apart} of {plural(len(ratios), 'speed')} differ beyond their intervals."
        if apart
        else "No speed differs beyond its interval."
    )
    alarms = tuple(
        f"{one.first} and {one.second} were not made under the same conditions: "
        + "; ".join(d.sentence for d in one.differences)
        + "."
        for one in comparisons
        if one.differences
    )
    remarks = tuple(dict.fromkeys(remark for one in comparisons for remark in one.named_remarks))
    return Verdict(
        "even",
        headline,
        (*map(finding, comparisons), *_fastest(comparisons)),
        alarms=alarms,
        remarks=remarks,
    )


def _fastest(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """What ran the fastest in each record, of the configurations that it shares with the first."""
    first = max(comparisons[0].rows, key=lambda row: row.first.tokens_per_second)
    best = [(comparisons[0].first, first, first.first.tokens_per_second)]
    for one in comparisons:
        row = max(one.rows, key=lambda row: row.second.tokens_per_second)
        best.append((one.second, row, row.second.tokens_per_second))
    return tuple(
        f"The fastest in {name} was {row.label}, at {number(speed)} tokens/s." for name, row, speed in best
    )


def _apart(ratio: Estimate) -> bool:
    return has_interval(ratio) and not ratio.low <= 1.0 <= ratio.high


def _configurations(comparisons: Sequence[Comparison]) -> list[Configuration]:
    named = {in_words(row.configuration): row.configuration for one in comparisons for row in one.rows}
    return list(named.values())


def _ratios(comparisons: Sequence[Comparison]) -> Section:
    columns = (
        "configuration",
        "first, tokens/s",
        "second, tokens/s",
        "second over first (95%)",
        "first, rollback rate",
        "second, rollback rate",
        "difference, points (95%)",
    )
    tables = tuple(
        Table(
            f"{one.second} (second) against {one.first} (first)",
            columns,
            tuple(map(_speed_cells, one.rows)),
            columns[:1],
            shown=True,
        )
        for one in comparisons
    )
    label = "Ratio of tokens per second of each configuration to that in the first record, with 95 percent intervals"
    caption = (
        "To the right of the dashed line a record is faster than the first. Bars: 95% intervals over prompts."
    )
    return Section(
        "ratios",
        "Speeds",
        "Tokens/s, one record over the other",
        " ".join(map(finding, comparisons)),
        (single("ratios", label, _ratio_figure(comparisons), caption),),
        tables,
        "Only prompts that both records hold count, paired by prompt; intervals are those of the ratio's logarithm, by "
        "the delta method. A rollback rate's difference is in percentage points.",
    )


def _speed_cells(row: Row) -> tuple[str, ...]:
    first, second = row.first, row.second
    cells = (
        row.label,
        number(first.tokens_per_second),
        number(second.tokens_per_second),
        ranged(row.ratio, 3),
    )
    if not row.configuration.drafts:
        return (*cells, "", "", "")
    difference = Estimate(*(100 * x for x in (row.rollback.value, row.rollback.low, row.rollback.high)))
    return (*cells, percent(first.rollback_rate), percent(second.rollback_rate), ranged(difference))


def _errors(comparisons: Sequence[Comparison]) -> Section:
    columns = (
        "configuration",
        "first, error",
        "second, error",
        "first, error of timing alone",
        "second, error of timing alone",
    )
    sizes = [median(abs(row.first.error) for row in comparisons[0].rows)]
    sizes += [median(abs(row.second.error) for row in one.rows) for one in comparisons]
    names = [comparisons[0].first, *(one.second for one in comparisons)]
    listed = ", ".join(f"{percent(size)} in {name}" for size, name in zip(sizes, names, strict=True))
    label = "Signed errors of the predicted tokens per second of each configuration in each record"
    caption = (
        "Errors of the predicted tokens/s, in percent of the measured, each record by its own calibration."
    )
    if any(side.far_context for one in comparisons for row in one.rows for side in (row.first, row.second)):
        caption += f" {MEANING}."
    return Section(
        "errors",
        "Errors",
        "Predicted against measured, in each record",
        f"The median absolute error of the predicted tokens/s over the shared configurations was {listed}.",
        (single("errors", label, _error_figure(comparisons), caption),),
        tuple(
            Table(
                f"{one.second} (second) and {one.first} (first)",
                columns,
                tuple(
                    (
                        row.label,
                        *(signed(side.error) for side in (row.first, row.second)),
                        *(
                            "" if side.timing_error is None else signed(side.timing_error)
                            for side in (row.first, row.second)
                        ),
                    )
                    for row in one.rows
                ),
                columns[:1],
                shown=True,
            )
            for one in comparisons
        ),
    )


def _conditions(comparisons: Sequence[Comparison]) -> Section:
    differing = sum(len(one.differences) for one in comparisons)
    columns = ("condition", "first", "second")
    tables = []
    for one in comparisons:
        title = f"What differs between {one.first} (first) and {one.second} (second)"
        rows = tuple((d.condition, d.first, d.second) for d in one.differences)
        rows += tuple(("configuration", label, "not there") for label in one.only[0])
        rows += tuple(("configuration", "not there", label) for label in one.only[1])
        tables.append(Table(title, columns, rows or (("nothing", "", ""),), columns, shown=True))
    return Section(
        "conditions",
        "Conditions",
        "Conditions that differ",
        f"{plural(differing, 'condition')} of hardware, software, models, prompts and runs "
        f"differ{'s' if differing == 1 else ''}."
        if differing
        else "Hardware, software, models, prompts and runs are the same.",
        (),
        tuple(tables),
    )


def _offsets(count: int) -> list[float]:
    """Places of `count` marks within a row."""
    return [(i - (count - 1) / 2) * min(0.22, 0.7 / count) for i in range(count)]


def _marks(
    name: str, tint: str, places: Sequence[float], values: Sequence[float], hover: Sequence[str]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name),
        "x": list(values),
        "y": list(places),
        "marker": {"size": 10, "color": tint},
        "hovertext": list(hover),
        **HOVER,
    }


def _framed(
    traces: list[dict[str, Any]], configurations: Sequence[Configuration], title: str, even: float
) -> Figure:
    """Rows of marks, and a dashed line where nothing differs."""
    line = {"color": colour.MUTED, "width": 1.2, "dash": "dash"}
    return {
        "data": traces,
        "layout": layout(
            **labelled_rows(named(configurations), 104, 46),
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 40, "b": 8},
            xaxis=axis(title),
            shapes=[
                {"type": "line", "x0": even, "x1": even, "y0": 0, "y1": 1, "yref": "paper", "line": line}
            ],
        ),
    }


def _ratio_figure(comparisons: Sequence[Comparison]) -> Figure:
    configurations = _configurations(comparisons)
    places = {in_words(c): i for i, c in enumerate(configurations)}
    traces = []
    for i, (one, offset) in enumerate(zip(comparisons, _offsets(len(comparisons)), strict=True)):
        hover = [
            f"<b>{plain(in_words(row.configuration), LONG)}</b><br>{plain(one.second)} over {plain(one.first)}: "
            f"{ranged(row.ratio, 3)}<br>{number(row.first.tokens_per_second)} and "
            f"{number(row.second.tokens_per_second)} tokens/s"
            for row in one.rows
        ]
        tint = TINTS[i % len(TINTS)]
        at = [places[in_words(row.configuration)] + offset for row in one.rows]
        marks = _marks(one.second, tint, at, [row.ratio.value for row in one.rows], hover)
        traces.append({**marks, "error_x": errors([row.ratio for row in one.rows], tint)})
    title = f"tokens/s over those of {plain(comparisons[0].first)}"
    return _framed(traces, configurations, title, 1.0)


def _error_figure(comparisons: Sequence[Comparison]) -> Figure:
    configurations = _configurations(comparisons)
    places = {in_words(c): i for i, c in enumerate(configurations)}
    by_record: list[tuple[str, dict[str, float]]] = [
        (
            comparisons[0].first,
            {in_words(row.configuration): row.first.error for one in comparisons for row in one.rows},
        )
    ]
    by_record += [
        (one.second, {in_words(row.configuration): row.second.error for row in one.rows})
        for one in comparisons
    ]
    traces = []
    for i, ((name, found), offset) in enumerate(zip(by_record, _offsets(len(by_record)), strict=True)):
        # The first record stands apart from the others, whose colours are those of the chart of ratios.
        tint = colour.INK if i == 0 else TINTS[(i - 1) % len(TINTS)]
        hover = [
            f"<b>{plain(label, LONG)}</b><br>{plain(name)}: {signed(error)}" for label, error in found.items()
        ]
        at = [places[label] + offset for label in found]
        traces.append(_marks(name, tint, at, [100 * error for error in found.values()], hover))
    return _framed(traces, configurations, "error, percent", 0.0)
