"""Tables of outcomes come back as they were, and merge without losing or doubling a row."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from engine.errors import SpecBranchError
from scenarios.schema import Scenario
from sim.sweeps.results import COLUMNS, KEY, Row, key_of, merge, read_table, row_key, row_of, write_table
from sim.sweeps.run import run_scenario

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


def row(key: str, speed: float) -> Row:
    return {c: key if c in (*KEY, "label") else speed for c in COLUMNS}


ROWS = st.lists(
    st.builds(row, WORDS, st.floats(0, 1e6)), max_size=8, unique_by=lambda r: str(r["configuration"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS)
def test_a_table_comes_back_as_it_was(tmp_path: Path, rows: list[Row]) -> None:
    write_table(tmp_path / "t.csv", rows)
    assert read_table(tmp_path / "t.csv") == rows


@given(ROWS, st.integers(0, 8))
def test_merging_parts_gives_the_whole(rows: list[Row], cut: int) -> None:
    whole = merge([rows])
    assert merge([rows[cut:], rows[:cut]]) == whole
    assert merge([rows, rows[:cut]]) == whole
    assert [row_key(r) for r in whole] == sorted(row_key(r) for r in rows)


def test_rows_that_disagree_are_refused() -> None:
    with pytest.raises(SpecBranchError, match="disagree"):
        merge([[row("a", 1.0)], [row("a", 2.0)]])


def test_another_table_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,price\nbread,2\n")
    with pytest.raises(SpecBranchError, match="no table of simulated outcomes"):
        read_table(tmp_path / "t.csv")


def test_no_file_is_an_empty_table(tmp_path: Path) -> None:
    assert read_table(tmp_path / "none.csv") == []


STATED = {
    "title": "stated",
    "acceptance": {"independent": 0.7},
    "costs": {"draft_step_ms": 5, "target_forward_ms": 40},
    "workload": {"prompts": 2, "tokens": 10},
    "configurations": [{"policy": "speculative"}],
}
OTHERS = [
    STATED,
    STATED | {"acceptance": {"independent": 0.6}},
    STATED | {"costs": {"draft_step_ms": 6, "target_forward_ms": 40}},
    STATED | {"workload": {"prompts": 2, "tokens": 11}},
]


def test_scenarios_that_state_other_things_have_rows_of_their_own() -> None:
    scenarios = [Scenario.model_validate(other) for other in OTHERS]
    tables = [[row_of("", scenario, outcome) for outcome in run_scenario(scenario)] for scenario in scenarios]
    assert len(merge(tables)) == len(OTHERS)
    for scenario, (found,) in zip(scenarios, tables, strict=True):
        assert row_key(found) == key_of("", scenario, scenario.what_if[0], scenario.configurations[0])
        # A title is only for the reader.
        renamed = scenario.model_copy(update={"title": "another"})
        assert row_key(found) == key_of("", renamed, scenario.what_if[0], scenario.configurations[0])
