"""The simulator's benchmark for a reader: Markdown that a terminal shows as well."""

from collections.abc import Iterator
from statistics import median

from reports.bench.sim_benchmark import SimBenchmark, Timing

INTRODUCTION = """# The speed of the simulator

`{command}` wrote this document. Every figure is a median with the range of {repeats} repeats, in seconds of the wall
clock: {processor}, {cores} cores, Python {python}, SimPy {simpy}.

The texts are those of a calibration made on {calibrated}. It holds fewer and shorter ones than are asked for here, so
they take turns until there are {prompts}, and each is lengthened by those after it to {length} tokens: the replays
are as long as that many texts would make them, and say nothing about a pair of models.
"""

READING = """## What remains

What is timed is what a search does: it writes scripts, and adds up the closed form of their waits
(`sim/world/closed_form_time.py`). Time goes by the round and not by the token, so a policy that writes more tokens a
round is simulated at more of them a second. Whole runs, with the times of single jobs, take SimPy an event for each
wait on top, which alone would be {floor:,.0f} tokens/s of autoregressive decoding. Shares by module of a replay of
`{profiled}`, by Python's profiler, which makes many small calls seem dearer than they are:

| module | share |
| --- | ---: |
{shares}

`engine/policies` is the policy itself, the same code that runs in the engine; `sim/scripts/script.py` writes down what
it asks for and keeps what each model has read; `sim/acceptance/sources.py` finds the draft's tokens along the recorded
text. These make a script, which is written once; only the others are needed for each further placement:
`sim/costs/durations.py` and `sim/costs/measured.py` look up what jobs cost, and `sim/world/closed_form_time.py` is how
long waits take by them.
"""


def markdown(b: SimBenchmark) -> str:
    """The whole document."""
    parts = [
        INTRODUCTION.format(
            command=b.command,
            repeats=_counts(b),
            processor=b.hardware["processor"],
            cores=b.hardware["cores"],
            python=b.software["python"],
            simpy=b.software["simpy"],
            calibrated=b.calibrated,
            prompts=b.prompts,
            length=b.length,
        ),
        *_lines(b),
        READING.format(
            floor=b.floor.speeds[0],
            profiled=b.profiled,
            shares="\n".join(f"| {name} | {share:.0%} |" for name, share in _large(b.shares)),
        ),
    ]
    return "\n".join(parts)


def _large(shares: dict[str, float]) -> Iterator[tuple[str, float]]:
    large = {name: share for name, share in shares.items() if share >= 0.02}
    yield from large.items()
    yield "others", 1.0 - sum(large.values())


def _lines(b: SimBenchmark) -> Iterator[str]:
    event = median(b.floor.seconds) / b.floor.rounds
    yield from ("## Against the aims", "", "| what | aim | found |", "| --- | --- | --- |")
    yield f"| start of `simulate`, without torch | under 0.7 s | {_seconds(b.start)} |"
    for what, timings in (("the first time", b.policies), ("in a further placement", b.scripted)):
        fastest, slowest = (f(timings, key=lambda t: t.speeds[0]) for f in (max, min))
        yield (
            f"| tokens/s on one core, by policy, {what} | 700,000 | {slowest.speeds[0]:,.0f} ({slowest.name}) to "
            f"{fastest.speeds[0]:,.0f} ({fastest.name}) |"
        )
    yield (
        f"| {b.configurations} configurations x {b.prompts} prompts x {b.length} tokens on {b.processes} cores | "
        f"{'under 10 s' if b.configurations == 500 else 'none'} | {_seconds(b.sweep)} |"
    )
    yield f"| SimPy alone: one process that sleeps | none | {1e6 * event:.2f} us an event |"
    for loop in b.plain:
        yield f"| a loop of speculative {loop.name} alone, tokens/s | none | {_speed(loop)} |"
    yield from (
        "",
        "## By policy, one core, texts prepared",
        "",
        "Of a further placement, or what-if of costs, only the time of a script that is written already is counted.",
        "",
        "| configuration | tokens a round | first: tokens/s (range) | us a round | further: tokens/s | us a round |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    )
    for first, further in zip(b.policies, b.scripted, strict=True):
        spent = (f"{1e6 * median(t.seconds) / t.rounds:.1f}" for t in (first, further))
        yield (
            f"| {first.name} | {first.tokens / first.rounds:.2f} | {_speed(first)} | {next(spent)} | "
            f"{_speed(further)} | {next(spent)} |"
        )
    yield from ("", "## How the cost grows, one core, the preparation of texts included but for branches", "")
    yield from (
        "| what grows | to | tokens | seconds (range) | tokens/s |",
        "| --- | ---: | ---: | ---: | ---: |",
    )
    for what, timings in b.growth.items():
        for t in timings:
            yield f"| {what} | {t.name} | {t.tokens:,} | {_seconds(t)} | {t.speeds[0]:,.0f} |"
    yield ""


def _counts(b: SimBenchmark) -> str:
    counts = {len(t.seconds) for t in (b.start, b.floor, *b.policies, *b.scripted, b.sweep)}
    return " to ".join(map(str, sorted(counts)))


def _seconds(timing: Timing) -> str:
    return f"{median(timing.seconds):.2f} s ({min(timing.seconds):.2f} to {max(timing.seconds):.2f})"


def _speed(timing: Timing) -> str:
    middle, least, most = timing.speeds
    return f"{middle:,.0f} ({least:,.0f} to {most:,.0f})"
