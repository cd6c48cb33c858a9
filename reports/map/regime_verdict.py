"""The decision that a map gives for the calibration's own pair, in words."""

from collections.abc import Sequence

from engine.metrics import Estimate
from engine.naming import in_words, method_name
from reports.map.regime_points import MapPoint
from reports.page.verdict import Tile, Tone, Verdict
from reports.wording import (
    has_interval,
    interval,
    listing,
    number,
    percent,
    ranged,
    sentence,
    times,
)
from sim.search.regimes import Cell, Own, RegimeMap


def said(found: RegimeMap, points: Sequence[MapPoint]) -> list[str]:
    """What has to be said of the targets that were calibrated and measured, each once, in sentences."""
    remarks = dict.fromkeys([*found.remarks, *(remark for p in points for remark in p.remarks)])
    return [sentence(remark) for remark in remarks]


def best_own(found: RegimeMap, helpers: bool = False) -> tuple[Own, Cell]:
    """The calibration's own draft with which its greedy texts are fastest, and its cell."""
    there = [(o, o.cell(found.placements[0], helpers)) for o in found.own if not o.temperature]
    return max(there, key=lambda one: one[1].winner.speed_up.value)


def decide(found: RegimeMap) -> Verdict:
    """The decision for the calibration's own pair, in words."""
    own, cell = best_own(found)
    winner, runner_up = cell.winner, cell.runner_up
    config = winner.configuration
    gain = times(winner.speed_up.value)
    tied = [method_name(policy) for policy in cell.tied[1:]]
    lies = f"At this pair's ratio of {number(own.ratio)} and alignment of {percent(own.alignment, 0)}"
    tone: Tone
    if not config.drafts:
        headline = f"{lies} ({own.draft} draft) do not speculate: autoregressive decoding is the fastest."
        tone = "bad"
    elif "autoregressive" in cell.tied:
        headline = f"{lies} no gain can be told: {in_words(config)} is tied with autoregressive decoding."
        tone = "even"
    else:
        headline = f"{lies} use {in_words(config)}: {gain} autoregressive decoding."
        tone = "good"
    sentences = []
    if config.drafts and runner_up:
        said = (
            f"It is tied with {listing(tied)}."
            if tied
            else "The runner-up is autoregressive decoding itself."
            if not runner_up.configuration.drafts
            else f"It leads {in_words(runner_up.configuration)} by {percent(cell.lead.value - 1.0, 0)} "
            f"({_span(cell.lead)})."
        )
        sentences.append(
            f"The gain is {ranged(winner.speed_up, 2)} times the best autoregressive set-up. {said}"
        )
    sentences += _branches(cell)
    if any(v.helpers for v in own.views):
        _, other = best_own(found, helpers=True)
        sentences.append(
            f"With helpers the fastest is {in_words(other.winner.configuration)}, at "
            f"{ranged(other.winner.speed_up, 2)} times."
        )
    sentences.append("All of this is simulated from the calibration.")
    branched = cell.over.get("speculative")
    tiles = (
        Tile("Speed-up over the best autoregressive", gain, f"95%: {interval(winner.speed_up, 2)}"),
        *(
            [Tile("SpecBranch over speculative", times(branched.value), f"95%: {interval(branched, 2)}")]
            if branched
            else []
        ),
        Tile("A target step over a draft step", number(own.ratio), f"with the {own.draft} draft"),
        Tile("Alignment", percent(own.alignment, 0), "positions where its first token is right"),
    )
    return Verdict(tone, headline, tuple(sentences), tiles)


def _branches(cell: Cell) -> list[str]:
    """Whether branches pay in a cell."""
    rivals = [(policy, gain) for policy, gain in cell.over.items() if has_interval(gain)]
    if not rivals:
        return []
    said = [
        f"{number(gain.value, 2)} times as fast as {method_name(policy)} ({interval(gain, 2)})"
        for policy, gain in rivals
    ]
    pays = all(gain.low > 1.0 for _, gain in rivals)
    loses = any(gain.high < 1.0 for _, gain in rivals)
    word = (
        "Branches pay here"
        if pays
        else "Branches do not pay here"
        if loses
        else "Whether branches pay is not told"
    )
    return [f"{word}: SpecBranch would be {listing(said)}."]


def _span(lead: Estimate) -> str:
    if not has_interval(lead):
        return interval(lead)
    return f"{percent(lead.low - 1.0, 0)} to {percent(lead.high - 1.0, 0)}"
