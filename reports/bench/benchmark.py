"""Run every contestant on the same prompts in one interleaved run. Torch-free.

First a sweep on prompts of the calibration's split chooses each one's setting (`reports.bench.selection`); then all of
them run on held-out prompts. The prompts are taken one after the other in an order drawn for each pass, and with each
of them all contestants in an order drawn anew, so that a slow minute of the machine falls on all alike.
"""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from calibrate.hardware import hardware, model_digest, software
from calibrate.journal import Journal
from calibrate.prompts import Prompt
from calibrate.traces import observation
from engine.errors import ConfigurationError
from engine.models.deepening import remarks
from engine.models.specs import TARGET
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair
from reports.bench.benchmark_effort import BenchmarkEffort, Prompts, used
from reports.bench.benchmark_record import Asked, Audit, Benchmark, Row, Text, save_benchmark
from reports.bench.cache_memory import measure_memory
from reports.bench.contestants import ENTRIES, MODES, TEMPERATURE, Entry, budgets_of, families
from reports.bench.runner import Runner
from reports.bench.selection import Chosen, choose, for_sampling
from reports.verify.audit import TIES, Gaps, audit
from reports.verify.steadiness import unsteady_note
from reports.verify.tolerance import Tolerance

WARM_UP_TOKENS = 4
STANDARD = Tolerance()


def count_steps(
    pair: Pair, effort: BenchmarkEffort, prompts: Prompts, entries: Sequence[Entry] = ENTRIES
) -> int:
    """How often `bench` will report an advance."""
    budgets, drafts = budgets_of(pair.cores, pair.cuda_devices), tuple(pair.drafts)
    balance = any(entry.balanced for entry in entries) and budgets[1].at_once is not None
    steps = len(drafts) if balance else 0
    greedy, sampled = (
        families(mode, budgets, drafts, pair.predictors, effort.candidates, entries) for mode in MODES
    )
    for family in (*greedy, *sampled):
        steps += 1 + effort.repeats * used(prompts.heldout, effort.prompts[family.mode])
    first = used(prompts.selection, effort.first)
    more = used(prompts.selection, effort.first + effort.more) - first
    kept = {family: family.candidates[: effort.kept] for family in greedy}
    for family in greedy:
        if (count := len(family.candidates)) > 1:
            steps += count * first
        if (count := len(kept[family])) > 1:
            steps += count * more
    for family in sampled:
        candidates = for_sampling(family, kept, effort.kept)
        if len(candidates) > 1:
            steps += len(candidates) * used(prompts.selection, effort.sampled)
    return steps


def bench(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Prompts,
    effort: BenchmarkEffort,
    out: Path,
    *,
    command: str = "specbranch bench",
    seed: int = 0,
    advance: Callable[[str], None] = lambda what: None,
    entries: Sequence[Entry] = ENTRIES,
) -> Benchmark:
    """Choose settings, run all contestants, audit their texts and write `out`; resumes what was interrupted.

    `advance` hears what was just run, about `count_steps` times. ConfigurationError for fewer than two held-out
    prompts, which have no interval; WorkerLost if the target's or the peers' worker dies.
    """
    if len(prompts.heldout) < 2 or not prompts.selection:
        raise ConfigurationError(
            "a benchmark needs a prompt to choose settings on and two held-out ones or more."
        )
    began = time.monotonic()
    cores = pair.cores
    models = _models(pair)
    machine, packages = hardware(), software()
    conditions = [
        machine,
        packages,
        models,
        list(cores),
        pair.cuda_devices,
        asdict(effort),
        seed,
        [(p.id, p.digest) for p in (*prompts.selection, *prompts.heldout)],
        [repr(entry) for entry in entries],
    ]
    journal = Journal(out.parent / "bench", conditions)
    with Runner(pair, tokenizer, journal, seed, advance, cores) as runner:
        chosen, trials = choose(runner, prompts.selection, effort, entries)
        texts = _final(runner, chosen, prompts.heldout, effort)
        pair.cores = cores
        ids = [tokenizer.encode(prompt.text) for prompt in prompts.heldout]
        tie = TIES[pair.target.precision]
        greedy = [mine for c, mine in zip(chosen, texts, strict=True) if c.family.mode == "greedy"]
        written = {(text.prompt, text.tokens) for mine in greedy for text in mine}
        audits = {(p, text): audit(pair, ids[p], observation.Text(list(text)), tie) for p, text in written}
        rows = tuple(
            Row(
                name=c.family.entry.name,
                mode=c.family.mode,
                budgets=c.family.budgets,
                contestant=c.ranking[0],
                chosen_among=len({t.contestant for t in trials if t.row == c.family.key}) or 1,
                texts=tuple(sorted(mine, key=lambda t: (t.repeat, t.prompt))),
                audit=_counted(mine, [audits[t.prompt, t.tokens] for t in mine], tie)
                if c.family.mode == "greedy"
                else None,
            )
            for c, mine in zip(chosen, texts, strict=True)
        )
        memory = measure_memory(pair, list(pair.drafts)[-1]) if pair.drafts else ()
    if len(cores) < 2 and not pair.cuda_devices:
        runner.notes.append("one core only: no placement at once, and both budgets are the same")
    runner.notes += unsteady_note(runner.reference, STANDARD)
    benchmark = Benchmark(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        seconds=time.monotonic() - began,
        hardware=machine,
        software=packages,
        models=models,
        precision=pair.target.precision,
        cores=cores,
        effort=effort.name,
        seed=seed,
        temperature=TEMPERATURE,
        budgets={budget.number: budget.title for budget in budgets_of(cores, pair.cuda_devices)},
        tokens=dict(effort.tokens),
        prompts={
            mode: _asked(tokenizer, prompts.heldout[: used(prompts.heldout, effort.prompts[mode])])
            for mode in MODES
        },
        repeats=effort.repeats,
        selection=_asked(tokenizer, prompts.selection[: effort.first + effort.more]),
        trial_tokens=effort.trial_tokens,
        tie=tie,
        reference_seconds=tuple(runner.reference),
        resumed=journal.resumed,
        notes=tuple(runner.notes),
        remarks=remarks(pair.target),
        trials=tuple(trials),
        rows=rows,
        memory=memory,
    )
    save_benchmark(out, benchmark)
    journal.clear()
    return benchmark


def _final(
    runner: Runner, chosen: Sequence[Chosen], prompts: Sequence[Prompt], effort: BenchmarkEffort
) -> list[list[Text]]:
    """The texts of every family's best contestant, in the order of `chosen`."""
    ids = [runner.tokenizer.encode(prompt.text) for prompt in prompts]
    rng = random.Random(runner.seed + 1)
    texts: list[list[Text]] = [[] for _ in chosen]
    for one in chosen:
        # Never taken from a journal: a resumed benchmark's processes are as cold as any.
        runner.write(one.ranking[0], one.family.mode, ids[0], 0, WARM_UP_TOKENS)
        runner.advance("warming up")
    for repeat in range(effort.repeats):
        for number in rng.sample(range(len(ids)), len(ids)):
            due = [i for i, c in enumerate(chosen) if number < used(prompts, effort.prompts[c.family.mode])]
            if due:
                runner.time_reference()
            for i in rng.sample(due, len(due)):
                mode, contestant = chosen[i].family.mode, chosen[i].ranking[0]
                texts[i].append(
                    runner.text("final", contestant, mode, ids[number], number, effort.tokens[mode], repeat)
                )
    return texts


def _counted(texts: Sequence[Text], audits: Sequence[Gaps], tie: float) -> Audit:
    gaps = [gap for gaps in audits for _, gap in gaps]
    return Audit(
        favourites=sum(len(text.tokens) for text in texts) - len(gaps),
        near_ties=sum(gap <= tie for gap in gaps),
        mismatches=sum(gap > tie for gap in gaps),
    )


def _asked(tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> tuple[Asked, ...]:
    return tuple(
        Asked(id=p.id, kind=p.kind, digest=p.digest, tokens=len(tokenizer.encode(p.text))) for p in prompts
    )


def _models(pair: Pair) -> dict[str, str]:
    """What each model is, with the hash of its weights."""
    specs = {TARGET: pair.target, **pair.drafts}
    found = {name: f"{spec.describe()}; sha256 {model_digest(spec)}" for name, spec in specs.items()}
    for name, path in pair.predictors.items():
        found[f"H-RAD for {name}"] = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found
