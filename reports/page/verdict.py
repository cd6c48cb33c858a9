"""The answer to whether to speculate here, and with what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.naming import in_words
from reports.verify.fidelity import Word, judge
from reports.verify.verdict_words import brief, sentence
from reports.verify.verification import (
    Compared,
    Verification,
    find_baseline,
    find_chosen,
    find_fastest,
    speculates,
)
from reports.wording import has_interval, interval, number, plural, ranged, signed, times
from reports.wording import sentence as as_sentence
from sim.world.reach import MEANING

Tone = Literal["good", "even", "bad"]
TONES: dict[Word, Tone] = {"PASS": "good", "FAIL": "bad", "TOO NOISY TO TELL": "even"}


@dataclass(frozen=True)
class Tile:
    """A figure of the verdict, large."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What a page opens with: the answer in a headline, `sentences` that say why, `alarms` that must not be missed.

    `remarks` are of the target and go with every figure.

    `predictions`: whether they kept to the tolerance at the run's pace, in a sentence, and its tone; `forecast`: the
    same of what was foretold before the run. None: the page judges no predictions.
    """

    tone: Tone
    headline: str
    sentences: tuple[str, ...]
    tiles: tuple[Tile, ...] = ()
    alarms: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    predictions: tuple[Tone, str] | None = None
    forecast: tuple[Tone, str] | None = None


def verdict(v: Verification) -> Verdict:
    """Which configuration was chosen, what it brought, and whether the text was the target's own."""
    one = find_chosen(v.compared)
    speed, gain = one.measured.speed, one.measured.best_speed_up
    tone, headline = _headline(one, find_fastest(v.compared))
    alarms = []
    wrong = sum(c.mismatches for c in v.compared)
    if wrong:
        tone, headline = "bad", "The output was not the target's own."
        alarms.append(
            f"{plural(wrong, 'token')} differed from the target's own by more than a numeric tie. That is a fault, "
            "and no speed-up counts while it stands."
        )
    if v.other_hardware:
        alarms.append("The calibration was made on other hardware: the predictions are not of this machine.")
    far = sum(c.far_context for c in v.compared)
    if far:
        alarms.append(f"{plural(far, 'prediction')} reached too far: {MEANING}.")
    ties, tokens = (
        sum(c.near_ties for c in v.compared),
        sum(len(s.run.tokens) for c in v.compared for s in c.samples),
    )
    tiles = (
        Tile("Measured speed", f"{number(speed.value)} tokens/s", f"95%: {interval(speed)}"),
        Tile("Speed-up over the best autoregressive", times(gain.value), f"95%: {interval(gain, 2)}"),
        Tile(
            "Error of the prediction",
            signed(one.error),
            f"predicted {number(one.predicted.speed.value)} tokens/s",
        ),
        Tile("Tokens not the target's own", f"{wrong:,}", f"of {tokens:,}; {plural(ties, 'near tie')}"),
    )
    found = judge(v)
    predictions = (TONES[found.verdict], brief(found))
    forecast = (TONES[found.forecast.verdict], sentence(found, "forecast"))
    return Verdict(
        tone,
        headline,
        _sentences(v.compared),
        tiles,
        tuple(alarms),
        tuple(map(as_sentence, v.remarks)),
        predictions,
        forecast,
    )


def _headline(one: Compared, fastest: Compared) -> tuple[Tone, str]:
    label, gain = in_words(one.configuration), one.measured.best_speed_up
    if not speculates(one):
        if speculates(fastest):
            return "even", "Do not speculate, said the prediction; the measurement disagrees."
        return "even", "Do not speculate."
    if not speculates(fastest):
        return "bad", "Do not speculate."
    if gain.value < 1.0:
        return "bad", f"Do not use {label}: it is slower than no speculation."
    if not has_interval(gain):
        return "even", f"Speculate with {label}, as far as one prompt can tell."
    if gain.low <= 1.0:
        return "even", f"No gain was shown for {label}: its interval includes 1."
    return "good", f"Speculate with {label}."


def _sentences(compared: Sequence[Compared]) -> tuple[str, ...]:
    one, fastest, best = find_chosen(compared), find_fastest(compared), find_baseline(compared)
    gain = one.measured.best_speed_up
    measured = (
        f"The chosen {in_words(one.configuration)} measured {number(one.measured.speed.value)} tokens/s "
        f"(95% interval {interval(one.measured.speed)})"
    )
    if one is best:
        sentences = [f"{measured}; it is the best autoregressive set-up of this hardware."]
    else:
        rival = f", {in_words(best.configuration)}" if best else ""
        sentences = [
            f"{measured}, {times(gain.value)} ({interval(gain, 2)}) the speed of the best autoregressive set-up of "
            f"the same hardware{rival}."
        ]
    if fastest is not one:
        sentences.append(
            f"The fastest measured was {in_words(fastest.configuration)} at {ranged(fastest.measured.speed)} tokens/s"
            + _apart(one, fastest)
        )
    if not speculates(fastest):
        drafted = [c for c in compared if speculates(c) and c is not one]
        if drafted:
            nearest = find_fastest(drafted)
            sentences.append(
                f"The fastest {'other ' if speculates(one) else ''}way to speculate, "
                f"{in_words(nearest.configuration)}, reached {times(nearest.measured.best_speed_up.value)} that speed."
            )
    sentences.append(
        f"The simulator had predicted {ranged(one.predicted.speed)} tokens/s, an error of {signed(one.error)}."
    )
    return (*sentences, _faithful(compared))


def _apart(one: Compared, fastest: Compared) -> str:
    a, b = one.measured.speed, fastest.measured.speed
    if not (has_interval(a) and has_interval(b)):
        return "."
    if b.low > a.high:
        return ", with an interval above that of the chosen one."
    return ", with an interval that overlaps that of the chosen one."


def _faithful(compared: Sequence[Compared]) -> str:
    runs = sum(len(c.samples) for c in compared)
    wrong, ties = sum(c.mismatches for c in compared), sum(c.near_ties for c in compared)
    if wrong:
        return f"Of {plural(runs, 'run')}, some wrote tokens that the target alone would not have written."
    if ties:
        return (
            f"The output was the target's own in all {plural(runs, 'run')}, but for {plural(ties, 'token')} where two "
            f"of its tokens were as good as tied."
        )
    return f"The output was the target's own, token for token, in all {plural(runs, 'run')}."
