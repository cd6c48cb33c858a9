"""The benchmark of many requests for a reader: Markdown that a terminal shows as well."""

from collections.abc import Iterator
from itertools import groupby
from textwrap import fill

from reports.race.benchmark import AIM, BYTES, LoadBenchmark, Part, Speeds
from reports.wording import estimated, plural

WIDTH = 118  # of prose

INTRODUCTION = """# Many requests at once, beside OpenVINO GenAI and vLLM

`specbranch bench-load` wrote this document: {processor}, {cores} cores. Each load is so many requests at once, which
all engines serve in turn, the next round with other prompts: the same prompts' tokens, {tokens} tokens written behind
each, greedily and beyond ends of texts. Seconds are taken where an engine computes, from the first prompt's reading to
the last token. All have all cores. Speeds are tokens/s over all rounds, with the slowest and the fastest round; ratios
have 95% intervals over rounds. The aim is {aim} times the better rival at every load.
"""

READING = """## How to read it

- *Limits*: tokens/s if a step took nothing but the reading of its weights, once, from memory, and if it took nothing
  but its products (a round of so many steps of the draft, too), at the speeds that were measured here: memory's by
  reading, products' by our own loops on weights that lie in a core's cache. More requests share what is read and not
  what is multiplied, so the second is nearer for many. Prompts are read, too, which both leave out.
- *Alike*: the share of an engine's tokens that come before its text first differs from ours. Engines round differently
  in 16 bits, and one near tie that falls elsewhere makes the rest of a text another one.
- Ours and vLLM compute in bfloat16; OpenVINO's models are exported with weights of 16 bits (fp16), and it computes as
  it chooses to. vLLM runs without its compiler (`enforce_eager`). Prompts are read anew, without a cache of prefixes.
  Other settings are the engines' own.
"""


def markdown(b: LoadBenchmark) -> str:
    """The whole document."""
    parts = [
        INTRODUCTION.format(
            processor=b.hardware["processor"], cores=b.hardware["cores"], tokens=b.max_tokens, aim=AIM
        )
    ]
    parts += ["\n".join(lines(part)) for part in b.parts.values()]
    return "\n".join([*parts, READING])


def lines(part: Part) -> Iterator[str]:
    """A pair's race."""
    day = f", {part.created}" if part.created else ""
    rounds = max((len(speeds.seconds) for speeds in part.speeds), default=0)
    yield from (f"## {part.title}", "", f"`{part.command}`{day}, {plural(rounds, 'round')}.", "")
    drafts = any(speeds.draft_tokens for speeds in part.speeds)
    columns = [
        "requests",
        "engine",
        *(["draft tokens"] if drafts else []),
        "tokens/s (rounds)",
        "ours / its (95%)",
    ]
    columns += ["limits: memory, products", "alike"]
    yield f"| {' | '.join(columns)} |"
    yield f"| ---: | --- | {' | '.join(['---:'] * (len(columns) - 2))} |"
    for users, group in groupby(part.speeds, key=lambda speeds: speeds.users):
        found = list(group)
        for speeds in found:
            cells = [f"{users}", speeds.version, *([f"{speeds.draft_tokens}"] if drafts else [])]
            yield f"| {' | '.join([*cells, *_figures(part, speeds, found[0])])} |"
    yield ""
    yield from verdicts(part)
    yield ""
    bandwidths = " and ".join(f"{bandwidth / 1e9:.1f}" for bandwidth in part.bandwidths)
    yield fill(
        f"A step reads {BYTES * part.target_parameters / 1e6:,.0f} MB of weights"
        + (
            f", one of the draft {BYTES * part.draft_parameters / 1e6:,.0f} MB"
            if part.draft_parameters
            else ""
        )
        + f"; memory was read at {bandwidths} GB/s before the race and behind it"
        + (
            f", and {part.products / 1e9:,.0f} billion pairs of numbers multiplied a second."
            if part.products
            else "."
        ),
        WIDTH,
    )
    yield from (fill(f"Note: {note.removesuffix('.')}.", WIDTH) for note in (*part.remarks, *part.missing))
    if drafts:
        yield from ("", "Draft lengths that were tried, once each when warm, in tokens/s:", "")
        yield from _tries(part)
    yield ""


def _figures(part: Part, speeds: Speeds, ours: Speeds) -> Iterator[str]:
    low, high = speeds.spread
    yield f"{speeds.tokens_per_second:,.0f} ({low:,.0f} to {high:,.0f})"
    yield "" if speeds.ours else estimated(part.ratio(ours, speeds), 2)
    limits = part.limits(speeds) if speeds.ours else None
    yield ", ".join(f"{limit:,.0f}" for limit in limits or () if limit is not None)
    yield f"{speeds.alike:.0%}"


def verdicts(part: Part) -> Iterator[str]:
    """A line for each load and engine of ours: how it stands against the better rival."""
    for speeds in part.speeds:
        found = part.against(speeds) if speeds.ours else None
        if found is not None:
            rival, ratio = found
            reached = "reached" if ratio.low >= AIM else "missed" if ratio.high < AIM else "not told"
            if ratio.low != ratio.low:  # a single round
                reached = "not told"
            yield (
                f"- {speeds.users} request{'s' if speeds.users > 1 else ''}, {speeds.engine}: "
                f"{estimated(ratio, 2)} times {rival}; the aim of {AIM} is {reached}."
            )


def _tries(part: Part) -> Iterator[str]:
    lengths = sorted({length for _, _, length, _ in part.tried})
    yield f"| engine | requests | {' | '.join(f'{length} drafted' for length in lengths)} |"
    yield f"| --- | ---: | {' | '.join(['---:'] * len(lengths))} |"
    speeds = {(engine, users, length): speed for engine, users, length, speed in part.tried}
    for engine, users in dict.fromkeys((engine, users) for engine, users, _, _ in part.tried):
        cells = [speeds.get((engine, users, length)) for length in lengths]
        shown = " | ".join("" if cell is None else f"{cell:,.0f}" for cell in cells)
        yield f"| {engine} | {users} | {shown} |"
