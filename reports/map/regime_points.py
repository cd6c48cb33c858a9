"""What the engine measured, as points on a map of regimes: one for each draft of a verification's record.

    points_of(load_verification(path), open_replay(path))

A point says where its pair lies (the ratio of the steps and the alignment, both measured), which method was the fastest
there, and the ratios of measured speeds beside those that the record predicted. Each method counts with the setting
that was predicted to be its best, so that no measurement chooses what it is to judge. Torch-free.
"""

from collections.abc import Sequence

import numpy as np

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, between, ratio_of_sums
from engine.models.specs import TARGET
from reports.verify.fidelity import paired_speed_up
from reports.verify.resampling import Draws, draw_prompts
from reports.verify.steadiness import steadiness
from reports.verify.verification import Compared, Verification, find_baseline
from sim.search.grid import has_helpers

NAN = float("nan")
RESAMPLES = 2000


class MeasuredRatio(FrozenRecord):
    """A method's tokens/s over another's: predicted by the record's own calibration, and measured."""

    method: Configuration
    rival: Configuration
    predicted: float
    measured: Estimate

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted / self.measured.value - 1.0


class MapPoint(FrozenRecord):
    """A measured pair on the map.

    `ratio` of target to draft step, and `ratio_from`, what it was taken from; the same of the `alignment`. `ranking`:
    each method with its measured speed-up over the best autoregressive set-up, that one included, fastest first.
    `lead`: the fastest over the second. `predicted_winner`: the policy that was predicted to be the fastest of them.
    `helpers`: settings with repetitions, n-grams, second choices, prompt lookup or redrafting were among them.
    `unsteady`: the machine was less steady than the record's tolerance allows.
    """

    record: str
    created: str
    target: str
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    draft: str
    temperature: float
    helpers: bool
    unsteady: bool = False
    prompts: int
    ratio: Estimate
    ratio_from: str
    alignment: Estimate
    alignment_from: str
    ranking: tuple[tuple[Configuration, Estimate], ...]
    lead: Estimate
    predicted_winner: str
    ratios: tuple[MeasuredRatio, ...]

    @property
    def winner(self) -> Configuration:
        """The fastest that was measured."""
        return self.ranking[0][0]

    @property
    def is_tie(self) -> bool:
        """Whether it is not told from the second."""
        return not self.lead.low > 1.0


def points_of(v: Verification, replay: Artifact | None = None, record: str = "") -> tuple[MapPoint, ...]:
    """A point for each draft of a record, and another one with helpers where it has such settings.

    `replay`: the record's own prompts, which tell the alignment. None where no autoregressive set-up was measured.
    """
    baseline = find_baseline(v.compared)
    if baseline is None:
        return ()
    draws = draw_prompts([p.kind for p in v.prompts], v.seed, RESAMPLES)
    drafts = dict.fromkeys(c.configuration.draft for c in v.compared if "draft" in c.configuration.uses)
    found = []
    for draft in drafts:
        mine = [c for c in v.compared if "draft" in c.configuration.uses and c.configuration.draft == draft]
        plain = [c for c in mine if not has_helpers(c.configuration)]
        others = [c for c in v.compared if c.configuration.policy == "prompt-lookup"]
        if plain:
            found.append(_point(v, replay, record, draft, plain, baseline, draws, helpers=False))
        if len(plain) < len(mine) or others:
            found.append(_point(v, replay, record, draft, mine + others, baseline, draws, helpers=True))
    return tuple(found)


def _point(
    v: Verification,
    replay: Artifact | None,
    record: str,
    draft: str | None,
    mine: Sequence[Compared],
    baseline: Compared,
    draws: Draws,
    *,
    helpers: bool,
) -> MapPoint:
    best: dict[str, Compared] = {}
    for c in sorted(mine, key=lambda c: -c.predicted.speed.value):
        best.setdefault(c.configuration.policy, c)
    players = [baseline, *best.values()]
    ranked = sorted(players, key=lambda c: -c.measured.speed.value)
    ratios = [_ratio(c, baseline, draws) for c in best.values()]
    if branched := best.get("specbranch"):
        rivals = [best[policy] for policy in ("pearl", "speculative") if policy in best]
        ratios += [_ratio(branched, rival, draws) for rival in rivals]
    ratio, ratio_from = _step_ratio(v, draft, mine)
    alignment, alignment_from = _alignment(v, draft, mine, replay)
    return MapPoint(
        record=record,
        created=v.created,
        target=v.models.get(TARGET, ""),
        remarks=v.remarks,
        draft=draft or "",
        temperature=v.temperature,
        helpers=helpers,
        unsteady=steadiness(v).outcome != "held",
        prompts=len(v.prompts),
        ratio=ratio,
        ratio_from=ratio_from,
        alignment=alignment,
        alignment_from=alignment_from,
        ranking=tuple((c.configuration, paired_speed_up(c, baseline, draws)) for c in ranked),
        lead=paired_speed_up(ranked[0], ranked[1], draws),
        predicted_winner=max(players, key=lambda c: c.predicted.speed.value).configuration.policy,
        ratios=tuple(ratios),
    )


def _ratio(one: Compared, rival: Compared, draws: Draws) -> MeasuredRatio:
    return MeasuredRatio(
        method=one.configuration,
        rival=rival.configuration,
        predicted=one.predicted.speed.value / rival.predicted.speed.value,
        measured=paired_speed_up(one, rival, draws),
    )


def _step_ratio(v: Verification, draft: str | None, mine: Sequence[Compared]) -> tuple[Estimate, str]:
    """By the steps that were timed between runs where each model has a device of its own; else by the runs' jobs."""
    for placement in sorted({p.placement for p in v.pace}, key=lambda p: p != "at-once"):
        steps = {p.model: p.now for p in v.pace if p.placement == placement}
        name = draft or next((model for model in steps if model != TARGET), "")
        if TARGET in steps and name in steps:
            return _mean_ratio(steps[TARGET], steps[name]), "steps timed between the runs"
    target = [
        (job.end - job.start) / job.forwards
        for c in v.compared
        if not c.configuration.drafts
        for s in c.samples
        for job in s.run.jobs
        if job.round
    ]
    drafted = [
        (job.end - job.start) / job.forwards
        for c in mine
        for s in c.samples
        for job in s.run.jobs
        if job.model == "draft" and job.round and job.forwards
    ]
    if not target or not drafted:
        return Estimate(NAN, NAN, NAN), "not measured"
    return _mean_ratio(target, drafted), "jobs of the runs, contention and branches included"


def _mean_ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Of two means, with the 95% interval of a bootstrap of both; the freedom is that of the fewer."""
    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    value = float(a.mean() / b.mean())
    if min(len(a), len(b)) < 2:
        return Estimate(value, NAN, NAN)
    drawn = [draw_prompts([""] * len(side), seed, RESAMPLES) for seed, side in enumerate((a, b))]
    means = [draws @ side / len(side) for draws, side in zip(drawn, (a, b), strict=True)]
    return between(value, means[0] / means[1], min(draws.freedom for draws in drawn))


def _alignment(
    v: Verification, draft: str | None, mine: Sequence[Compared], replay: Artifact | None
) -> tuple[Estimate, str]:
    """Of the measured texts, where their replay is at hand; else by what the target accepted in the runs."""
    name = draft or next(iter(replay.recorded.drafts), "") if replay else ""
    if replay and name in replay.recorded.drafts:
        drawn = replay.temperature > 0.0 and all(trace.drawing for trace in replay.traces)
        seen = [(trace.path, trace.views(drawn=drawn)[name].tokens[:, 0]) for trace in replay.traces]
        hits = [float((path == first).sum()) for path, first in seen]
        return ratio_of_sums(hits, [float(len(path)) for path, _ in seen]), "the measured texts"
    accepted, judged = np.zeros(len(v.prompts)), np.zeros(len(v.prompts))
    for c in mine:
        if c.configuration.second_under and "second_under" in c.configuration.uses:
            continue
        for s in c.samples:
            for r in s.run.rounds:
                accepted[s.prompt] += r.accepted
                judged[s.prompt] += r.accepted + (r.accepted < r.verified)
    if not judged.sum():
        return Estimate(NAN, NAN, NAN), "not measured"
    there = judged > 0
    estimate = ratio_of_sums(accepted[there].tolist(), judged[there].tolist())
    return estimate, "tokens accepted of those judged in the runs"
