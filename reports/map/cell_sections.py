"""The sections of a map's page that its cells fill: who wins, over which rivals, and what takes of the gain."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from engine.metrics import Estimate
from engine.naming import method_name
from reports.map import regime_charts
from reports.map.page_tables import (
    CODED,
    HELPERS,
    PARTS,
    PLACED,
    every_cell,
    matrix,
    texts_name,
    view_name,
    without_parts,
)
from reports.map.published import Regime, find_regimes
from reports.map.regime_charts import METHODS
from reports.map.regime_points import MapPoint
from reports.page.figure import Chart, Choice, View
from reports.page.sections import Section
from reports.wording import (
    capital,
    listing,
    number,
    percent,
    plural,
)
from sim.search.regimes import Cell, Part, RegimeMap, Where
from sim.search.regimes import View as MapView

PUBLISHED_IN = ("at-once", "threads", "in-turn", "best")  # where the published methods ran, or the next best


def published_view(found: RegimeMap) -> MapView:
    """The view that is nearest to how the published methods ran: greedy, each model on a device of its own."""
    placement: Where = next(p for p in PUBLISHED_IN if p in found.placements)
    return found.view(placement, found.temperatures[0], helpers=False)


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
