"""A benchmark for a terminal and as a document; both show the same tables. Torch-free."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from calibrate.artifact import write_whole
from engine.configuration import Configuration
from engine.naming import legend
from reports.bench.benchmark_record import (
    Benchmark,
    CacheUse,
    Figures,
    Trial,
    aims,
    baseline,
    figures,
    rows_of,
)
from reports.bench.contestants import MODES, Mode
from reports.bench.peers import Peer
from reports.page.sections import Table, pairs
from reports.wording import number, percent, plural, ranged, sentence, times

INTRODUCTION = """# Benchmarks

Written by `{command}`, which runs everything again and replaces this file. Our engine, transformers' `generate`, its
assisted generation and its prompt lookup decode the same held-out prompts in one interleaved run; each at the best
setting that the same short sweep found for it on other prompts. Two budgets are told apart, since a second core can be
spent on the target's own threads as well as on a draft:

1. **{one}**: what decodes alone or in turn has one core; policies that draft and verify at once have a second one for
   the draft.
2. **{both}**: what decodes alone or in turn has every core; policies at once share them out.
"""

READING = """## How to read this

- Tokens/s count the whole generation, the prompt's reading included. Brackets hold 95% intervals over prompts (normal
  approximation of a ratio of sums, so with few prompts they are too narrow); speed-ups are paired by prompt.
- Peers run in a worker process on the same cores, and their clock runs inside it, so that they pay for no messages;
  ours includes all of that.
- For assisted generation, the rounded drafts are dense bfloat16 models of the same rounded weights, since transformers
  has no packed kernel for them on the CPU. The distilled draft has its own layers and its cut head (all other tokens
  score minus infinity). "its own stop" is transformers' default: 20 tokens, or until the draft's confidence falls
  under 0.4; without scikit-learn it does not adapt that threshold.
- "Settings tried" counts what the sweep compared for a row; 1 means that nothing was chosen. An aim about "the best"
  takes the fastest row of this very run, so chance flatters it a little, on either side of the ratio.
- Greedy texts end at the end token. Drawn ones never do, because transformers draws other texts than ours; all have
  the same length.
- Cache memory "used" was counted in the cache after one draft job; "copying" is computed: a cache of its own for each
  branch, with a copy of the context.
- Settings are in short. {legend}.
- The limit is tokens over the seconds in which the target computed: the speed if it never waited for anything.
  Hand-over is the share of the time in which neither model computes: messages and policy.
"""

MODE_NAMES: dict[Mode, str] = {"greedy": "greedy", "sampled": "temperature 1"}


def tables(benchmark: Benchmark) -> Iterator[Table]:
    """All tables, the most important first."""
    yield aims_table(benchmark)
    for mode, budget in itertools.product(MODES, benchmark.budgets):
        if found := figures(benchmark, budget, mode):
            yield _speeds(benchmark, budget, mode, found)
    for mode in MODES:
        yield _accounting(benchmark, mode)
    yield _audits(benchmark)
    if found_trials := [t for t in benchmark.trials if _assisted(t)]:
        yield _assisted_sweep(found_trials)
    if benchmark.memory:
        yield memory_table(benchmark.memory)


def aims_table(benchmark: Benchmark) -> Table:
    """What was to be reached and what was."""
    rows = [
        (
            aim.text,
            str(aim.budget),
            MODE_NAMES[aim.mode],
            times(aim.needed),
            ranged(aim.reached, 2),
            "met" if aim.met else "not met",
            f"{aim.who} over {aim.over}",
        )
        for aim in aims(benchmark)
    ]
    columns = ("aim", "budget", "decoding", "needed", "reached (95%)", "met?", "measured")
    return Table("Aims", columns, tuple(rows), ("aim", "decoding", "met?", "measured"))


def _speeds(benchmark: Benchmark, budget: int, mode: Mode, found: Sequence[Figures]) -> Table:
    base = baseline(rows_of(benchmark, budget, mode))
    rows = [
        (
            f.row.name,
            f.row.contestant.label() + (" (baseline)" if f.row is base else ""),
            ranged(f.speed),
            ranged(f.speed_up, 2),
            str(f.row.chosen_among),
        )
        for f in found
    ]
    return Table(
        f"Budget {budget}, {benchmark.budgets[budget]}: {MODE_NAMES[mode]}",
        ("method", "best setting", "tokens/s (95%)", "speed-up (95%)", "settings tried"),
        tuple(rows),
        ("method", "best setting"),
    )


def _accounting(benchmark: Benchmark, mode: Mode) -> Table:
    """Where the time and the drafted tokens of ours went, each contestant once."""
    rows = {}
    for budget in benchmark.budgets:
        for figure in figures(benchmark, budget, mode):
            if (m := figure.metrics) is None:
                continue
            runs = [text.run for text in figure.row.texts if text.run]
            rounds = sum(len(run.rounds) for run in runs)
            rows[figure.row.name, figure.row.contestant] = (
                figure.row.name,
                figure.row.contestant.label(),
                number(m.mean_accepted_length, 2),
                number(1e3 * sum(run.seconds for run in runs) / rounds),
                percent(m.target_busy, 0),
                percent(m.draft_busy, 0),
                percent(m.hand_over),
                percent(m.target_idle, 0),
                percent(m.rollback_rate, 0),
                percent(m.hedge_rate, 0),
                number(m.tokens_per_second),
                number(m.limit),
            )
    columns = (
        "method",
        "setting",
        "accepted length",
        "ms a round",
        "target busy",
        "draft busy",
        "hand-over",
        "target idle",
        "rollback",
        "hedge",
        "tokens/s",
        "limit",
    )
    return Table(f"Where the time went: {MODE_NAMES[mode]}", columns, tuple(rows.values()), columns[:2])


def _audits(benchmark: Benchmark) -> Table:
    rows = {}
    for row in benchmark.rows:
        if (a := row.audit) is None:
            continue
        total = a.favourites + a.near_ties + a.mismatches
        rows[row.name, row.contestant] = (
            row.name,
            row.contestant.label(),
            *(f"{count:,}" for count in (total, a.favourites, a.near_ties, a.mismatches)),
        )
    return Table(
        f"Greedy tokens against the target's favourite in one pass over the text (tie: {benchmark.tie:g} of logit)",
        ("method", "setting", "tokens", "the favourite", "within the tie", "mismatches"),
        tuple(rows.values()),
        ("method", "setting"),
    )


def _assisted(trial: Trial) -> bool:
    method = trial.contestant.method
    return isinstance(method, Peer) and method.method == "assisted" and trial.stage == "first"


def _assisted_sweep(trials: Sequence[Trial]) -> Table:
    """Assisted generation has one row; this is what the sweep's first stage saw of it with each draft."""
    found: dict[tuple[int, str], dict[str, list[Trial]]] = {}
    for trial in trials:
        key = len(trial.contestant.cores), trial.contestant.draft or ""
        found.setdefault(key, {}).setdefault(trial.contestant.label(), []).append(trial)
    rows = []
    for (_, draft), settings in sorted(found.items()):
        paces = {label: _pace(mine) for label, mine in settings.items()}
        best = max(paces, key=lambda label: paces[label])
        rows.append((draft, best, number(paces[best]), number(min(paces.values()))))
    return Table(
        "Assisted generation in the sweep, by draft",
        ("draft", "best setting", "its tokens/s", "the worst setting's"),
        tuple(rows),
        ("draft", "best setting"),
    )


def _pace(trials: Sequence[Trial]) -> float:
    return sum(len(t.text.tokens) for t in trials) / sum(t.text.seconds for t in trials)


def memory_table(uses: Sequence[CacheUse]) -> Table:
    """How cache memory grows beyond the context's own: with branches x length, whatever the context."""
    contexts = sorted({use.context for use in uses})
    by = {(use.branches, use.length, use.context): use for use in uses}
    rows = []
    for branches, length in sorted({(use.branches, use.length) for use in uses}):
        mine = [by[branches, length, context] for context in contexts]
        rows.append(
            (
                str(branches),
                str(length),
                *(_kilobytes(use.beyond_context) for use in mine),
                *(_kilobytes(use.copied_beyond_context) for use in mine),
            )
        )
    columns = (
        "branches",
        "draft length",
        *(f"used, context {context}" for context in contexts),
        *(f"copying, context {context}" for context in contexts),
    )
    one = uses[0]
    return Table(
        f"Cache memory of a draft beyond its context, KiB ({one.slot_bytes:,} bytes a slot, "
        f"{one.allocated_bytes // one.slot_bytes:,} slots allocated)",
        columns,
        tuple(rows),
    )


def _kilobytes(size: int) -> str:
    return number(size / 1024, 0)


def conditions(benchmark: Benchmark) -> Table:
    """What the figures hold for."""
    tokens, prompts = benchmark.tokens, benchmark.prompts
    rows = [
        ("measured", f"{benchmark.created}, in {benchmark.seconds / 60:.0f} minutes"),
        ("effort", f"{benchmark.effort}, seed {benchmark.seed}"),
        *((name, value) for name, value in benchmark.hardware.items() if value),
        ("cores used", ", ".join(map(str, benchmark.cores)) + "; one thread on each core that a row names"),
        *benchmark.software.items(),
        *((f"model: {name}", what) for name, what in benchmark.models.items()),
        *(
            (
                f"prompts, {MODE_NAMES[mode]}",
                f"{plural(len(prompts[mode]), 'prompt')} x {benchmark.repeats}, up to {tokens[mode]} tokens each: "
                + ", ".join(prompt.id for prompt in prompts[mode]),
            )
            for mode in MODES
        ),
        (
            "settings chosen on",
            f"up to {benchmark.trial_tokens} tokens of " + ", ".join(p.id for p in benchmark.selection),
        ),
        (
            "runs",
            f"{plural(sum(len(row.texts) for row in benchmark.rows), 'text')} in the final run, "
            f"{len(benchmark.trials)} to choose settings; {benchmark.resumed} of all taken from an interrupted run",
        ),
        ("reference operation", _reference(benchmark)),
    ]
    return pairs("Conditions", rows)


def _reference(benchmark: Benchmark) -> str:
    low, high = np.percentile(benchmark.reference_seconds, [10, 90])
    return (
        f"median {median(benchmark.reference_seconds) * 1e3:.1f} ms, 10th to 90th percentile {low * 1e3:.1f} to "
        f"{high * 1e3:.1f} ms, timed {len(benchmark.reference_seconds)} times"
    )


def print_benchmark(out: Console, benchmark: Benchmark) -> None:
    """All tables on a terminal."""
    for remark in benchmark.remarks:
        out.print(sentence(remark), highlight=False)
    for table in tables(benchmark):
        out.print(_rich(table))
    out.print(f"Settings are in short. {_legend(benchmark)}.", highlight=False)
    for note in benchmark.notes:
        out.print(f"Note: {note}.", highlight=False)
    out.print(
        f"Reference operation: {_reference(benchmark)}; {benchmark.resumed} runs were resumed.",
        highlight=False,
    )


def print_memory(out: Console, uses: Sequence[CacheUse]) -> None:
    """The memory table on a terminal."""
    out.print(_rich(memory_table(uses)))


def _legend(benchmark: Benchmark) -> str:
    """What the letters of the settings mean, ours and transformers'."""
    ours = [
        row.contestant.method for row in benchmark.rows if isinstance(row.contestant.method, Configuration)
    ]
    return f"{legend(ours)}; behind 'transformers', n: tokens of a draft, and m: tokens to match at most"


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title)
    for column in table.columns:
        shown.add_column(column, justify="left" if column in table.words else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def write_markdown(path: Path, benchmark: Benchmark) -> None:
    """The whole document of a benchmark."""
    parts = [
        INTRODUCTION.format(command=benchmark.command, one=benchmark.budgets[1], both=benchmark.budgets[2]),
        *(f"{sentence(remark)}\n" for remark in benchmark.remarks),
        *map(_markdown, tables(benchmark)),
        READING.format(legend=_legend(benchmark)),
        _markdown(conditions(benchmark)),
    ]
    if benchmark.notes:
        parts.append("\n".join(["## Notes", "", *(f"- {note}." for note in benchmark.notes), ""]))
    write_whole(path, "\n".join(parts).encode())


def _markdown(table: Table) -> str:
    rule = ["---" if column in table.words else "---:" for column in table.columns]
    lines = [table.columns, rule, *table.rows]
    cells = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"## {table.title}", "", *cells, ""])
