"""Run every contestant on the same prompts in one interleaved run. Torch-free.

First a sweep on prompts of the calibration's split chooses each one's setting, ours and the peers' alike; then all
of them run on held-out prompts. The prompts are taken one after the other in an order drawn for each pass, and with
each of them all contestants in an order drawn anew, so that a slow minute of the machine falls on all alike.
"""

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from calibrate import observation, operations
from calibrate.hardware import hardware, model_digest, software
from calibrate.journal import Journal
from calibrate.prompts import Prompt
from engine import peers
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models import TARGET
from engine.pair import Pair
from engine.peers import Peer
from engine.placement import seat_models
from engine.policies.pearl import balanced_length
from engine.record import Run
from engine.sampling import Sampling
from engine.tokenizer import Tokenizer
from engine.workers import Worker, start
from reports.audit import TIES, Gaps, audit
from reports.benchmark_record import Asked, Audit, Benchmark, Row, Text, Trial, save_benchmark
from reports.cache_memory import measure_memory
from reports.contestants import (
    ENTRIES,
    MODES,
    TEMPERATURE,
    Contestant,
    Entry,
    Family,
    Mode,
    at_length,
    budgets_of,
    drawn,
    families,
    sampling_of,
)
from reports.tolerance import Tolerance

WARM_UP_TOKENS = 4
STANDARD = Tolerance()


@dataclass(frozen=True)
class Effort:
    """How much is run.

    `first` and `more` are prompts of the sweep: each family's candidates meet the first ones, and its best `kept`
    the others too, with `trial_tokens` of text; `candidates`: so many a family at most. Drawn texts are swept on
    `sampled` prompts. `prompts` held-out prompts and `tokens` of text at most, by mode; `repeats` passes over them.
    """

    name: str
    first: int
    more: int
    kept: int
    sampled: int
    trial_tokens: int
    prompts: Mapping[Mode, int]
    tokens: Mapping[Mode, int]
    repeats: int = 1
    candidates: int | None = None


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort(
            "quick",
            first=1,
            more=0,
            kept=1,
            sampled=0,
            trial_tokens=16,
            prompts={"greedy": 2, "sampled": 2},
            tokens={"greedy": 24, "sampled": 16},
            candidates=1,
        ),
        Effort(
            "default",
            first=1,
            more=2,
            kept=2,
            sampled=2,
            trial_tokens=24,
            prompts={"greedy": 8, "sampled": 6},
            tokens={"greedy": 48, "sampled": 32},
        ),
        Effort(
            "full",
            first=2,
            more=4,
            kept=3,
            sampled=3,
            trial_tokens=32,
            prompts={"greedy": 18, "sampled": 18},
            tokens={"greedy": 96, "sampled": 64},
        ),
    )
}


@dataclass(frozen=True)
class Prompts:
    """The prompts of the sweep, and others for the final run."""

    selection: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]


@dataclass
class Arena:
    """Where contestants run: our pair, a worker for the peers, and the journal of finished runs."""

    pair: Pair
    tokenizer: Tokenizer
    journal: Journal
    seed: int
    advance: Callable[[str], None]
    cores: tuple[int, ...]
    notes: list[str] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    order: int = 0
    _peers: Worker | None = None

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pair.cores = self.cores
        if self._peers:
            self._peers.close()

    def write(
        self, contestant: Contestant, mode: Mode, prompt: Sequence[int], number: int, tokens: int
    ) -> dict[str, Any]:
        """One generation as JSON: its tokens and seconds, and our run.

        Greedy texts end at the end token, and drawn ones, which differ between ours and the peers', never: so all
        contestants write as much.
        """
        sampling = sampling_of(mode, self.seed + number)
        ends = sorted(self.tokenizer.end_tokens) if sampling.greedy else []
        if isinstance(contestant.method, Peer):
            return self._peer(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        run = self._ours(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        if run.warning:
            # Fixed beforehand, as in `verify`: a text that lost its draft says nothing of the contestant.
            self.notes.append(f"{contestant.label()}, prompt {number}: run again; {run.warning}")
            run = self._ours(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        return {
            "tokens": run.tokens,
            "seconds": run.seconds,
            "run": TypeAdapter(Run).dump_python(run, mode="json"),
        }

    def _ours(
        self,
        configuration: Configuration,
        cores: tuple[int, ...],
        prompt: Sequence[int],
        tokens: int,
        ends: Sequence[int],
        sampling: Sampling,
    ) -> Run:
        self.pair.cores = cores  # the workers move between seats and keep their models
        return self.pair.generate(
            configuration, prompt, max_tokens=tokens, end_tokens=ends, sampling=sampling
        )

    def _peer(
        self,
        peer: Peer,
        cores: tuple[int, ...],
        prompt: Sequence[int],
        tokens: int,
        ends: Sequence[int],
        sampling: Sampling,
    ) -> dict[str, Any]:
        if self._peers is None:
            (self._peers,) = start("peers")
            self._peers.sit(seat_models("in-turn", self.cores, self.pair.cuda_devices).target)
            for name, spec in {TARGET: self.pair.target, **self.pair.drafts}.items():
                self._peers.call(peers.load, name=name, spec=spec.model_dump(mode="json"))
        self._peers.sit(seat_models("in-turn", cores, self.pair.cuda_devices).target)
        written: dict[str, Any] = self._peers.call(
            peers.generate,
            peer=peer.model_dump(mode="json"),
            prompt=list(prompt),
            max_tokens=tokens,
            end_tokens=ends,
            sampling=sampling.model_dump(mode="json"),
        )
        return written

    def text(
        self,
        stage: str,
        contestant: Contestant,
        mode: Mode,
        prompt: Sequence[int],
        number: int,
        tokens: int,
        repeat: int = 0,
    ) -> Text:
        """One generation, noted in the journal, from which an interrupted benchmark takes it."""
        before, order = self.journal.resumed, self.order
        self.order += 1
        written = self.journal.step(
            f"{stage}-{order:05d}", lambda: self.write(contestant, mode, prompt, number, tokens)
        )
        self.advance(contestant.label())
        resumed = self.journal.resumed > before
        return Text.model_validate(
            {**written, "prompt": number, "repeat": repeat, "order": order, "resumed": resumed}
        )

    def time_reference(self) -> None:
        """Note how long the fixed operation takes now, on all cores."""

        def measure() -> float:
            self.pair.cores = self.cores
            player, _ = self.pair.players("in-turn", None)
            seconds: float = player.worker.call(operations.time_reference)
            return seconds

        self.reference.append(self.journal.step(f"reference-{len(self.reference):05d}", measure))


@dataclass(frozen=True)
class Chosen:
    """A family with its candidates, best first, as far as the sweep tells."""

    family: Family
    ranking: tuple[Contestant, ...]


def count_steps(pair: Pair, effort: Effort, prompts: Prompts, entries: Sequence[Entry] = ENTRIES) -> int:
    """How often `bench` will report an advance."""
    budgets, drafts = budgets_of(pair.cores, pair.cuda_devices), tuple(pair.drafts)
    balance = any(entry.balanced for entry in entries) and budgets[1].at_once is not None
    steps = len(drafts) if balance else 0
    greedy, sampled = (
        families(mode, budgets, drafts, pair.predictors, effort.candidates, entries) for mode in MODES
    )
    for family in (*greedy, *sampled):
        steps += 1 + effort.repeats * _used(prompts.heldout, effort.prompts[family.mode])
    first = _used(prompts.selection, effort.first)
    more = _used(prompts.selection, effort.first + effort.more) - first
    kept = {family: family.candidates[: effort.kept] for family in greedy}
    for family in greedy:
        if (count := len(family.candidates)) > 1:
            steps += count * first
        if (count := len(kept[family])) > 1:
            steps += count * more
    for family in sampled:
        candidates = _for_sampling(family, kept, effort.kept)
        if len(candidates) > 1:
            steps += len(candidates) * _used(prompts.selection, effort.sampled)
    return steps


def _used(prompts: Sequence[Prompt], wanted: int) -> int:
    return min(len(prompts), wanted)


def bench(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Prompts,
    effort: Effort,
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
    with Arena(pair, tokenizer, journal, seed, advance, cores) as arena:
        trials: list[Trial] = []
        chosen = _choose(arena, prompts.selection, effort, entries, trials)
        texts = _final(arena, chosen, prompts.heldout, effort)
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
        arena.notes.append("one core only: no placement at once, and both budgets are the same")
    low, high = np.percentile(arena.reference, [10, 90])
    if high > STANDARD.unsteadiness * low:
        arena.notes.append(
            f"the machine was unsteady: the reference operation took {low * 1e3:.1f} ms at the 10th and "
            f"{high * 1e3:.1f} ms at the 90th percentile"
        )
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
            mode: _asked(tokenizer, prompts.heldout[: _used(prompts.heldout, effort.prompts[mode])])
            for mode in MODES
        },
        repeats=effort.repeats,
        selection=_asked(tokenizer, prompts.selection[: effort.first + effort.more]),
        trial_tokens=effort.trial_tokens,
        tie=tie,
        reference_seconds=tuple(arena.reference),
        resumed=journal.resumed,
        notes=tuple(arena.notes),
        trials=tuple(trials),
        rows=rows,
        memory=memory,
    )
    save_benchmark(out, benchmark)
    journal.clear()
    return benchmark


def _choose(
    arena: Arena,
    prompts: Sequence[Prompt],
    effort: Effort,
    entries: Sequence[Entry],
    trials: list[Trial],
) -> list[Chosen]:
    """Every family's best setting: swept for greedy texts, and for drawn ones among the best of those."""
    ids = [arena.tokenizer.encode(prompt.text) for prompt in prompts[: effort.first + effort.more]]
    budgets, drafts = budgets_of(arena.cores, arena.pair.cuda_devices), tuple(arena.pair.drafts)
    rng = random.Random(arena.seed)

    def tried(stage: str, mode: Mode, due: Mapping[Family, Sequence[Contestant]], numbers: range) -> None:
        units = [(f, c, n) for f, many in due.items() if len(many) > 1 for c in many for n in numbers]
        rng.shuffle(units)
        for family, contestant, number in units:
            text = arena.text(stage, contestant, mode, ids[number], number, effort.trial_tokens)
            trials.append(Trial(row=family.key, mode=mode, stage=stage, contestant=contestant, text=text))

    def ranked(family: Family, candidates: Sequence[Contestant]) -> tuple[Contestant, ...]:
        texts = {c: [t.text for t in trials if t.row == family.key and t.contestant == c] for c in candidates}
        if not any(texts.values()):
            return tuple(candidates)
        return tuple(sorted(candidates, key=lambda c: -_pace(texts[c])))

    lengths = _balanced_lengths(arena, ids[0], effort, entries)

    def all_families(mode: Mode) -> list[Family]:
        found = []
        for family in families(mode, budgets, drafts, arena.pair.predictors, effort.candidates, entries):
            if family.entry.balanced and family.draft in lengths:
                family = at_length(family, lengths[family.draft])
            found.append(family)
        return found

    greedy = {family: family.candidates for family in all_families("greedy")}
    tried("first", "greedy", greedy, range(min(effort.first, len(ids))))
    greedy = {f: ranked(f, many)[: effort.kept] for f, many in greedy.items()}
    tried("more", "greedy", greedy, range(effort.first, len(ids)))
    greedy = {f: ranked(f, many) for f, many in greedy.items()}
    sampled: dict[Family, tuple[Contestant, ...]] = {}
    for family in all_families("sampled"):
        sampled[family] = _for_sampling(family, greedy, effort.kept)
    tried("sampled", "sampled", sampled, range(min(effort.sampled, len(ids))))
    best = [Chosen(f, many) for f, many in greedy.items()]
    return best + [Chosen(replace(f, candidates=many), ranked(f, many)) for f, many in sampled.items()]


def _for_sampling(
    family: Family, greedy: Mapping[Family, tuple[Contestant, ...]], kept: int
) -> tuple[Contestant, ...]:
    """What may be best for drawn texts: the best greedy settings of each draft, with drawn drafts and without."""
    mine = [
        ranking
        for other, ranking in greedy.items()
        if (other.entry, other.cores) == (family.entry, family.cores) and family.draft in (None, other.draft)
    ]
    each = max(1, kept // len(mine))
    found = [c for ranking in mine for c in ranking[:each]]
    found += [d for c in found if (d := drawn(c))]
    return tuple(dict.fromkeys(found))


def _pace(texts: Sequence[Text]) -> float:
    return sum(len(t.tokens) for t in texts) / sum(t.seconds for t in texts) if texts else 0.0


def _balanced_lengths(
    arena: Arena, ids: Sequence[int], effort: Effort, entries: Sequence[Entry]
) -> dict[str, int]:
    """PEARL's own draft length for each draft, of a run's median times behind its first round."""
    entry = next((e for e in entries if e.balanced), None)
    budget = budgets_of(arena.cores, arena.pair.cuda_devices)[1]
    if entry is None:
        return {}
    found = {}
    budget = replace(budget, parallel=budget.parallel[:1])
    for contestant in entry.contestants(budget, tuple(arena.pair.drafts)):
        run = arena.text("balance", contestant, "greedy", ids, 0, effort.trial_tokens).run
        assert run is not None
        assert contestant.draft is not None
        jobs = [job for job in run.jobs if job.round] or run.jobs
        target = [job.end - job.start for job in jobs if job.model == "target"]
        draft = [(job.end - job.start) / job.forwards for job in jobs if job.model == "draft"]
        found[contestant.draft] = balanced_length(median(target), median(draft))
    return found


def _final(
    arena: Arena, chosen: Sequence[Chosen], prompts: Sequence[Prompt], effort: Effort
) -> list[list[Text]]:
    """The texts of every family's best contestant, in the order of `chosen`."""
    ids = [arena.tokenizer.encode(prompt.text) for prompt in prompts]
    rng = random.Random(arena.seed + 1)
    texts: list[list[Text]] = [[] for _ in chosen]
    for one in chosen:
        # Never taken from a journal: a resumed benchmark's processes are as cold as any.
        arena.write(one.ranking[0], one.family.mode, ids[0], 0, WARM_UP_TOKENS)
        arena.advance("warming up")
    for repeat in range(effort.repeats):
        for number in rng.sample(range(len(ids)), len(ids)):
            due = [i for i, c in enumerate(chosen) if number < _used(prompts, effort.prompts[c.family.mode])]
            if due:
                arena.time_reference()
            for i in rng.sample(due, len(due)):
                mode, contestant = chosen[i].family.mode, chosen[i].ranking[0]
                texts[i].append(
                    arena.text("final", contestant, mode, ids[number], number, effort.tokens[mode], repeat)
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

    def described(name: str) -> str:
        spec = pair.target if name == TARGET else pair.drafts[name]
        parts = [spec.source, spec.precision, f"rounded to int{spec.bits}" if spec.bits else ""]
        parts += [f"pruned and distilled ({spec.distilled})" if spec.distilled else ""]
        return ", ".join(p for p in parts if p) + f"; sha256 {model_digest(spec)}"

    found = {name: described(name) for name in (TARGET, *pair.drafts)}
    for name, path in pair.predictors.items():
        found[f"H-RAD for {name}"] = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found
