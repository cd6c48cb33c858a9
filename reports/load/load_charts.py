"""Charts of served requests: gain by load, latency against throughput, and how a load went over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from engine.metrics import Estimate
from engine.service_metrics import Timeline
from reports.load.ranking import Load, Rank, Setting, name_of
from reports.page import palette as colour
from reports.page.figure import HOVER, Chart, Choice, Figure, View, axis, errors, heading, layout
from reports.wording import LONG, capital, estimated, listing, milliseconds, number, percent, plain, times
from sim.sweeps.served_outcome import ServedOutcome

TINTS = (colour.BLUE, colour.VERMILLION, colour.GREEN, colour.PURPLE, colour.AMBER, colour.INK)
SYMBOLS = ("circle", "diamond", "triangle-up", "pentagon", "star", "x", "hexagram", "cross")
ALONE = (colour.GREY, "square")
FEWEST = 3  # samples; the interval of two, by one degree of freedom, would hide the chart
BOTH = " Solid lines and filled marks are measured, dotted lines and open marks predicted."
STEEP = 20.0  # how many times the least the most is, from which an axis is logarithmic
LEGEND = {"orientation": "v", "x": 0, "y": -0.16, "xanchor": "left", "yanchor": "top"}
LINE_OF_LEGEND = 19  # pixels


@dataclass(frozen=True)
class Latency:
    """A latency that a reader may choose: `of` an outcome in seconds, shown times `scale`."""

    name: str
    unit: str
    of: Callable[[ServedOutcome], Estimate]
    scale: float = 1.0


LATENCIES = (
    Latency("Time per token, median", "ms a token", lambda o: o.figures["token_median"], 1e3),
    Latency("Time per token, 95th percentile", "ms a token", lambda o: o.figures["token_p95"], 1e3),
    Latency("First token, 95th percentile", "s to the first token", lambda o: o.figures["first_token_p95"]),
    Latency("Whole answer, 95th percentile", "s to the end", lambda o: o.figures["end_to_end_p95"]),
)


def gains(settings: Sequence[Setting]) -> Chart:
    """What each configuration gains over the best autoregressive set-up, over loads."""
    views = {}
    for index, setting in enumerate(settings):
        best = listing(
            [
                f"{times(load.best.gain.value)} with {load.arrivals.label()}"
                for load in setting.loads
                if load.best.gain
            ]
        )
        caption = "Over the dashed line a configuration beats autoregressive decoding at that load."
        caption += BOTH if _is_measured(setting) else ""
        foretold = ", as predicted" if _is_measured(setting) else ""
        views[_key(settings, index)] = View(
            _gain_figure(setting), f"{caption} The best{foretold}: {best}." if best else caption
        )
    label = "Lines of each configuration's gain over autoregressive decoding, by load"
    return Chart("gains", label, views, _choices(settings))


def latencies(settings: Sequence[Setting]) -> Chart:
    """Latency against tokens/s: each configuration a curve through its loads."""
    views = {}
    for index, setting in enumerate(settings):
        for number_, latency in enumerate(LATENCIES):
            key = ",".join(part for part in (_key(settings, index), str(number_)) if part)
            views[key] = View(
                _latency_figure(setting, latency),
                "Each curve goes through the loads in their order. Lower and further right is better."
                + (BOTH if _is_measured(setting) else ""),
            )
    label = "Curves of latency against tokens per second, one for each configuration, through its loads"
    choices = (*_choices(settings), Choice("Latency", tuple(latency.name for latency in LATENCIES)))
    return Chart("latencies", label, views, choices)


def courses(setting: Setting) -> Chart:
    """How one load went over time by one configuration: who waits, who runs, and what each device does.

    The last load is shown first, by its best configuration.
    """
    loads = setting.loads[::-1]
    configurations = [name_of(rank.outcome, setting) for rank in loads[0].ranks]
    real = all(rank.measured for load in loads for rank in load.ranks)
    views = {}
    for at, load in enumerate(loads):
        for which, name in enumerate(configurations):
            rank = next(rank for rank in load.ranks if name_of(rank.outcome, setting) == name)
            sides = {"simulated": rank.outcome, "real": rank.measured} if real else {"": rank.outcome}
            for side, outcome in enumerate(sides.values()):
                if outcome is not None:
                    key = f"{at},{which}" + (f",{side}" if real else "")
                    views[key] = View(_course_figure(outcome), _course_caption(outcome))
    choices = (
        Choice("Load", tuple(load.arrivals.label() for load in loads)),
        Choice("Configuration", tuple(map(capital, configurations))),
        *((Choice("World", ("Simulated", "Real")),) if real else ()),
    )
    label = "Requests that wait and that run, and the requests in each device's forwards, over time"
    return Chart("courses", label, views, choices)


def _key(settings: Sequence[Setting], index: int) -> str:
    return str(index) if len(settings) > 1 else ""


def _choices(settings: Sequence[Setting]) -> tuple[Choice, ...]:
    if len(settings) == 1:
        return ()
    return (Choice("Served", tuple(capital(setting.name) for setting in settings)),)


def _marks(setting: Setting) -> dict[str, tuple[str, str]]:
    """Colour and symbol of each configuration by its name; the same on every chart of a setting.

    Autoregressive decoding first, then as good as they are at the first load.
    """
    ranks = setting.loads[0].ranks
    alone = [name_of(rank.outcome, setting) for rank in ranks if not rank.outcome.configuration.drafts]
    drafting = [name_of(rank.outcome, setting) for rank in ranks if rank.outcome.configuration.drafts]
    marks = zip(drafting, cycle(TINTS), cycle(SYMBOLS), strict=False)
    return dict.fromkeys(alone, ALONE) | {name: (tint, symbol) for name, tint, symbol in marks}


def _facts(rank: Rank, load: Load, name: str, measured: bool = False) -> str:
    """Everything about a configuration at a load, for its hover box."""
    outcome, gain = _side(rank, measured)
    assert outcome is not None
    figures = outcome.figures
    good = sum(m.good for m in outcome.samples) / len(outcome.samples)
    word = "measured" if measured else "predicted"
    return "<br>".join(
        [
            f"<b>{plain(capital(name), LONG)}</b>, {word}",
            f"{plain(load.arrivals.label())}: {estimated(figures['tokens_per_second'])} tokens/s",
            *([f"{estimated(gain, 2)} times autoregressive, by {load.objective.name}"] if gain else []),
            f"first token {number(figures['first_token_median'].value, 2)} s, 19 of 20 within "
            f"{number(figures['first_token_p95'].value, 2)} s",
            f"a token {milliseconds(figures['token_median'].value, 1)}, 19 of 20 within "
            f"{milliseconds(figures['token_p95'].value, 1)}",
            f"{percent(good, 0)} of the requests kept within the limits",
        ]
    )


def _side(rank: Rank, measured: bool) -> tuple[ServedOutcome | None, Estimate | None]:
    """One side's outcome and gain."""
    return (rank.measured, rank.measured_gain) if measured else (rank.outcome, rank.gain)


def _is_measured(setting: Setting) -> bool:
    """Whether the engine served any of it."""
    return any(rank.measured for load in setting.loads for rank in load.ranks)


Figured = Callable[[Rank, bool], Estimate | None]
"""A figure of a configuration at a load, as predicted or, if so asked, as measured; None: there is none."""


def _lines(
    setting: Setting, place: Callable[[int, Rank, bool], float], height: Figured
) -> list[dict[str, Any]]:
    """A line with marks for each configuration through its loads, and another one of what was measured."""
    traces = []
    real = _is_measured(setting)
    several = len(setting.loads[0].best.outcome.samples) >= FEWEST
    for name, (tint, symbol) in _marks(setting).items():
        for measured in (False, True) if real else (False,):
            found = [
                (place(at, rank, measured), value, _facts(rank, load, name, measured))
                for at, load in enumerate(setting.loads)
                for rank in load.ranks
                if name_of(rank.outcome, setting) == name and (value := height(rank, measured)) is not None
            ]
            predicted = real and not measured
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": plain(capital(name), LONG) + (", measured" if measured else ""),
                    "legendgroup": name,
                    "showlegend": not predicted,
                    "x": [x for x, _, _ in found],
                    "y": [value.value for _, value, _ in found],
                    **({"error_y": errors([value for _, value, _ in found], tint)} if several else {}),
                    "line": {"color": tint, "width": 2, "dash": "dot" if predicted else "solid"},
                    "marker": {"color": tint, "symbol": symbol + ("-open" if predicted else ""), "size": 9},
                    "hovertext": [facts for _, _, facts in found],
                    **HOVER,
                }
            )
    return traces


def _gain_figure(setting: Setting) -> Figure:
    traces = _lines(setting, lambda at, *_: at, lambda rank, measured: _side(rank, measured)[1])
    even = {"color": colour.MUTED, "width": 1.2, "dash": "dash"}
    loads = axis(
        tickmode="array",
        tickvals=list(range(len(setting.loads))),
        ticktext=[plain(load.arrivals.label(), 24) for load in setting.loads],
        range=[-0.4, len(setting.loads) - 0.6],
    )
    gained = axis(f"gain by {setting.loads[0].objective.name}, times", range=_span_of(traces))
    line = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 1, "y1": 1, "line": even}
    return _framed(setting, traces, 330, xaxis=loads, yaxis=gained, shapes=[line])


def _framed(setting: Setting, traces: list[dict[str, Any]], height: int, **more: Any) -> Figure:
    """Lines over a legend with a row for each configuration."""
    return {
        "data": traces,
        "layout": layout(
            height + LINE_OF_LEGEND * len(_marks(setting)),
            showlegend=True,
            legend=LEGEND,
            margin={"l": 8, "r": 16, "t": 10, "b": 8},
            **more,
        ),
    }


def _span_of(traces: Sequence[Mapping[str, Any]]) -> list[float]:
    """What an axis shows of gains: all of them and 1, with some room; an interval of few samples may reach beyond."""
    heights = [1.0, *(y for trace in traces for y in trace["y"])]
    room = 0.12 * (max(heights) - min(heights)) or 0.1
    return [min(heights) - room, max(heights) + room]


def _latency_figure(setting: Setting, latency: Latency) -> Figure:
    def height(rank: Rank, measured: bool) -> Estimate | None:
        outcome, _ = _side(rank, measured)
        if outcome is None:
            return None
        found = latency.of(outcome)
        return Estimate(*(latency.scale * x for x in (found.value, found.low, found.high)))

    def place(_: int, rank: Rank, measured: bool) -> float:
        outcome, _gain = _side(rank, measured)
        assert outcome is not None
        return outcome.figures["tokens_per_second"].value

    traces = _lines(setting, place, height)
    heights = [y for trace in traces for y in trace["y"] if y > 0.0]
    steep = bool(heights) and max(heights) > STEEP * min(heights)
    height_axis = axis(latency.unit, type="log") if steep else axis(latency.unit, rangemode="tozero")
    return _framed(setting, traces, 360, xaxis=axis("tokens/s", rangemode="tozero"), yaxis=height_axis)


def _course_caption(outcome: ServedOutcome) -> str:
    metrics = outcome.samples[0]
    return (
        f"Up to {metrics.longest_queue} waited at once; {number(metrics.running)} ran in the mean. Of the first sample "
        f"of the requests, in stretches of {number(outcome.timeline.seconds, 2)} s."
    )


def _course_figure(outcome: ServedOutcome) -> Figure:
    """Requests over devices, one below another on one axis of time."""
    course, devices = outcome.timeline, outcome.samples[0].devices
    moments = [course.seconds * (i + 0.5) for i in range(len(course.queue))]
    parts = 1 + len(devices)
    room = 0.1
    each = (1.0 - room * (parts - 1)) / parts
    domains = [[max(0.0, 1.0 - (i + 1) * each - i * room), 1.0 - i * (each + room)] for i in range(parts)]
    traces = [
        _stretches("waiting", moments, course.queue, colour.VERMILLION, "y"),
        _stretches("running", moments, course.running, colour.BLUE, "y"),
    ]
    axes: dict[str, Any] = {"yaxis": axis("requests", rangemode="tozero", domain=domains[0])}
    headings = [heading("Requests", 0.0, domains[0][1])]
    for i, device in enumerate(devices):
        tint = colour.GREEN if device.models == ("draft",) else colour.PURPLE
        name = f"{capital(' and '.join(device.models))}: requests in a forward"
        traces.append(_device_stretches(name, moments, course, i, tint))
        axes[f"yaxis{i + 2}"] = axis("requests", rangemode="tozero", domain=domains[i + 1])
        headings.append(heading(f"{name}; busy {percent(device.busy, 0)}", 0.0, domains[i + 1][1]))
    return {
        "data": traces,
        "layout": layout(
            60 + 150 * parts,
            showlegend=True,
            margin={"l": 8, "r": 16, "t": 44, "b": 8},
            legend={"orientation": "h", "x": 0, "y": 1.06, "xanchor": "left", "yanchor": "bottom"},
            xaxis=axis("seconds from the first arrival", anchor=f"y{parts}" if parts > 1 else "y"),
            annotations=headings,
            **axes,
        ),
    }


def _stretches(
    name: str, moments: Sequence[float], values: Sequence[float], tint: str, along: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(moments),
        "y": list(values),
        "yaxis": along,
        "line": {"color": tint, "width": 2, "shape": "hvh"},
        "hovertext": [f"{number(x)} s: {number(y)} {name}" for x, y in zip(moments, values, strict=True)],
        **HOVER,
    }


def _device_stretches(
    name: str, moments: Sequence[float], course: Timeline, device: int, tint: str
) -> dict[str, Any]:
    sizes, busy = course.batch[device], course.busy[device]
    return {
        "type": "bar",
        "name": name,
        "x": list(moments),
        "y": list(sizes),
        "yaxis": f"y{device + 2}",
        "marker": {"color": tint, "opacity": [0.25 + 0.75 * min(1.0, share) for share in busy]},
        "showlegend": False,
        "hovertext": [
            f"{number(x)} s: {number(size)} requests in a forward; busy {percent(share, 0)}"
            for x, size, share in zip(moments, sizes, busy, strict=True)
        ],
        **HOVER,
    }
