"""The page of a map of regimes: who wins where, by how much and why, what was published, and what was measured.

    write_map(regime_map(artifact), points, Path("map.html"))

It is made of the report's own parts, style and template (`reports/page/html.py`).
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engine.metrics import Estimate
from engine.naming import SEATS, in_words, method_name
from reports.map import claims_page, regime_charts
from reports.map.claims import Row
from reports.map.page_tables import (
    CODED,
    HELPERS,
    PARTS,
    PLACED,
    every_cell,
    every_point,
    every_ratio,
    matrix,
    published_pairs,
    texts_name,
    view_name,
    without_parts,
)
from reports.map.published import SOURCE, Regime, find_regimes
from reports.map.regime_charts import METHODS
from reports.map.regime_points import MapPoint
from reports.page import html
from reports.page.figure import Chart, Choice, View
from reports.page.sections import Answers, Section, pairs, single
from reports.page.verdict import Tile, Tone, Verdict
from reports.verify.fidelity import ninth_in_ten
from reports.wording import (
    capital,
    has_interval,
    interval,
    listing,
    number,
    percent,
    plural,
    ranged,
    sentence,
    times,
)
from sim.search.regime_map import Cell, Own, Part, RegimeMap, Where
from sim.search.regime_map import View as MapView

PUBLISHED_IN = ("at-once", "threads", "in-turn", "best")  # where the published methods ran, or the next best


def write_map(found: RegimeMap, points: Sequence[MapPoint], out: Path, settled: Sequence[Row] = ()) -> None:
    """Write the page to `out`. SpecBranchError if the file cannot be written."""
    html.write(out, render(found, points, settled))


def render(found: RegimeMap, points: Sequence[MapPoint] = (), settled: Sequence[Row] = ()) -> str:
    """The page as HTML; `settled`: what the points' records say of the published claims."""
    return html.fill(
        "map.html",
        answers(found, points, settled),
        replace(decide(found), remarks=tuple(said(found, points))),
        json.dumps(document(found, points, settled)),
        found=found,
    )


def said(found: RegimeMap, points: Sequence[MapPoint]) -> list[str]:
    """What has to be said of the targets that were calibrated and measured, each once, in sentences."""
    remarks = dict.fromkeys([*found.remarks, *(remark for p in points for remark in p.remarks)])
    return [sentence(remark) for remark in remarks]


def document(found: RegimeMap, points: Sequence[MapPoint], settled: Sequence[Row] = ()) -> dict[str, Any]:
    """The map, its points, where the published pairs lie, and how the published claims fell, as JSON."""
    regimes = find_regimes(found, published_view(found))
    return {
        **claims_page.document(settled),
        "map": json.loads(found.model_dump_json(exclude_defaults=True)),
        "points": [json.loads(p.model_dump_json(exclude_defaults=True)) for p in points],
        "published": [
            {
                "pair": r.pair.name,
                "published": {"pearl": r.pair.pearl, "specbranch": r.pair.specbranch},
                "ratios": r.pair.ratios,
                "places": [vars(p) for p in r.places],
            }
            for r in regimes
        ],
    }


def answers(found: RegimeMap, points: Sequence[MapPoint] = (), settled: Sequence[Row] = ()) -> Answers:
    """Who wins, by how much, what of it is lost, what was published and measured, and what is assumed."""
    return Answers(
        run=(winners(found, points),),
        trust=(measured(found, points), published(found), *claims_page.claims(settled)),
        why=(losses(found),),
        what_if=(ratios(found),),
        conditions=(assumptions(found),),
    )


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


def _counted(view: MapView) -> str:
    """How many cells each method wins."""
    counts = Counter(c.winner.policy for c in view.cells)
    won = listing([f"{method_name(p)} wins {counts[p]}" for p in METHODS if counts[p]])
    return f"{won} of {plural(len(view.cells), 'cell')}, {sum(c.is_tie for c in view.cells)} of them ties"


def _where(view: MapView, policy: str) -> str:
    """Where a method wins beyond a tie, in a sentence's end."""
    mine = [c for c in view.cells if c.winner.policy == policy and not c.is_tie]
    if not mine:
        return f"{method_name(policy)} leads nowhere beyond a tie."
    ratios, shares = [c.ratio for c in mine], [c.alignment for c in mine]
    return (
        f"{method_name(policy)} leads beyond a tie in {len(mine)}, at ratios of {min(ratios):g} to {max(ratios):g} and "
        f"alignments of {percent(min(shares), 0)} to {percent(max(shares), 0)}."
    )


def _span(lead: Estimate) -> str:
    if not has_interval(lead):
        return interval(lead)
    return f"{percent(lead.low - 1.0, 0)} to {percent(lead.high - 1.0, 0)}"


def _choices(found: RegimeMap, first: Where | None = None) -> tuple[list[Choice], list[tuple[str, MapView]]]:
    """The switches that a map has, and each view by the places of their options; `first`: the first placement."""
    options = (
        tuple(sorted(found.placements, key=lambda p: p != first)),
        found.temperatures,
        tuple(sorted({v.helpers for v in found.views})),
    )
    labels = (
        Choice("Placement", tuple(capital(PLACED[p]) for p in options[0])),
        Choice("Texts", tuple(texts_name(t) for t in options[1])),
        Choice("Methods", tuple(capital(HELPERS[h]) for h in options[2])),
    )
    switched = [len(some) > 1 for some in options]
    views = []
    for places in itertools.product(*(range(len(some)) for some in options)):
        placement, temperature, helpers = (some[at] for some, at in zip(options, places, strict=True))
        key = ",".join(str(at) for at, there in zip(places, switched, strict=True) if there)
        views.append((key, found.view(placement, temperature, helpers=bool(helpers))))  # type: ignore[arg-type]
    return [label for label, there in zip(labels, switched, strict=True) if there], views


def winners(found: RegimeMap, points: Sequence[MapPoint]) -> Section:
    """The map itself."""
    choices, views = _choices(found)
    charts, tables, listed = {}, [], []
    for key, view in views:
        own = [o for o in found.own if o.temperature == view.temperature]
        # A point's methods ran in the placements that were predicted to be their best.
        placed = points if view.placement == found.placements[0] else ()
        mine = [p for p in placed if p.temperature == view.temperature and p.helpers == view.helpers]
        regimes = find_regimes(found, view) if not view.helpers and not view.temperature else ()
        figure = regime_charts.winners(found, view, own, regimes, mine)
        charts[key] = View(figure, _caption(view, regimes, mine))
        tables.append(replace(matrix(found, view), shown=True, of=("map", key)))
        listed.append(every_cell(view, key))
    said = [
        f"{capital(view_name(view))}: {_counted(view)}; {_where(view, 'specbranch')}"
        for view in (found.view(p, found.temperatures[0], helpers=False) for p in found.placements[:2])
    ]
    finding = (
        "Colour tells which method is the fastest, each at its own best setting; its strength and the number tell by "
        "how many "
        f"percent it leads the runner-up. {' '.join(said)}"
    )
    label = "Heat map of the fastest method over the ratio of steps and the alignment; the table below has the same"
    return Section(
        "map",
        "The map",
        "Which method wins, and by how much",
        finding,
        (Chart("map", label, charts, tuple(choices)),),
        tuple(itertools.chain.from_iterable(zip(tables, listed, strict=True))),
        "Ratio: what a target step takes over what a draft step takes, where each has a device of its own. Alignment: "
        "the "
        "share of positions where the draft's first token is the target's. Helpers: repetitions, n-grams and second "
        "choices for every method that drafts, redrafting for SpecBranch, and prompt lookup. In each placement the "
        f"autoregressive baseline runs there too. In the table {CODED}",
    )


def _caption(view: MapView, regimes: Sequence[Regime], points: Sequence[MapPoint]) -> str:
    parts = [f"{capital(view_name(view))}. Hatched and {regime_charts.TIE}: not told from another method."]
    if drawn := [r for r in regimes if r.places]:
        names = "; ".join(f"{r.pair.letter}: {r.pair.name}" for r in drawn)
        parts.append(f"Letters: where published pairs may lie, by estimate ({names}); dotted: their range.")
    parts.append("Stars: the calibrated pair with its drafts.")
    if points:
        parts.append(
            "Dots: measured pairs with 95% intervals, coloured by the winner; a cross where it was not predicted."
        )
    return " ".join(parts)


# What a surface shows, and from which ratio on in full colour.
_RATIOS: tuple[tuple[str, Callable[[Cell], Estimate | None], float], ...] = (
    ("SpecBranch over PEARL", lambda c: c.over.get("pearl"), 1.2),
    ("SpecBranch over standard speculative decoding", lambda c: c.over.get("speculative"), 1.6),
    (
        "SpecBranch over autoregressive decoding",
        lambda c: e.speed_up if (e := c.entry("specbranch")) else None,
        4.0,
    ),
    ("The winner over autoregressive decoding", lambda c: c.winner.speed_up, 4.0),
)


def ratios(found: RegimeMap) -> Section:
    """The surfaces of ratios."""
    view = published_view(found)
    choices, views = _choices(found, view.placement)
    charts = {}
    for (place, (title, of, full)), (key, shown) in itertools.product(enumerate(_RATIOS), views):
        figure = regime_charts.surface(found, shown, title, of, full)
        caption = f"{title}: {view_name(shown)}. Blue: faster; orange: slower. Hover for the interval."
        charts[f"{place},{key}".rstrip(",")] = View(figure, caption)
    found_gains = [
        (policy, [g for c in view.cells if (g := c.over.get(policy))]) for policy in ("pearl", "speculative")
    ]
    said = []
    for policy, gains in found_gains:
        if not gains:
            continue
        best = max(gains, key=lambda g: g.value)
        at = next(c for c in view.cells if c.over.get(policy) is best)
        said.append(
            f"over {method_name(policy)} SpecBranch gains beyond its interval in {sum(g.low > 1.0 for g in gains)} of "
            f"{plural(len(gains), 'cell')} and loses in {sum(g.high < 1.0 for g in gains)}; the most it gains is "
            f"{number(best.value, 2)} times, at ratio {at.ratio:g} and alignment {percent(at.alignment, 0)}"
        )
    label = "Heat maps of ratios of speeds over the ratio of steps and the alignment"
    choice = Choice("Quantity", tuple(title for title, *_ in _RATIOS))
    return Section(
        "ratios",
        "SpecBranch over its rivals",
        "SpecBranch over PEARL, and over standard speculative decoding",
        f"{capital(view_name(view))}: {'; '.join(said)}."
        if said
        else "SpecBranch could not be tried on this calibration.",
        (Chart("ratios", label, charts, (choice, *choices)),),
        (),
        "At high ratios drafting takes little time beside verification, so to overlap the two gains little, while a "
        "parallel method has nothing to verify in the round behind a rejection. "
        "Each at its own best setting in the cell. SpecBranch has two branches or more, or a cut: with one branch and "
        "no "
        "cut it is PEARL. The list of every cell above has these numbers with their intervals.",
    )


def losses(found: RegimeMap) -> Section:
    """What overheads, contention and rollback take of SpecBranch's speed-up."""
    view = published_view(found)
    choices, views = _choices(found, view.placement)
    charts = {}

    def of(part: Part) -> Callable[[Cell], Estimate | None]:
        def share(cell: Cell) -> Estimate | None:
            value = cell.without.get(part)
            return None if value is None else Estimate(value, float("nan"), float("nan"))

        return share

    for (place, (part, (name, full))), (key, shown) in itertools.product(enumerate(PARTS.items()), views):
        figure = regime_charts.surface(
            found, shown, f"as fast without {part}, times:", of(part), full, two_sided=False
        )
        caption = f"How many times as fast SpecBranch would be without {name}: {view_name(shown)}."
        charts[f"{place},{key}".rstrip(",")] = View(figure, caption)
    middles = {part: [c.without[part] for c in view.cells if part in c.without] for part in PARTS}
    said = [f"without {part} {number(median(values), 2)} times" for part, values in middles.items() if values]
    label = "Heat maps of what SpecBranch's speed-up would be without overheads, contention and rollback"
    choice = Choice("Without", tuple(capital(name) for name, _ in PARTS.values()))
    return Section(
        "losses",
        "What a gain is made of",
        "How much of the gain overheads, contention and rollback take",
        f"{capital(view_name(view))}, in the median over the cells: {listing(said)} as fast. The most that overheads "
        "take is a "
        f"factor of {number(max(middles['overheads']), 2)}, contention {number(max(middles['contention']), 2)}, "
        "rollback "
        f"{number(max(middles['rollback']), 2)}."
        if said
        else "SpecBranch could not be tried on this calibration.",
        (Chart("losses", label, charts, (choice, *choices)),),
        (without_parts(view),),
        "Tokens/s of SpecBranch without a part over those with everything, each part switched off alone, at the "
        "setting that "
        "is its best with everything. The factors do not add up. Without rollback every first token of a draft is "
        "right, as "
        "no draft's is: it bounds what better alignment, or better hedging, could bring.",
    )


def published_view(found: RegimeMap) -> MapView:
    """The view that is nearest to how the published methods ran: greedy, each model on a device of its own."""
    placement: Where = next(p for p in PUBLISHED_IN if p in found.placements)
    return found.view(placement, found.temperatures[0], helpers=False)


def published(found: RegimeMap) -> Section:
    """Whether the published averages would hold in the published regimes."""
    view = published_view(found)
    regimes = find_regimes(found, view)
    said = []
    for r in regimes:
        if gains := [place.gain for place in r.places]:
            word = "more" if r.pair.gain > max(gains) else "less" if r.pair.gain < min(gains) else "as much"
            said.append((r.pair.letter, word))
    compared = [
        f"{words_of} for {listing([letter for letter, word in said if word == kind])}"
        for kind, words_of in (
            ("more", "larger than the map's"),
            ("as much", "within the map's range"),
            ("less", "smaller"),
        )
        if any(word == kind for _, word in said)
    ]
    finding = (
        f"SpecBranch's published gain over PEARL is {listing(compared)}, with each pair where the map gives PEARL its "
        "published average."
        if said
        else "The map gives PEARL the published averages nowhere."
    )
    caption = (
        f"Diamonds: published. Bars: the map wherever the pair may lie, {view_name(view)}. Dashed: no gain."
    )
    label = "SpecBranch over PEARL for each published pair: published, and on the map"
    return Section(
        "published",
        "Published pairs",
        "Where the published pairs lie, and what the map says there",
        finding,
        (single("published", label, regime_charts.published_gains(regimes), caption),),
        (published_pairs(regimes),),
        f"Published: {SOURCE}. Neither ratio nor alignment of these pairs was measured here: the ratio lies between "
        "that of "
        "the models' layers (a step waits for kernels) and that of their parameters (it waits for memory), and the "
        "alignment "
        "is read from the map by PEARL's average. Machine, texts and implementation are others than those of the "
        "publication, and H-RAD is left out, so a difference is no refutation.",
    )


def measured(found: RegimeMap, points: Sequence[MapPoint]) -> Section:
    """Predicted and measured ratios."""
    short, title = "Measured points", "What the engine measured, beside what was predicted"
    if not points:
        return Section(
            "points",
            short,
            title,
            "No measurement was given; 'specbranch map --points' takes the records of 'specbranch verify'.",
        )
    errors = [r.error for p in points for r in p.ratios]
    right = sum(p.winner.policy == p.predicted_winner for p in points)
    tied = sum(p.is_tie for p in points if p.winner.policy != p.predicted_winner)
    finding = (
        f"Over {plural(len(errors), 'measured ratio')} of two methods' speeds at {plural(len(points), 'point')}, the "
        "median "
        f"absolute error of the prediction is {percent(median(map(abs, errors)))}, and nine in ten keep within "
        f"{percent(float(ninth_in_ten(np.array(errors))))}. The method that was predicted to win did so at {right} of "
        "them" + (f", and at {tied} more it was not told from the one that did." if tied else ".")
    )
    caption = (
        "On the dashed line a prediction is right. Bars: 95% intervals of a paired bootstrap over prompts. Filled: "
        "over "
        "autoregressive decoding; open: SpecBranch over another method."
    )
    label = "Measured ratios of two methods' speeds over the predicted ones"
    origins = listing(
        sorted(
            {f"the ratio by {p.ratio_from}" for p in points}
            | {f"alignment by {p.alignment_from}" for p in points}
        )
    )
    return Section(
        "points",
        short,
        title,
        finding,
        (single("points", label, regime_charts.predicted_ratios(points), caption),),
        (every_point(found, points), every_ratio(points)),
        f"Each method with the setting that was predicted to be its best; predictions are the records' own, at the "
        f"machine's pace of the run. Taken from the records: {origins}.",
    )


def _by_draft(found: RegimeMap) -> str:
    """Which ratios have which draft's costs."""
    own = dict(found.costs.values())
    ratios = {name: [ratio for ratio, (of, _) in found.costs.items() if of == name] for name in own}
    return "; ".join(f"{name} ({number(own[name])}) at {listing(some)}" for name, some in ratios.items())


def assumptions(found: RegimeMap) -> Section:
    """What the map rests on, and what it was made of."""
    sources = [
        f"{texts_name(float(t)).lower()}: "
        + ", ".join(
            f"{percent(float(a), 0)} from {draft} ({percent(own, 0)})" for a, (draft, own) in some.items()
        )
        for t, some in found.sources.items()
    ]
    assumed = (
        ("other ratios", "above that draft's own every forward of the target takes so many times longer, below it "
         "every forward of the draft; hand-overs take what they were measured to take"),
        ("contention", "the measured factors by which target and draft slow each other, at every ratio"),
        ("other placements", "a model dearer by a factor is dearer by the same factor in every placement"),
        ("costs", "of the draft whose own ratio is the nearest: " + _by_draft(found)),
        ("other alignments", "recorded traces, shifted: hits become misses, or misses hits, first where the draft was "
         "unsure, so that runs of hits keep their shape; confidences stay as they were recorded"),
        ("shifted from", "; ".join(sources)),
        ("drawn texts", "drafts draw their tokens too, where the calibration recorded that"),
        ("H-RAD", "left out: its foresight was recorded for the alignment that was"),
        ("settings", f"{found.settings} in each cell over all methods and placements, a coarse grid; each method's "
         "best is chosen on the texts that it is shown on"),
        ("intervals", f"95%, paired over {plural(found.prompts, 'prompt')}, by the delta method; of the texts that "
         "are simulated alone, not of the model's error"),
        ("lengths of text", f"{number(found.tokens / found.prompts, 0)} tokens in the mean behind prompts, whose "
         "reading counts"),
    )  # fmt: skip
    made = (
        ("calibration", f"{found.calibration} ({found.calibration_digest[:12]}), {found.calibrated}"),
        (
            "machine",
            ", ".join(
                f"{k}: {v}" for k, v in found.hardware.items() if k in ("processor", "cores", "memory")
            ),
        ),
        ("target", found.target),
        ("ratio measured in", SEATS[found.measured_in]),
        (
            "worked out in",
            f"{number(found.seconds)} s by {plural(found.processes, 'process')}, of which a processor worked "
            f"{number(found.processor_seconds)} s in all; seed {found.seed}",
        ),
    )
    return Section(
        "conditions",
        "What is assumed",
        "What is assumed, and what it was made of",
        "Only the calibrated pair's own place was measured; every cell is a supposition about another pair on this "
        "machine, "
        "which holds as far as the following does.",
        (),
        (pairs("What is assumed", assumed), pairs("What it was made of", made)),
    )
