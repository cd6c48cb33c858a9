"""Whether the predictions held: statistics of a verification, each with an interval, against its tolerance.

    judge(load_verification(path)).verdict  # "PASS", "FAIL" or "TOO NOISY TO TELL"

Intervals are 95% percentile intervals of a paired bootstrap: prompts are drawn anew within each kind
(`reports.resampling`), the same ones for all configurations. Predictions are what they are; the measurement alone is
resampled.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from engine.metrics import Estimate, as_many_tokens, by_text
from reports.parts import find_baseline, find_chosen
from reports.resampling import RESAMPLES, Floats, between, draw_prompts, ratio, statistic
from reports.tolerance import Tolerance
from reports.verification import Compared, Verification
from reports.wording import has_interval, interval, milliseconds, number, percent, plural

Word = Literal["PASS", "FAIL", "TOO NOISY TO TELL"]
Outcome = Literal["held", "broken", "undecided"]
EXIT_CODES: dict[Word, int] = {"PASS": 0, "FAIL": 4, "TOO NOISY TO TELL": 3}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Part):
    """One criterion: a figure with its interval (none: counted, not estimated), its bound, and what came of it."""

    name: str
    figure: Estimate
    bound: float
    outcome: Outcome
    sentence: str


class Judged(_Part):
    """One configuration: tokens/s, the speed-up over the best autoregressive set-up, and the prediction's error."""

    configuration: str
    role: str
    speed: Estimate
    best_speed_up: Estimate | None
    error: Estimate


class Fidelity(_Part):
    """The verdict, what decided it, and every figure behind it.

    `told_apart`: pairs of configurations whose measured speeds differ beyond chance (the paired interval of their
    ratio leaves out 1); `in_order`: those of them that the prediction puts in the same order.
    """

    verdict: Word
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    configurations: tuple[Judged, ...]
    told_apart: int
    in_order: int
    prompts: int
    resamples: int
    seed: int


def kendall_tau(predicted: Floats, measured: Floats) -> Floats:
    """Kendall's tau-b of `predicted` [n] and each row of `measured` [..., n]; NaN where a side has no order at all."""
    above, below = np.triu_indices(len(predicted), k=1)
    expected = np.sign(predicted[above] - predicted[below])
    found = np.sign(measured[..., above] - measured[..., below])
    with np.errstate(invalid="ignore"):
        tau: Floats = (found @ expected) / np.sqrt((expected**2).sum() * (found**2).sum(axis=-1))
    return tau


def ninth_in_ten(errors: Floats) -> Floats:
    """The least size within which nine in ten of each row's errors lie."""
    bound: Floats = np.quantile(np.abs(errors), 0.9, axis=-1, method="inverted_cdf")
    return bound


def unsteadiness(seconds: Sequence[float]) -> float:
    """90th over 10th percentile of a fixed operation's times; 1 where there are none."""
    if not len(seconds):
        return 1.0
    low, high = np.percentile(seconds, [10, 90])
    return float(high / low)


def unsteady_note(reference: Sequence[float], tolerance: Tolerance) -> list[str]:
    """A note where the machine was less steady than is tolerated, by its reference operation's seconds."""
    if unsteadiness(reference) <= tolerance.unsteadiness:
        return []
    low, high = np.percentile(reference, [10, 90])
    return [
        f"the machine was unsteady: the reference operation took {low * 1e3:.1f} ms at the 10th and "
        f"{high * 1e3:.1f} ms at the 90th percentile"
    ]


def judge(v: Verification, resamples: int = RESAMPLES) -> Fidelity:
    """Every criterion of the record's tolerance, and the verdict.

    FAIL for a mismatch, whatever the noise. Else TOO NOISY TO TELL on an unsteady machine; else FAIL for a figure
    whose whole interval lies beyond its bound; else TOO NOISY TO TELL for one whose interval holds its bound;
    else PASS.
    """
    tokens, seconds = (np.array(rows) for rows in zip(*map(_by_prompt, v.compared), strict=True))
    draws = draw_prompts([p.kind for p in v.prompts], v.seed, resamples)
    if tokens.shape[1] < 2:
        draws = draws[:0]  # one prompt says nothing of others
    predicted = np.array([c.predicted.speed.value for c in v.compared])
    measured = tokens.sum(axis=1) / seconds.sum(axis=1)
    drawn: NDArray[np.float64] = (draws @ tokens.T) / (draws @ seconds.T)
    errors, drawn_errors = predicted / measured - 1.0, predicted / drawn - 1.0
    place, baseline = v.compared.index(find_chosen(v.compared)), find_baseline(v.compared)
    tolerance = v.tolerance
    ranks = statistic(lambda speeds: kendall_tau(predicted, speeds), measured, drawn)
    checks = (
        _mismatches(v),
        _steadiness(v),
        _check(
            "median error",
            statistic(lambda rows: np.median(np.abs(rows), axis=-1), errors, drawn_errors),
            tolerance.median_error,
            "the median absolute error of the predicted tokens/s",
        ),
        _check(
            "nine in ten",
            statistic(ninth_in_ten, errors, drawn_errors),
            tolerance.tail_error,
            "the absolute error that nine in ten configurations keep to",
        ),
        _check(
            "rank correlation", ranks, tolerance.tau, "Kendall's tau of predicted and measured", least=True
        ),
        _check(
            "regret",
            statistic(lambda speeds: 1.0 - speeds[..., place] / speeds.max(axis=-1), measured, drawn),
            tolerance.regret,
            "what the chosen configuration lacks of the fastest measured speed",
        ),
    )
    verdict, reasons = _verdict(checks)
    told_apart, in_order = _ordered(predicted, tokens, seconds, draws)
    return Fidelity(
        verdict=verdict,
        reasons=reasons,
        checks=checks,
        configurations=tuple(
            Judged(
                configuration=c.configuration.label(),
                role=c.role,
                speed=between(measured[i], drawn[:, i]),
                best_speed_up=paired_speed_up(c, baseline, draws) if baseline else None,
                error=between(errors[i], drawn_errors[:, i]),
            )
            for i, c in enumerate(v.compared)
        ),
        told_apart=told_apart,
        in_order=in_order,
        prompts=tokens.shape[1],
        resamples=resamples,
        seed=v.seed,
    )


def paired_speed_up(one: Compared, rival: Compared, draws: Floats) -> Estimate:
    """How many times as fast as its rival a configuration was measured, on the same prompts."""
    mine, theirs = (sorted(c.samples, key=lambda s: (s.prompt, s.repeat)) for c in (one, rival))
    texts = [s.prompt for s in mine]
    as_many = as_many_tokens([s.run for s in theirs], [s.run for s in mine])
    return ratio(by_text(as_many, texts), by_text([s.run.seconds for s in mine], texts), draws)


def sentence(found: Fidelity) -> str:
    """The verdict with its reasons, in one sentence."""
    if found.verdict == "PASS":
        figures = {c.name: c for c in found.checks}
        return (
            f"PASS: the predictions held on {plural(found.prompts, 'prompt')}, "
            f"{figures['median error'].sentence}; {figures['rank correlation'].sentence}."
        )
    return f"{found.verdict}: {'; '.join(found.reasons)}."


def _verdict(checks: Sequence[Check]) -> tuple[Word, tuple[str, ...]]:
    def those(outcome: Outcome) -> tuple[str, ...]:
        return tuple(c.sentence for c in checks if c.outcome == outcome)

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


def _check(name: str, figure: Estimate, bound: float, what: str, least: bool = False) -> Check:
    """A figure that is to be at most (or at least) a bound, decided where its whole interval is on one side."""
    shown = number if least else percent
    digits = 2 if least else 1
    outcome: Outcome = "undecided"
    if has_interval(figure):
        nearer, farther = (figure.high, figure.low) if least else (figure.low, figure.high)
        sign = -1.0 if least else 1.0
        if sign * farther <= sign * bound and sign * figure.value <= sign * bound:
            outcome = "held"
        elif sign * nearer > sign * bound and sign * figure.value > sign * bound:
            outcome = "broken"
    if has_interval(figure):
        ranged = (
            f"{shown(figure.value, digits)} ({shown(figure.low, digits)} to {shown(figure.high, digits)})"
        )
    else:
        ranged = f"{shown(figure.value, digits)} ({interval(figure)})"
    needed = f"{'at least' if least else 'at most'} {shown(bound, digits)} is asked for"
    return Check(
        name=name, figure=figure, bound=bound, outcome=outcome, sentence=f"{what} is {ranged}, and {needed}"
    )


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


def _steadiness(v: Verification) -> Check:
    found, bound = unsteadiness(v.reference_seconds), v.tolerance.unsteadiness
    sentence = "no reference operation was timed"
    if v.reference_seconds:
        low, high = np.percentile(v.reference_seconds, [10, 90])
        sentence = (
            f"the reference operation took {milliseconds(low, 1)} at the 10th and {milliseconds(high, 1)} at the 90th "
            f"percentile, {number(found, 2)} times as long, and {number(bound, 2)} is allowed"
        )
    return Check(
        name="steadiness",
        figure=Estimate(found, found, found),
        bound=bound,
        outcome="held" if found <= bound else "undecided",
        sentence=sentence,
    )


def _by_prompt(one: Compared) -> tuple[list[float], list[float]]:
    """Tokens and seconds of each prompt, over its repeats."""
    samples = sorted(one.samples, key=lambda s: (s.prompt, s.repeat))
    texts = [s.prompt for s in samples]
    return by_text([len(s.run.tokens) for s in samples], texts), by_text(
        [s.run.seconds for s in samples], texts
    )


def _ordered(predicted: Floats, tokens: Floats, seconds: Floats, draws: Floats) -> tuple[int, int]:
    """Pairs that the measurement tells apart, and those of them that the prediction orders alike."""
    told_apart = in_order = 0
    for i, j in itertools.combinations(range(len(predicted)), 2):
        drawn = (draws @ tokens[i]) * (draws @ seconds[j]) / ((draws @ tokens[j]) * (draws @ seconds[i]))
        value = tokens[i].sum() * seconds[j].sum() / (tokens[j].sum() * seconds[i].sum())
        gain = between(value, drawn)
        if has_interval(gain) and not gain.low <= 1.0 <= gain.high:
            told_apart += 1
            in_order += (predicted[i] > predicted[j]) == (gain.value > 1.0)
    return told_apart, in_order
