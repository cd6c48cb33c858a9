"""The section of the settling test shows each comparison beside what was published."""

import json
from dataclasses import replace

import pytest
from verifications import verification

from reports.page.settlement_page import settlement
from reports.verify.settle import HALF, PUBLISHED, settle, summary

FOUND = settle(verification(settling=True))
assert FOUND
SECTION = settlement(FOUND)


def test_every_claim_is_a_row_and_a_mark() -> None:
    assert FOUND
    (table,) = SECTION.tables
    assert [row[5] for row in table.rows] == [c.outcome for c in FOUND.claims]
    figure = SECTION.charts[0].views[""].figure
    marks = {y: (x, t["name"]) for t in figure["data"] for x, y in zip(t["x"], t["y"], strict=True)}
    assert [marks[i][1] for i in range(len(FOUND.claims))] == [c.outcome for c in FOUND.claims]
    assert [marks[i][0] for i in range(len(FOUND.claims))] == pytest.approx(
        [c.figure.value for c in FOUND.claims]
    )


def test_the_published_ranges_stand_under_the_marks() -> None:
    assert FOUND
    spans = [(s["x0"], s["x1"]) for s in SECTION.charts[0].views[""].figure["layout"]["shapes"]]
    for span, claim in zip(spans, FOUND.claims, strict=True):
        if claim.claim == "a":
            assert span == PUBLISHED
        if claim.claim == "b":
            assert span[0] == 1.0
        if claim.claim == "c":
            assert span == (0.0, HALF)


def test_a_ratio_to_nothing_is_a_row_without_a_mark() -> None:
    v = verification(settling=True)
    compared = []
    for c in v.compared:
        samples = [
            s.model_copy(
                update={"run": replace(s.run, rounds=tuple(replace(r, rollback=0) for r in s.run.rounds))}
            )
            for s in c.samples
        ]
        update = {"samples": tuple(samples)} if c.configuration.policy == "pearl" else {}
        compared.append(c.model_copy(update=update))
    found = settle(v.model_copy(update={"compared": tuple(compared)}))
    assert found
    section = settlement(found)
    figure = json.dumps(section.charts[0].views[""].figure, allow_nan=False)
    assert len(section.tables[0].rows) == len(found.claims)
    assert sum(len(t["x"]) for t in json.loads(figure)["data"]) == len(found.claims) - 2


def test_the_finding_answers_each_claim() -> None:
    assert FOUND
    assert SECTION.finding.startswith(summary(FOUND))
    assert all(f"({letter}) " in SECTION.finding for letter in "abc")
