"""The published claims on several pairs: in which region of ratio and alignment each holds, where not, and why.

    findings(settled(load_verification(path), points_of(...), open_replay(path)))

A region is stated where it tells the rows (`reports.map.settled_rows`) of one outcome from all others, by the numbers
that are shown; else they are listed. The reasons are what the records hold: how SpecBranch's gain changes where the
simulator leaves overheads, contention or rollback out, what both models' devices do for autoregressive decoding, and
what was rolled back. Torch-free.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from engine.metrics import Estimate
from engine.naming import method_name
from reports.map.settled_rows import Row
from reports.verify.settle import RIVALS, Claim, ClaimOutcome, decide, fell
from reports.wording import listing, number, percent, plural
from sim.search.regimes import PARTS

LISTED = 3  # places that are named one by one, at most


@dataclass(frozen=True)
class Question:
    """A published claim, or a part of one that is answered by itself."""

    letter: Literal["a", "b", "c"]
    rival: str | None  # none: over all that it is compared with
    stated: str

    def comparisons(self, row: Row) -> list[Claim]:
        """Its comparisons in a row; none where it is not of this draft."""
        mine = [c for c in row.claims if c.claim == self.letter]
        return [c for c in mine if self.rival is None or c.rival_policy == self.rival]

    def outcome(self, row: Row) -> ClaimOutcome | None:
        """How it fell there, if it was asked."""
        mine = self.comparisons(row)
        return fell([c.outcome for c in mine]) if mine else None


CLAIMS = (
    Question("a", None, "a speed-up of 1.8 to 4.5 times over autoregressive decoding"),
    *(Question("b", rival, f"SpecBranch is faster than {method_name(rival)}") for rival in reversed(RIVALS)),
    Question("c", None, "rollback is halved for a poorly aligned draft"),
)


def findings(rows: Sequence[Row]) -> list[str]:
    """A finding for each claim; none where nothing was settled."""
    return [finding(claim, rows) for claim in CLAIMS] if rows else []


def finding(claim: Question, rows: Sequence[Row]) -> str:
    """Where a claim holds, where not, and why."""
    asked = [row for row in rows if claim.outcome(row)]
    by_outcome = {o: [r for r in asked if claim.outcome(r) == o] for o in ("for", "against", "undecided")}
    held, broken, left = by_outcome["for"], by_outcome["against"], by_outcome["undecided"]
    total = len(asked)
    said = [f"({claim.letter}) {claim.stated}:"]
    if not asked:
        return f"{said[0]} no settlement asks it."
    if held and len(held) < total:
        said.append(f"holds at {len(held)} of {total}, {_where(held, [*broken, *left])};")
    else:
        reached = _reached(asked)
        said.append(f"holds at {'all' if held else 'none'} of {plural(total, 'place')}, {reached};")
    if broken and len(broken) < total:
        said.append(f"does not at {len(broken)}, {_where(broken, [*held, *left])}{_beyond(claim, broken)};")
    elif broken:
        said[-1] = said[-1].removesuffix(";") + f"{_beyond(claim, broken)};"
    if left:
        where = f", {_where(left, [*held, *broken])}" if len(left) < total else ""
        said.append(f"undecided at {len(left)}{where};")
    opening = " ".join(said).removesuffix(";") + "."
    return " ".join([opening, *_reasons(claim, held, broken, left)])


def _beyond(claim: Question, broken: Sequence[Row]) -> str:
    """That a figure is over the published range, which is no failure to reach it."""
    above = sum(_is_above(claim, row) for row in broken)
    return f" (at {above} of these it is more)" if above else ""


def _is_above(claim: Question, row: Row) -> bool:
    return claim.letter == "a" and any(
        c.most is not None and c.outcome == "against" and c.figure.low > c.most
        for c in claim.comparisons(row)
    )


# Where rows lie.


@dataclass(frozen=True)
class _Place:
    """As it is shown."""

    ratio: float
    alignment: float
    temperature: float


def _place(row: Row) -> _Place:
    return _Place(round(row.ratio.value, 1), round(row.alignment.value, 2), row.temperature)


_Region = tuple[tuple[str, ...], Callable[[_Place], bool]]


def region(mine: Sequence[Row], others: Sequence[Row]) -> str | None:
    """Where `mine` lie and none of the others does, in words, by one condition or two; none if these do not tell."""
    places, rest = [_place(r) for r in mine], [_place(r) for r in others]
    if not all(isfinite(x) for p in (*places, *rest) for x in (p.ratio, p.alignment)):
        return None
    found = list(_conditions(places, rest))
    for count in (1, 2):
        for some in itertools.combinations(found, count):
            if not any(all(holds(p) for _, holds in some) for p in rest):
                return _in_words([words for words, _ in some])
    return None


def _conditions(places: Sequence[_Place], rest: Sequence[_Place]) -> Iterator[_Region]:
    """Bounds on ratio and alignment that all `places` keep, and their temperature if it is one."""
    ratios, shares = [p.ratio for p in places], [p.alignment for p in places]
    yield ("ratio", "from", number(min(ratios))), lambda p: p.ratio >= min(ratios)
    yield ("ratio", "to", number(max(ratios))), lambda p: p.ratio <= max(ratios)
    yield ("alignment", "from", percent(min(shares), 0)), lambda p: p.alignment >= min(shares)
    yield ("alignment", "to", percent(max(shares), 0)), lambda p: p.alignment <= max(shares)
    temperatures = {p.temperature for p in places}
    if len(temperatures) == 1:
        (one,) = temperatures
        yield ("temperature", "", _texts(one)), lambda p: p.temperature == one


def _in_words(conditions: Sequence[tuple[str, ...]]) -> str:
    bounds: dict[str, dict[str, str]] = {}
    for axis, end, value in conditions:
        bounds.setdefault(axis, {})[end] = value
    said = []
    for axis, known in bounds.items():
        low, high = known.get("from"), known.get("to")
        if axis == "temperature":
            said.append(f"texts are {known['']}")
        elif axis == "ratio":
            span = f"{low} to {high}" if low and high else f"{low} or more" if low else f"{high} or fewer"
            said.append(f"a target step costs {span} draft steps")
        else:
            span = f"{low} to {high}" if low and high else f"{low} or more" if low else f"{high} or less"
            said.append(f"the draft is right at {span} of the positions")
    return "where " + listing(said)


def _texts(temperature: float) -> str:
    return f"drawn at temperature {temperature:g}" if temperature else "greedy"


def _where(mine: Sequence[Row], others: Sequence[Row]) -> str:
    """Where they lie: by one region, by one for each draft, or place by place."""
    if len(mine) > 1 and (found := region(mine, others) or _by_draft(mine, others)):
        return found
    if len(mine) <= LISTED:
        return "namely " + listing([_named(row) for row in mine])
    return (
        "which no bound or two on ratio, alignment and temperature tell from the others (the table has them)"
    )


def _by_draft(mine: Sequence[Row], others: Sequence[Row]) -> str | None:
    """A region for each draft that has any of `mine`; none if one of them has none."""
    said = []
    for draft in dict.fromkeys(r.draft for r in mine):
        here, rest = ([r for r in rows if r.draft == draft] for rows in (mine, others))
        found = region(here, rest) if rest else "everywhere"
        if found is None:
            return None
        share = _span([r.alignment.value for r in (*here, *rest)], lambda x: percent(x, 0))
        said.append(f"with {draft} (right at {share}) {found}")
    return listing(said)


def _named(row: Row) -> str:
    return (
        f"ratio {number(row.ratio.value)} and alignment {percent(row.alignment.value, 0)} "
        f"({row.draft}, {_texts(row.temperature)})"
    )


def _reached(rows: Sequence[Row]) -> str:
    """Between which places anything is said."""
    ratios, shares = [r.ratio.value for r in rows], [r.alignment.value for r in rows]
    return f"at ratios of {_span(ratios)} and alignments of {_span(shares, lambda x: percent(x, 0))}"


def _span(values: Sequence[float], write: Callable[[float], str] = number) -> str:
    known = sorted(v for v in values if isfinite(v))
    ends = list(dict.fromkeys(write(v) for v in (known[0], known[-1]))) if known else ["—"]
    return " to ".join(ends)


# Why.


def _reasons(
    claim: Question, held: Sequence[Row], broken: Sequence[Row], left: Sequence[Row]
) -> Iterator[str]:
    """What the records say of the rows of each outcome, and what would make the claim hold where it does not."""
    short = [r for r in broken if not _is_above(claim, r)]
    sides = [
        (words, rows)
        for words, rows in (
            ("where it does not hold", short),
            ("where it holds", held),
            ("where it is undecided", [] if short or held else left),
        )
        if rows
    ]
    if not sides:
        return
    (words, _), *second = sides
    beside = f" (in brackets {second[0][0]})" if second else ""
    facts = [_facts(claim, some) for _, some in sides]
    said = [_phrase(what, [f[what] for f in facts if what in f]) for what in facts[0]]
    yield f"{words[0].upper()}{words[1:]}{beside}: {'; '.join(said)}."
    if short and (remedies := _remedies(claim, short)):
        yield f"By these, of the {len(short)} it would hold at {remedies}."


def _phrase(what: str, values: Sequence[str]) -> str:
    """A fact with its value, and in brackets that of the other side."""
    first, *rest = values
    return what.format(first + "".join(f" ({value})" for value in rest))


def _facts(claim: Question, rows: Sequence[Row]) -> dict[str, str]:
    """What SpecBranch's gain lacks by each part, and what is drafted and rolled back: phrases and their values."""
    said: dict[str, str] = {}
    if claim.letter != "c":
        rival = claim.rival or "autoregressive"
        for part in PARTS:
            if factors := [f for r in rows if (f := r.without[rival].get(part))]:
                phrase = (
                    f"without {part} {{}} times"
                    if said
                    else f"without {part} the simulated gain is {{}} times as large"
                )
                said[phrase] = _span(factors, _factor)
    if claim.letter == "a":
        both = [r.both_devices for r in rows]
        said["autoregressive decoding at its best is {} times as fast as where SpecBranch's target runs"] = (
            _span(both, _factor)
        )
        return said
    for policy in ("specbranch", *([claim.rival] if claim.rival else reversed(RIVALS))):
        mine, name = [r.methods[policy] for r in rows], method_name(policy)
        said[f"{name} drafts {{}} tokens a line"] = _span([m.draft_length for m in mine], lambda x: f"{x:g}")
        said[f"{name} rolls {{}} back for each token of text"] = _span([m.rollback for m in mine], _factor)
    if claim.letter == "b":
        hedged = [r.methods["specbranch"].hedged for r in rows]
        said["{} of what SpecBranch drafts is on branches that are not followed"] = _span(
            hedged, lambda x: percent(x, 0)
        )
    return said


def _factor(value: float) -> str:
    return number(value, 2)


def _remedies(claim: Question, rows: Sequence[Row]) -> str:
    """At how many of the rows the claim would hold without each part; nothing where that is not known."""
    if claim.letter == "c":
        return ""
    rival = claim.rival or "autoregressive"
    counts: list[tuple[str, list[bool]]] = [
        (f"without {part}", [_would_hold(claim, r, f) for r in rows if (f := r.without[rival].get(part))])
        for part in PARTS
    ]
    if claim.letter == "a":
        counts.append(
            (
                "if autoregressive decoding ran where SpecBranch's target does",
                [_would_hold(claim, r, r.both_devices) for r in rows],
            )
        )
    said = [f"{sum(holds) or 'none'} {words}" for words, holds in counts if holds]
    return listing(said) if said else ""


def _would_hold(claim: Question, row: Row, factor: float) -> bool:
    """Whether the interval of every comparison would be in its range, were the figure so many times as large."""
    scaled = [
        decide(
            Estimate(*(factor * x for x in (c.figure.value, c.figure.low, c.figure.high))), c.least, c.most
        )
        for c in claim.comparisons(row)
    ]
    return fell(scaled) == "for"
