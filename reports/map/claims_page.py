"""The map's section on the published claims: where each holds, where not and why, and every settlement in a table."""

import json
from collections.abc import Sequence
from typing import Any

from engine.naming import method_name
from reports.map.claims import CLAIMS, findings
from reports.map.settled_rows import Row
from reports.page.sections import Section, Table
from reports.verify.settle import RIVALS, Claim
from reports.wording import number, percent, plural, ranged
from sim.search.regimes import PARTS


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """The findings and the rows, as JSON; nothing where nothing was settled."""
    if not rows:
        return {}
    return {"claims": {"findings": findings(rows), "rows": [json.loads(r.model_dump_json()) for r in rows]}}


def claims(rows: Sequence[Row]) -> list[Section]:
    """The section; none where nothing was settled."""
    if not rows:
        return []
    comparisons = [c for row in rows for c in row.claims]
    counts = {o: sum(c.outcome == o for c in comparisons) for o in ("for", "against", "undecided")}
    records = len({row.record for row in rows})
    return [
        Section(
            "claims",
            "The published claims",
            "The published claims: where they hold, where not, and why",
            f"{plural(records, 'settlement')} put them to the test at {plural(len(rows), 'place')}, each of one target "
            f"and one draft: of {plural(len(comparisons), 'comparison')} {counts['for']} are for the claims, "
            f"{counts['against']} against them, and {counts['undecided']} undecided.",
            tables=(_outcomes(rows), _reasons(rows)),
            note="Each method ran at its own best predicted setting and placement, and autoregressive decoding in its "
            "best. An outcome is decided where the whole 95% interval of the measured figure is on one side; claim (c) "
            "is asked of the worse draft alone, and holds if all four of its comparisons do. A range is stated only "
            "where it tells the places of one outcome from all others, undecided ones among them; it says nothing of "
            "what lies between the places. Without: both methods "
            "simulated at the same settings with a part left out, without rollback on the measured texts with every "
            "draft token right. Each alone; they do not add up. "
            "Of so many intervals at 95%, one in twenty misses the true figure by chance.",
            items=tuple(findings(rows)),
        )
    ]


def _outcomes(rows: Sequence[Row]) -> Table:
    """Every figure with its interval and its outcome."""
    head = ("target", "texts", "draft", "ratio", "alignment")
    rates = [(kind, policy) for policy in reversed(RIVALS) for kind in ("tokens", "rate")]
    columns = (
        *head,
        "(a) over autoregressive decoding, 1.8 to 4.5",
        *(f"(b) over {method_name(policy)}, more than 1" for policy in reversed(RIVALS)),
        *(f"(c) rollback {kind} over those of {method_name(policy)}, at most 0.5" for kind, policy in rates),
        "record",
    )
    made = []
    for row in rows:
        a, *b = ([*q.comparisons(row)] for q in CLAIMS[:-1])
        last = CLAIMS[-1].comparisons(row)
        c = [
            [
                one
                for one in last
                if one.rival_policy == policy and ("rate" in one.quantity) == (kind == "rate")
            ]
            for kind, policy in rates
        ]
        made.append(
            (
                row.target,
                f"temperature {row.temperature:g}" if row.temperature else "greedy",
                row.draft,
                number(row.ratio.value),
                percent(row.alignment.value, 0),
                *(_figure(some) for some in (a, *b, *c)),
                row.record,
            )
        )
    return Table("Every settlement", columns, tuple(made), (*head[:3], *columns[5:]), shown=True)


def _figure(some: Sequence[Claim]) -> str:
    """A comparison's figure, interval and outcome."""
    return ", ".join(f"{ranged(c.figure, 2)}: {c.outcome}" for c in some)


def _reasons(rows: Sequence[Row]) -> Table:
    """What the findings' reasons are made of."""
    policies = ("specbranch", *reversed(RIVALS))
    against = ("autoregressive", *reversed(RIVALS))
    parts = [
        (policy, part)
        for policy in against
        for part in PARTS
        if policy == "autoregressive" or part != "rollback"
    ]
    columns = (
        "target",
        "texts",
        "draft",
        *(f"gain over {method_name(policy)} without {part}, times" for policy, part in parts),
        "autoregressive at its best over where SpecBranch's target runs",
        *(f"rollback tokens a token of text, {method_name(policy)}" for policy in policies),
        *(f"draft length, {method_name(policy)}" for policy in policies),
        "drafted on branches not followed",
    )
    made = tuple(
        (
            row.target,
            f"temperature {row.temperature:g}" if row.temperature else "greedy",
            row.draft,
            *(number(row.without[policy].get(part, float("nan")), 2) for policy, part in parts),
            number(row.both_devices, 2),
            *(number(row.methods[policy].rollback, 2) for policy in policies),
            *(f"{row.methods[policy].draft_length}" for policy in policies),
            percent(row.methods["specbranch"].hedged, 0),
        )
        for row in rows
    )
    return Table("What the reasons are taken from", columns, made, columns[:3])
