"""The sections of a map's page on what lies outside it: published pairs, and measured points."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from reports.map import evidence_charts
from reports.map.cell_sections import published_view
from reports.map.page_tables import (
    every_point,
    every_ratio,
    published_pairs,
    view_name,
)
from reports.map.published import SOURCE, find_regimes
from reports.map.regime_points import MapPoint
from reports.page.sections import Section, single
from reports.verify.fidelity import ninth_in_ten
from reports.wording import (
    listing,
    number,
    percent,
    plural,
)
from sim.search.regimes import RegimeMap


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
        (single("published", label, evidence_charts.published_gains(regimes), caption),),
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
    if shaken := sum(p.unsteady for p in points):
        at = "all" if shaken == len(points) else number(shaken, 0)
        finding += f" The machine was too unsteady for a verdict at {at} of them."
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
        (single("points", label, evidence_charts.predicted_ratios(points), caption),),
        (every_point(found, points), every_ratio(points)),
        f"Each method with the setting that was predicted to be its best; predictions are the records' own, at the "
        f"machine's pace of the run. Taken from the records: {origins}.",
    )
