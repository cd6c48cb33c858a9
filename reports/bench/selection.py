"""Every family's best setting, ours and the peers' alike, by a sweep on the calibration's prompts. Torch-free."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from calibrate.prompts import Prompt
from engine.policies.pearl import balanced_length
from reports.bench.benchmark_effort import BenchmarkEffort
from reports.bench.benchmark_record import Text, Trial
from reports.bench.contestants import Contestant, Entry, Family, Mode, at_length, budgets_of, drawn, families
from reports.bench.runner import Runner


@dataclass(frozen=True)
class Chosen:
    """A family with its candidates, best first, as far as the sweep tells."""

    family: Family
    ranking: tuple[Contestant, ...]


def choose(
    runner: Runner,
    prompts: Sequence[Prompt],
    effort: BenchmarkEffort,
    entries: Sequence[Entry],
) -> tuple[list[Chosen], list[Trial]]:
    """Every family's best setting, swept for greedy texts, for drawn ones among the best of those; and the sweep."""
    trials: list[Trial] = []
    ids = [runner.tokenizer.encode(prompt.text) for prompt in prompts[: effort.first + effort.more]]
    budgets, drafts = budgets_of(runner.cores, runner.pair.cuda_devices), tuple(runner.pair.drafts)
    rng = random.Random(runner.seed)

    def tried(stage: str, mode: Mode, due: Mapping[Family, Sequence[Contestant]], numbers: range) -> None:
        units = [(f, c, n) for f, many in due.items() if len(many) > 1 for c in many for n in numbers]
        rng.shuffle(units)
        for family, contestant, number in units:
            text = runner.text(stage, contestant, mode, ids[number], number, effort.trial_tokens)
            trials.append(Trial(row=family.key, mode=mode, stage=stage, contestant=contestant, text=text))

    def ranked(family: Family, candidates: Sequence[Contestant]) -> tuple[Contestant, ...]:
        texts = {c: [t.text for t in trials if t.row == family.key and t.contestant == c] for c in candidates}
        if not any(texts.values()):
            return tuple(candidates)
        return tuple(sorted(candidates, key=lambda c: -_speed(texts[c])))

    lengths = _balanced_lengths(runner, ids[0], effort, entries)

    def all_families(mode: Mode) -> list[Family]:
        found = []
        for family in families(mode, budgets, drafts, runner.pair.predictors, effort.candidates, entries):
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
        sampled[family] = for_sampling(family, greedy, effort.kept)
    tried("sampled", "sampled", sampled, range(min(effort.sampled, len(ids))))
    best = [Chosen(f, many) for f, many in greedy.items()]
    best += [Chosen(replace(f, candidates=many), ranked(f, many)) for f, many in sampled.items()]
    return best, trials


def for_sampling(
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


def _speed(texts: Sequence[Text]) -> float:
    return sum(len(t.tokens) for t in texts) / sum(t.seconds for t in texts) if texts else 0.0


def _balanced_lengths(
    runner: Runner, ids: Sequence[int], effort: BenchmarkEffort, entries: Sequence[Entry]
) -> dict[str, int]:
    """PEARL's own draft length for each draft, of a run's median times behind its first round."""
    entry = next((e for e in entries if e.balanced), None)
    budget = budgets_of(runner.cores, runner.pair.cuda_devices)[1]
    if entry is None:
        return {}
    found = {}
    budget = replace(budget, parallel=budget.parallel[:1])
    for contestant in entry.contestants(budget, tuple(runner.pair.drafts)):
        run = runner.text("balance", contestant, "greedy", ids, 0, effort.trial_tokens).run
        assert run is not None
        assert contestant.draft is not None
        jobs = [job for job in run.jobs if job.round] or run.jobs
        target = [job.end - job.start for job in jobs if job.model == "target"]
        draft = [(job.end - job.start) / job.forwards for job in jobs if job.model == "draft"]
        found[contestant.draft] = balanced_length(median(target), median(draft))
    return found
