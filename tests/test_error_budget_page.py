"""The budget as a section of the page."""

import pytest
from replayed_records import CONFIGURATIONS, ELSEWHERE, HERE, record, scaled

from reports.page.error_budget_page import error_budget
from reports.verify.error_budget import ErrorBudget, split_error


def test_the_section_shows_every_part() -> None:
    budget = split_error(record(HERE, scaled(ELSEWHERE, 1.1)), scaled(HERE, 1.1))
    section = error_budget(budget)
    (chart,) = section.charts
    *bars, whole = chart.views[""].figure["data"]
    assert [bar["name"] for bar in bars] == ["scheduling", "timing", "acceptance", "unmatched"]
    for place, x in enumerate(whole["x"]):
        assert sum(bar["x"][place] for bar in bars) == pytest.approx(x)
    assert len(section.tables[0].rows) == len(CONFIGURATIONS)
    assert ErrorBudget.model_validate_json(budget.model_dump_json()) == budget
