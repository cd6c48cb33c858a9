"""The page of requests that are served together: what to run at which load, why, and under what conditions.

    write_loads([(scenario, list(run_served(scenario)))], Path("load.html"))

It is made of the report's own sections, charts, style and template (`reports/page/html.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from pydantic import TypeAdapter

from calibrate.artifact import Artifact
from engine.runtime.workload import REQUESTS, Drawn, Limits
from engine.service_metrics import ServiceMetrics
from reports.load.load_charts import courses, gains, latencies
from reports.load.load_fidelity import judge_loads
from reports.load.load_tables import compared_section, judged_briefly, regret_said
from reports.load.ranking import EVEN, Rank, Setting, name_of, schedule, settings
from reports.load.verifying import LoadVerification
from reports.page import html
from reports.page.sections import Answers, Section, Table, pairs
from reports.page.verdict import Tone, Verdict
from reports.scenario_document import scenario_document
from reports.service_tables import beyond_measured, origins
from reports.wording import (
    capital,
    estimated,
    listing,
    milliseconds,
    number,
    percent,
    plural,
    sentence,
    times,
)
from scenarios.schema import Scenario
from sim.sweeps.served_outcome import ServedOutcome
from sim.world.reach import marked

ASSUMED = (
    "Which requests run, and which of their forwards are one, is decided by the engine's own scheduler.",
    "A branch costs what a row of a forward does, and moving it nothing.",
    "Policies do not ask about the load: each request is drafted for as it would be alone.",
    "What models that compute at once do to each other is measured over fewer rows than a prompt has; while one is "
    "read, they are taken to lose no more milliseconds than there.",
)

Served = Sequence[tuple[Scenario, Sequence[ServedOutcome]]]
"""A scenario with its outcomes, for each hardware that it names."""


def write_loads(
    served: Served, out: Path, artifact: Artifact | None = None, verified: LoadVerification | None = None
) -> None:
    """Write the page to `out`; `artifact`: the calibration whose texts were served, if one's were.

    `verified`: what the engine did of it. SpecBranchError if the file cannot be written.
    """
    html.write(out, render(served, artifact, verified))


def write_verified(scenario: Scenario, verified: LoadVerification, artifact: Artifact, out: Path) -> None:
    """The page of what was predicted and measured. SpecBranchError if the file cannot be written."""
    write_loads([(scenario, [one.predicted for one in verified.compared])], out, artifact, verified)


def render(served: Served, artifact: Artifact | None = None, verified: LoadVerification | None = None) -> str:
    """The page as HTML."""
    found = settings(served, [one.measured for one in verified.compared] if verified else ())
    count = sum(len(outcomes) for _, outcomes in served)
    record = (
        TypeAdapter(LoadVerification).dump_json(verified).decode()
        if verified
        else scenario_document(served, TypeAdapter(list[ServedOutcome]))
    )
    return html.fill(
        "load.html",
        answers(served, found, artifact, verified),
        opening(served, found, artifact, verified),
        record,
        title=served[0][0].title,
        loads=f"{plural(count, 'simulated service')}",
    )


def answers(
    served: Served,
    found: Sequence[Setting],
    artifact: Artifact | None,
    verified: LoadVerification | None = None,
) -> Answers:
    """The gain by load; what is assumed, and what was measured; latencies and courses; conditions."""
    compared = (compared_section(verified, found[0]),) if verified else ()
    return Answers(
        run=(_gains(served, found),),
        trust=(*compared, _assumptions(served, artifact)),
        why=(_latencies(found), _courses(found[0])),
        conditions=(_conditions(served),),
    )


def opening(
    served: Served,
    found: Sequence[Setting],
    artifact: Artifact | None,
    verified: LoadVerification | None = None,
) -> Verdict:
    """What to run at which load: of the first setting, and whether others say the same.

    It is what was predicted. Where the best that was measured is another one, that must not be missed.
    """
    first = found[0]
    drafted = [load for load in first.loads if _gain(load.best) > EVEN]
    tone: Tone = "good" if drafted else "even"
    headline = f"{capital(schedule(first))}." if drafted else "Do not speculate at any of these loads."
    others = [
        f"{capital(setting.name)}: {schedule(setting)}."
        for setting in found[1:]
        if schedule(setting) != schedule(first)
    ]
    fidelity = judge_loads(verified.compared, verified.reference_seconds) if verified else None
    borne_out = (regret_said(fidelity),) if fidelity else ()
    beaten = fidelity is not None and any(regret.lacks.value > 0.0 for regret in fidelity.regrets)
    return Verdict(
        tone,
        headline,
        (*_reasons(first), *others, *_certainty(served), *(() if beaten else borne_out)),
        alarms=borne_out if beaten else (),
        remarks=tuple(map(sentence, artifact.remarks)) if artifact else (),
        predictions=judged_briefly(verified) if verified else None,
    )


def _gain(rank: Rank) -> float:
    """By how much a configuration that drafts beats autoregressive decoding; nothing for any other."""
    return rank.gain.value - 1.0 if rank.gain and rank.outcome.configuration.drafts else 0.0


def _reasons(setting: Setting) -> tuple[str, ...]:
    """What the best gains at the first and at the last load, and what the strongest there loses later."""
    first, last = setting.loads[0], setting.loads[-1]
    told = [
        f"With {load.arrivals.label()} the best is {name_of(load.best.outcome, setting)}"
        + (
            f", {times(load.best.gain.value)} autoregressive decoding by {load.objective.name}"
            if load.best.gain
            else ""
        )
        + "."
        for load in (first, last)[: 1 + (len(setting.loads) > 1)]
    ]
    name = name_of(first.best.outcome, setting)
    later = next(rank for rank in last.ranks if name_of(rank.outcome, setting) == name)
    if later is not last.best and later.gain:
        told.append(f"What is best at first comes to {times(later.gain.value)} with {last.arrivals.label()}.")
    return tuple(told)


def _certainty(served: Served) -> tuple[str, ...]:
    samples = served[0][0].workload.samples
    if samples == 1:
        return ("Of one sample of the requests: how much others would differ is not known.",)
    return (f"Means of {plural(samples, 'sample')} of the requests, with 95% intervals.",)


def _gains(served: Served, found: Sequence[Setting]) -> Section:
    limited = served[0][0].workload.limits != Limits()
    several = len(found) > 1
    tables = tuple(
        Table(
            f"{capital(load.arrivals.label())}{f', {setting.name}' if several else ''}",
            _columns(limited),
            tuple(_row(rank, setting, limited) for rank in load.ranks),
            ("configuration",),
            shown=not several,
        )
        for setting in found
        for load in setting.loads
    )
    tied = [load.arrivals.label() for load in found[0].loads if sum(rank.tied for rank in load.ranks) > 1]
    finding = f"{capital(schedule(found[0]))}."
    if tied:
        finding += f" The best is not told from others with {listing(tied)}."
    return Section(
        "gains",
        "Gain by load",
        "What speculation gains at each load",
        finding,
        (gains(found),),
        tables,
        "Where users wait for their answers, configurations are ranked by tokens/s; where requests arrive by "
        "themselves, by the 95th percentile of the time to their ends. A gain is over the best autoregressive set-up "
        f"at the same load. {beyond_measured([o for _, its in served for o in its]) or ''}".rstrip(),
    )


def _columns(limited: bool) -> tuple[str, ...]:
    columns = (
        "configuration",
        "tokens/s",
        "gain",
        "first token, s (50% / 95%)",
        "ms a token (50% / 95%)",
        "whole answer, s (95%)",
        "requests in a forward",
        "target busy",
        "waiting",
    )
    return (*columns, "good requests/s", "good") if limited else columns


def _row(rank: Rank, setting: Setting, limited: bool) -> tuple[str, ...]:
    outcome = rank.outcome
    figures, samples = outcome.figures, outcome.samples

    gain = rank.gain
    cells = (
        marked(name_of(outcome, setting), outcome.extrapolated > 0.0),
        estimated(figures["tokens_per_second"]),
        "" if gain is None else estimated(gain, 2),
        f"{number(figures['first_token_median'].value, 2)} / {number(figures['first_token_p95'].value, 2)}",
        f"{number(1e3 * figures['token_median'].value)} / {number(1e3 * figures['token_p95'].value)}",
        estimated(figures["end_to_end_p95"], 2),
        number(fmean([m.devices[0].batch for m in samples])),
        percent(fmean([_busy(m) for m in samples]), 0),
        number(fmean([m.queue for m in samples])),
    )
    if not limited:
        return cells
    return (*cells, estimated(figures["goodput"], 2), percent(fmean([m.good for m in samples]), 0))


def _busy(metrics: ServiceMetrics) -> float:
    return sum(device.busy for device in metrics.devices if "target" in device.models)


def _assumptions(served: Served, artifact: Artifact | None) -> Section:
    outcomes = [outcome for _, its in served for outcome in its]
    notes = dict.fromkeys(note for outcome in outcomes for note in outcome.notes)
    return Section(
        "assumptions",
        "What it rests on",
        "All of this is simulated",
        origins(served[0][0], artifact),
        items=(*map(sentence, notes), *ASSUMED),
    )


def _latencies(found: Sequence[Setting]) -> Section:
    first = found[0]
    load = first.loads[-1]
    quickest = min(load.ranks, key=lambda rank: rank.outcome.figures["token_median"].value)
    return Section(
        "latencies",
        "Latency",
        "Latency against throughput",
        f"With {load.arrivals.label()} a token takes the least with {name_of(quickest.outcome, first)}, "
        f"{milliseconds(quickest.outcome.figures['token_median'].value, 1)} in the median.",
        (latencies(found),),
        note="A round that writes several tokens writes them at once, so the time for each token is a mean over a "
        "request. Where requests arrive faster than they can be answered, waiting grows for as long as they come.",
    )


def _courses(setting: Setting) -> Section:
    load = setting.loads[-1]
    metrics = load.best.outcome.samples[0]
    used = listing([f"{' and '.join(device.models)} {percent(device.busy, 0)}" for device in metrics.devices])
    return Section(
        "courses",
        "Over time",
        "Who waits, who runs, and what the devices do",
        f"With {load.arrivals.label()} and the best configuration devices are busy so much of the time: {used}.",
        (courses(setting),),
        note="Bars are the requests in a forward, in the mean over the time in which the device was busy; the paler a "
        "bar, the longer the device was idle.",
    )


def _conditions(served: Served) -> Section:
    scenario = served[0][0]
    work = scenario.workload

    def drawn(tokens: "int | Drawn | None") -> str:
        if tokens is None:
            return "the texts' own"
        if isinstance(tokens, int):
            return str(tokens)
        stated = tokens.model_dump(exclude_none=True)
        return "; ".join(f"{name} {value}" for name, value in stated.items())

    limits = [
        f"{name.removesuffix('_seconds').replace('_', ' ')} within {value:g} s"
        for name, value in work.limits.model_dump(exclude_none=True).items()
    ]
    rows = [
        ("arrivals", "; ".join(arrivals.label() for arrivals in work.arrivals)),
        ("requests of a load", str(work.requests or "all")),
        ("tokens of a prompt", drawn(work.prompt_tokens)),
        ("tokens of an answer", drawn(work.tokens)),
        ("limits of a good request", ", ".join(limits) or "none"),
        ("seed; samples", f"{work.seed}; {work.samples}"),
        *(
            (
                "served",
                f"{b.label()}: up to {b.rows} rows, {b.sequences} requests, {b.slots} slots of a cache",
            )
            for b in scenario.batching
        ),
    ]
    return Section(
        "conditions",
        "Conditions",
        "What was served",
        f"{plural(len(work.arrivals), 'load')} of {plural(work.requests or REQUESTS, 'request')} each."
        if work.requests or all(arrivals.trace is None for arrivals in work.arrivals)
        else f"{plural(len(work.arrivals), 'load')}.",
        (),
        (pairs("Conditions", rows),),
    )
