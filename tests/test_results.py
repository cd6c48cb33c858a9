"""Tables of outcomes come back as they were, and merge without losing or doubling a row."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from engine.errors import SpecBranchError
from sim.results import COLUMNS, KEY, Row, merge, read_table, row_key, write_table

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
