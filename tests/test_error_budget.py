"""The parts of an error, on records whose every part is known because the "measured" runs were simulated."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from artifacts import artifact
from hypothesis import given
from hypothesis import settings as effort
from replayed_records import ELSEWHERE, HERE, record, scaled, side

from engine.errors import CalibrationError
from reports.page.error_budget_page import error_budget, finding
from reports.verify.error_budget import ErrorBudget, split_error
from reports.verify.verification import Compared, Sample


def parts_sum_to_the_error(budget: ErrorBudget) -> bool:
    return all(
        sum(row.parts.model_dump().values()) == pytest.approx(row.error, abs=1e-12)
        for row in budget.rows
        if row.parts
    )


def test_where_the_simulator_is_right_no_part_is_left() -> None:
    budget = split_error(record(HERE, HERE, repeats=2), HERE)
    for row in budget.rows:
        assert row.parts is not None
        assert (row.matched, row.runs) == (6, 6)
        assert list(row.parts.model_dump().values()) == pytest.approx([0.0] * 4, abs=1e-9)
    assert "All 24 runs" in finding(budget)


@effort(max_examples=5, deadline=None)
@given(st.floats(0.7, 1.5))
def test_slower_costs_are_an_error_of_timing(factor: float) -> None:
    """Of exactly the tokens/s that are lost where everything takes as many times as long, whatever the texts."""
    model = scaled(HERE, factor)
    budget = split_error(record(HERE, scaled(ELSEWHERE, factor)), model)
    for row in budget.rows:
        assert row.parts is not None
        assert row.parts.scheduling == pytest.approx(0.0, abs=1e-9)
        assert row.parts.timing == pytest.approx(1.0 / factor - 1.0, abs=1e-9)
    assert parts_sum_to_the_error(budget)


def test_other_texts_are_an_error_of_acceptance() -> None:
    budget = split_error(record(HERE, ELSEWHERE), HERE)
    errors = [row.error for row in budget.rows]
    assert max(map(abs, errors)) > 0.01
    assert [row.parts.acceptance for row in budget.rows if row.parts] == pytest.approx(errors, abs=1e-9)


def test_time_without_a_job_is_an_error_of_scheduling() -> None:
    """A generation that begins its first job late by a tenth of its seconds is predicted too fast by a tenth."""
    v = record(HERE, HERE)

    def late(one: Sample) -> Sample:
        by = 0.1 * one.run.seconds
        jobs = tuple(replace(j, start=j.start + by, end=j.end + by) for j in one.run.jobs)
        return one.model_copy(update={"run": replace(one.run, jobs=jobs, seconds=one.run.seconds + by)})

    def all_late(c: Compared) -> Compared:
        samples = tuple(map(late, c.samples))
        return c.model_copy(update={"samples": samples, "measured": side([s.run for s in samples])})

    budget = split_error(v.model_copy(update={"compared": tuple(map(all_late, v.compared))}), HERE)
    for row in budget.rows:
        assert row.parts is not None
        assert list(row.parts.model_dump().values()) == pytest.approx([0.1, 0.0, 0.0, 0.0], abs=1e-9)


def test_runs_that_went_another_way_are_a_part_of_their_own() -> None:
    v = record(HERE, HERE)
    first, *rest = v.compared[2].samples
    strayed = replace(first.run, tokens=(*first.run.tokens[:-1], -7), seconds=99.0)
    changed = v.compared[2].model_copy(update={"samples": (first.model_copy(update={"run": strayed}), *rest)})
    compared = (*v.compared[:2], changed, *v.compared[3:])
    budget = split_error(v.model_copy(update={"compared": compared}), HERE)
    row = budget.rows[2]
    assert row.parts is not None
    assert (row.matched, row.runs) == (2, 3)
    assert row.parts.scheduling == pytest.approx(0.0, abs=1e-9)
    # The very same prompts are those of the calibration, so the long run alone is what the error is of.
    assert row.parts.acceptance == pytest.approx(0.0, abs=1e-9)
    assert row.parts.unmatched == pytest.approx(row.error, abs=1e-9)
    assert "11 of 12 runs" in finding(budget)


def test_nothing_is_said_where_no_run_matched() -> None:
    v = record(HERE, HERE)
    other = artifact(prompts=3, tokens=24, seed=9, jitter=False)
    budget = split_error(v, other)
    assert [row.parts for row in budget.rows] == [None] * 4
    assert budget.medians is None
    assert "none of 12 runs" in finding(budget)
    assert error_budget(budget).tables[0].rows[0][-1] == "0 of 3"
    with pytest.raises(CalibrationError, match="other prompts"):
        split_error(v, ELSEWHERE)
