"""Served requests as tables for a terminal: each load's configurations one below another."""

from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from calibrate.artifact import Artifact
from engine.naming import in_words
from engine.runtime.workload import Limits
from engine.service_metrics import ServiceMetrics
from reports.wording import has_interval, number, percent, stacked
from scenarios.schema import Scenario
from sim.sweeps.served_outcome import ServedOutcome, best_autoregressive, gain, objective_at
from sim.world.reach import MARK, marked

SPEED_UPS = (
    "Speed-ups are over autoregressive decoding at the same load, in its best set-up here: of tokens/s or, where "
    "requests arrive by themselves, of the 95th percentile of the time to their ends."
)


def beyond_measured(outcomes: Sequence[ServedOutcome]) -> str | None:
    """What the mark beside a configuration at a load means, in a sentence; None where none has it."""
    most = max((outcome.extrapolated for outcome in outcomes), default=0.0)
    if not most:
        return None
    return (
        f"{MARK} Some of its forwards have more rows, requests or context than any that was measured, and their costs "
        f"are extrapolated: up to {percent(most, 0)} of the forwards' time at a load."
    )


HEADINGS = ("tokens/s", "first token, s\n50% / 95%", "ms a token\n50% / 95%", "batch", "target\nbusy")
WIDE_HEADINGS = (
    "tokens/s\na device",
    "end to end, s\n50% / 95% / 99%",
    "queue\nmean / most",
    "draft\nbusy",
    "fair",
)


def print_served(
    out: Console,
    scenario: Scenario,
    artifact: Artifact | None,
    outcomes: Sequence[ServedOutcome],
    wide: bool = False,
) -> None:
    """A table for each what-if and batching, where its figures come from, and what a reader has to know."""
    several = len(scenario.what_if) > 1
    hardware = scenario.hardware.name if scenario.hardware else ""
    for (what_if, batching), its in groupby(outcomes, key=lambda o: (o.what_if, o.batching)):
        changed = what_if.label()
        parts = [scenario.title, hardware, changed if several else "", batching.label()]
        out.print(
            load_table("; ".join(part for part in parts if part), list(its), scenario.workload.limits, wide)
        )
    if not several and (changed := scenario.what_if[0].label()):
        out.print(f"What if: {changed}.")
    out.print(origins(scenario, artifact), highlight=False)
    if has_speed_ups(outcomes):
        out.print(SPEED_UPS, highlight=False)
    if meaning := beyond_measured(outcomes):
        out.print(meaning, highlight=False)
    if (samples := scenario.workload.samples) > 1:
        out.print(
            f"Means of {samples} samples of the requests, with 95% intervals of what has one.",
            highlight=False,
        )
    for note in dict.fromkeys(note for o in outcomes for note in o.notes):
        out.print(f"Note: {note}.", highlight=False)


def origins(scenario: Scenario, artifact: Artifact | None) -> str:
    """Where acceptance and costs of a scenario come from, in a sentence; `artifact`: whose texts were served."""
    if scenario.hardware is not None:
        costs = f"costs are of other hardware, {scenario.hardware.name}"
    elif scenario.costs is not None or artifact is None:
        costs = "costs are stated in the file, not measured"
    else:
        costs = f"costs are {_measured(artifact)}"
    if artifact is None:
        return (
            f"Acceptance is stated in the file, not measured, and {costs}."
            if scenario.hardware
            else "Acceptance and costs are stated in the file, not measured."
        )
    recorded = artifact.recorded
    return (
        f"Texts and acceptance are those of a calibration of {recorded.created} ({len(recorded.prompts)} prompts); "
        f"{costs}."
    )


def _measured(artifact: Artifact) -> str:
    """Where the costs come from."""
    costs = artifact.costs
    here = "its own" if not artifact.of_two else f"those of a calibration of {costs.created}"
    return f"{here}, measured on {costs.hardware['processor']}"


def load_table(title: str, outcomes: Sequence[ServedOutcome], limits: Limits, wide: bool) -> Table:
    """A row for each outcome, one load below another.

    Where one of a load's outcomes does not speculate, the others have a speed-up over it, with its 95% interval over
    the samples of the requests (`SPEED_UPS`).
    """
    limited, over = limits != Limits(), has_speed_ups(outcomes)
    table = Table(title=escape(title))
    table.add_column("configuration", overflow="fold")
    headings = [HEADINGS[0], *(["speed-up"] if over else []), *HEADINGS[1:]]
    headings += [*(["good/s", "good"] if limited else []), *(WIDE_HEADINGS if wide else [])]
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    several = len({o.configuration.placement for o in outcomes if "draft" in o.configuration.uses}) > 1
    for load, grouped in groupby(outcomes, key=lambda o: o.arrivals):
        its = list(grouped)
        alone = best_autoregressive(its)
        table.add_section()
        table.add_row(f"[bold]{escape(load.label())}[/bold]")
        for outcome in its:
            figures = _figures(outcome, limited, wide)
            if over:
                figures.insert(1, _speed_up(outcome, alone))
            placed = several and "draft" in outcome.configuration.uses
            name = marked(in_words(outcome.configuration, placed), outcome.extrapolated > 0.0)
            table.add_row(f"  {escape(name)}", *figures)
    return table


def has_speed_ups(outcomes: Sequence[ServedOutcome]) -> bool:
    """Whether one of these speculates at a load at which another one does not."""
    loads = [{o.configuration.drafts for o in its} for _, its in groupby(outcomes, key=lambda o: o.arrivals)]
    return any(len(kinds) > 1 for kinds in loads)


def _speed_up(outcome: ServedOutcome, alone: ServedOutcome | None) -> str:
    """Over the autoregressive set-up of its load; nothing for that one itself, and where there is none."""
    if alone is None or outcome is alone:
        return ""
    found = gain(outcome, alone, objective_at(outcome.arrivals))
    return stacked(found, 2) if has_interval(found) else number(found.value, 2)


def _figures(outcome: ServedOutcome, limited: bool, wide: bool) -> list[str]:
    found, samples = outcome.figures, outcome.samples
    interval = len(samples) > 1

    def speed(name: str, digits: int = 0) -> str:
        return stacked(found[name], digits) if interval else number(found[name].value, digits)

    def mean(figure: Callable[[ServiceMetrics], float]) -> float:
        return fmean(figure(sample) for sample in samples)

    def busy(model: str) -> float:
        return mean(lambda m: sum(device.busy for device in m.devices if model in device.models))

    first, token = (
        tuple(found[f"{name}_{at}"].value for at in ("median", "p95")) for name in ("first_token", "token")
    )
    shown = [
        speed("tokens_per_second"),
        " / ".join(number(seconds, 2) for seconds in first),
        " / ".join(number(1e3 * seconds) for seconds in token),
        number(mean(lambda m: m.devices[0].batch)),
        percent(busy("target"), 0),
    ]
    if limited:
        shown += [speed("goodput", 2), percent(mean(lambda m: m.good), 0)]
    if wide:
        whole = (
            mean(lambda m: m.end_to_end.median),
            mean(lambda m: m.end_to_end.p95),
            mean(lambda m: m.end_to_end.p99),
        )
        apart = len(samples[0].devices) > 1
        shown += [
            speed("tokens_per_device_second"),
            " / ".join(number(seconds, 2) for seconds in whole),
            f"{number(mean(lambda m: m.queue))} / {max(m.longest_queue for m in samples)}",
            percent(busy("draft"), 0) if apart else "",
            number(found["fairness"].value, 2),
        ]
    return shown
