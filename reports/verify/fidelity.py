"""Whether the predictions held: the criteria of a verification, each with limits, against its tolerance.

    judge(load_verification(path)).verdict  # "PASS", "FAIL" or "TOO NOISY TO TELL"

Two questions, each with its own verdict. *Was the forecast right?* As calibrated: the calibration's texts and its pace,
against the measured tokens/s; nothing timed in the judged runs has a part in it, and both sides' texts let it vary. *Is
the model right, given the machine's speed meanwhile?* The measured texts themselves, which chose no configuration,
replayed at the run's pace: both sides have the same texts, so what these have in common cancels.
`reports.verify.criteria` has the limits and `reports.verify.looks` the error that each look may spend.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, as_many_tokens, between, by_text
from reports.verify.check import Check
from reports.verify.criteria import (
    Finding,
    Level,
    Sides,
    findings,
    fixed,
    kendall_tau,
    ninth_in_ten,
    paired,
    unpaired,
)
from reports.verify.looks import Decision, Look, Looks, level_at, spent
from reports.verify.resampling import RESAMPLES, Draws, Floats, draw_prompts, ratio
from reports.verify.steadiness import steadiness
from reports.verify.tolerance import Tolerance
from reports.verify.verification import Compared, Foretold, Sample, Verification, find_baseline, find_chosen
from reports.wording import has_interval, interval, number, percent, plural

__all__ = ["kendall_tau", "ninth_in_ten"]

Word = Literal["PASS", "FAIL", "TOO NOISY TO TELL"]
PerText = tuple[Sequence[float], Sequence[float]]  # tokens and seconds of each
Question = Literal["forecast", "model"]
EXIT_CODES: dict[Word, int] = {"PASS": 0, "FAIL": 4, "TOO NOISY TO TELL": 3}


class Judged(FrozenRecord):
    """One configuration: tokens/s, the speed-up over the best autoregressive set-up, and the prediction's error."""

    configuration: str
    role: str
    speed: Estimate
    best_speed_up: Estimate | None
    error: Estimate


class Answer(FrozenRecord):
    """The verdict on one question, what decided it, and every figure behind it."""

    verdict: Word
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    configurations: tuple[Judged, ...]


class Fidelity(Answer):
    """The verdict on the model, given the machine's speed in the run; `forecast`: that on what was foretold before.

    `told_apart`: pairs of configurations whose measured speeds differ beyond chance (the paired interval of their
    ratio leaves out 1); `in_order`: those of them that the prediction puts in the same order.
    """

    forecast: Answer
    told_apart: int
    in_order: int
    prompts: int
    resamples: int
    seed: int


def judge(v: Verification, resamples: int = RESAMPLES) -> Fidelity:
    """Every criterion of the record's tolerance, and the verdicts.

    FAIL for a mismatch, whatever the noise. Else TOO NOISY TO TELL on an unsteady machine; else FAIL for a criterion
    that is broken; else TOO NOISY TO TELL for one that is open; else PASS. What a look has decided stays so.
    `resamples` are for the intervals of single configurations' speeds.
    """
    tokens, seconds = _table([by_prompt(c.samples) for c in v.compared])
    kinds = [p.kind for p in v.prompts]
    draws = draw_prompts(kinds, v.seed, resamples)
    if tokens.shape[1] < 2:
        draws = replace(draws, weights=draws.weights[:0])  # one prompt says nothing of others
    drawn: NDArray[np.float64] = (draws @ tokens.T) / (draws @ seconds.T)
    baseline = find_baseline(v.compared)
    speeds = [
        between(tokens[i].sum() / seconds[i].sum(), drawn[:, i], draws.freedom)
        for i in range(len(v.compared))
    ]
    gains = [paired_speed_up(c, baseline, draws) if baseline else None for c in v.compared]
    forecast, model = _sides_of(v)

    def answer(question: Question, one: Sides) -> Answer:
        checks = (_mismatches(v), steadiness(v), *_decided(v, question, one))
        verdict, reasons = _verdict(checks)
        configurations = tuple(
            Judged(
                configuration=c.configuration.label(),
                role=c.role,
                speed=speed,
                best_speed_up=gain,
                error=error,
            )
            for c, speed, gain, error in zip(v.compared, speeds, gains, one.estimates(), strict=True)
        )
        return Answer(verdict=verdict, reasons=reasons, checks=checks, configurations=configurations)

    told_apart, in_order = _ordered(np.exp(model.predicted), tokens, seconds, draws)
    return Fidelity(
        **dict(answer("model", model)),
        forecast=answer("forecast", forecast),
        told_apart=told_apart,
        in_order=in_order,
        prompts=tokens.shape[1],
        resamples=resamples,
        seed=v.seed,
    )


def sides(
    measured: Sequence[PerText],
    kinds: Sequence[str],
    forecasts: Sequence[Foretold],
    own: Sequence[str],
    replays: Sequence[Foretold],
) -> tuple[Sides, Sides]:
    """The forecast and the model beside what was measured, each by configuration; `own`: the calibration's kinds."""
    real = _table(measured)
    return (
        unpaired(_table([(f.tokens, f.seconds) for f in forecasts]), own, real, kinds),
        paired(_table([(r.tokens, r.seconds) for r in replays]), real),
    )


def _sides_of(v: Verification) -> tuple[Sides, Sides]:
    """Those of a record. Up to version 6 none tells what was foretold of each text: predictions are as given then, and
    those of the model are of the calibration's texts."""
    measured, kinds = [by_prompt(c.samples) for c in v.compared], [p.kind for p in v.prompts]
    forecasts = [c.forecast for c in v.compared if c.forecast]
    replays = [c.replays for c in v.compared if c.replays]
    if len(forecasts) == len(replays) == len(v.compared):
        return sides(measured, kinds, forecasts, v.calibration_kinds, replays)
    real = _table(measured)
    return (
        fixed(np.array([c.as_calibrated.value for c in v.compared]), real, kinds),
        fixed(np.array([c.predicted.speed.value for c in v.compared]), real, kinds),
    )


def take_look(
    looks: Looks,
    forecast: Sides,
    model: Sides,
    prompts: int,
    chosen: int,
    tolerance: Tolerance,
    seed: int,
    last: bool,
) -> Look:
    """What is known after so many prompts; `last`: no look comes behind it."""
    level = _level([*(look.prompts for look in looks.taken), prompts], looks.most, looks.error, last)

    def outcomes(question: Question, one: Sides) -> dict[str, Decision]:
        before = looks.decided_before(question)
        found = {f.name: f.outcome for f in findings(one, chosen, tolerance, level, seed)}
        return {name: before[name][0] if name in before else outcome for name, outcome in found.items()}

    return Look(
        prompts=prompts,
        spent=looks.error if last else spent(prompts / looks.most, looks.error),
        forecast=outcomes("forecast", forecast),
        model=outcomes("model", model),
    )


def _level(counts: Sequence[int], most: int, error: float, last: bool) -> Level:
    return lambda parts: level_at(tuple(counts), most, error / parts, last)


def _table(rows: Sequence[PerText]) -> tuple[Floats, Floats]:
    """Tokens and seconds, each [configurations, texts]."""
    tokens, seconds = zip(*rows, strict=True)
    return np.array(tokens, dtype=float), np.array(seconds, dtype=float)


MORE = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)  # times as many prompts


def _decided(v: Verification, question: Question, one: Sides) -> tuple[Check, ...]:
    """The criteria that prompts decide, as they stand at the end."""
    count = len(v.prompts)
    looks = v.looks or Looks(planned=(count,), ended="prompts")
    counts = [look.prompts for look in looks.taken] or [count]
    level = _level(counts, looks.most, looks.error, looks.ended != "decided")
    place = v.compared.index(find_chosen(v.compared))
    find = partial(findings, chosen=place, tolerance=v.tolerance, level=level, seed=v.seed)
    before = looks.decided_before(question)
    found = find(one)
    outcomes = {f.name: before[f.name][0] if f.name in before else f.outcome for f in found}
    if looks.taken:  # the record's own word is what counts
        outcomes = {name: before[name][0] if name in before else "undecided" for name in outcomes}
    needs = _needs([f.name for f in found if outcomes[f.name] == "undecided"], one, find, count)
    return tuple(
        Check(
            name=f.name,
            figure=f.figure,
            bound=f.bound,
            outcome=outcomes[f.name],
            sentence=_sentence(f),
            prompts=before[f.name][1] if f.name in before else None,
            needs=needs.get(f.name, ""),
            least=f.least,
        )
        for f in found
    )


def _needs(
    names: Sequence[str], one: Sides, find: Callable[[Sides], Sequence[Finding]], count: int
) -> dict[str, str]:
    """What would decide the criteria that are open: more prompts with the spread of those that were run, if any."""
    if not names:
        return {}
    if not one.known:
        return dict.fromkeys(names, "more prompts of a kind would tell how much they differ")
    found: dict[str, str] = {}
    for factor in MORE:
        outcomes = {f.name: f.outcome for f in find(one.scaled(factor))}
        for name in names:
            if name not in found and outcomes[name] != "undecided":
                found[name] = f"some {round(count * factor):,} prompts would decide it, with the spread seen"
        if len(found) == len(names):
            return found
    else:
        without = Sides(one.predicted, one.measured, tuple(s for s in one.sources if s.more)).scaled(MORE[-1])
        outcomes = {f.name: f.outcome for f in find(without)}
    for name in names:
        if name not in found and len(one.sources) > 1 and outcomes[name] != "undecided":
            found[name] = (
                "a calibration of more texts would decide it, and no number of prompts with this one"
            )
    return {
        name: found.get(name, "no number of prompts in reach would: it is too near its bound")
        for name in names
    }


CRITERIA = {
    "median error": "the median absolute error of tokens/s",
    "nine in ten": "the absolute error that nine in ten configurations keep to",
    "rank correlation": "Kendall's tau of predicted and measured",
    "regret": "what the chosen configuration lacks of the fastest measured speed",
}


def _sentence(f: Finding) -> str:
    shown = partial(number if f.least else percent, digits=2 if f.least else 1)
    value, low, high = f.figure.value, f.figure.low, f.figure.high
    ranged = f"{shown(low)} to {shown(high)}" if has_interval(f.figure) else interval(f.figure)
    needed = f"{'at least' if f.least else 'at most'} {shown(f.bound)} is asked for"
    return f"{CRITERIA[f.name]} is {shown(value)} ({ranged}), and {needed}"


def paired_speed_up(one: Compared, rival: Compared, draws: Draws) -> Estimate:
    """How many times as fast as its rival a configuration was measured, on the same prompts."""
    mine, theirs = (sorted(c.samples, key=lambda s: (s.prompt, s.repeat)) for c in (one, rival))
    texts = [s.prompt for s in mine]
    as_many = as_many_tokens([s.run for s in theirs], [s.run for s in mine])
    return ratio(by_text(as_many, texts), by_text([s.run.seconds for s in mine], texts), draws)


def _verdict(checks: Sequence[Check]) -> tuple[Word, tuple[str, ...]]:
    def those(outcome: Decision) -> tuple[str, ...]:
        return tuple(
            c.sentence + (f" ({c.needs})" if c.needs else "") for c in checks if c.outcome == outcome
        )

    named = {c.name: c for c in checks}
    if named["mismatches"].outcome == "broken":
        return "FAIL", those("broken")
    if named["steadiness"].outcome == "undecided":
        return "TOO NOISY TO TELL", (named["steadiness"].sentence,)
    if those("broken"):
        return "FAIL", those("broken")
    if those("undecided"):
        return "TOO NOISY TO TELL", those("undecided")
    return "PASS", ()


def _mismatches(v: Verification) -> Check:
    count, bound = sum(c.mismatches for c in v.compared), v.tolerance.mismatches
    sentence = (
        f"{plural(count, 'token')} differed from the target's own by more than a numeric tie, and {bound} "
        f"{'is' if bound == 1 else 'are'} allowed"
    )
    return Check(
        name="mismatches",
        figure=Estimate(count, count, count),
        bound=bound,
        outcome="broken" if count > bound else "held",
        sentence=sentence,
    )


def by_prompt(samples: Sequence[Sample]) -> PerText:
    """Tokens and seconds of each prompt, over its repeats."""
    ordered = sorted(samples, key=lambda s: (s.prompt, s.repeat))
    texts = [s.prompt for s in ordered]
    tokens, seconds = [len(s.run.tokens) for s in ordered], [s.run.seconds for s in ordered]
    return by_text(tokens, texts), by_text(seconds, texts)


def _ordered(predicted: Floats, tokens: Floats, seconds: Floats, draws: Draws) -> tuple[int, int]:
    """Pairs that the measurement tells apart, and those of them that the prediction orders alike."""
    told_apart = in_order = 0
    for i, j in itertools.combinations(range(len(predicted)), 2):
        drawn = (draws @ tokens[i]) * (draws @ seconds[j]) / ((draws @ tokens[j]) * (draws @ seconds[i]))
        value = tokens[i].sum() * seconds[j].sum() / (tokens[j].sum() * seconds[i].sum())
        gain = between(value, drawn, draws.freedom)
        if has_interval(gain) and not gain.low <= 1.0 <= gain.high:
            told_apart += 1
            in_order += (predicted[i] > predicted[j]) == (gain.value > 1.0)
    return told_apart, in_order
