"""Tables for a terminal: what a reader has to know is said once."""

from reports.tables import _gathered


def test_notes_that_differ_in_counts_alone_are_told_once() -> None:
    notes = ["extrapolated: 1 forward of 20", "stated", "extrapolated: 3 forward of 21", "stated"]
    assert list(_gathered(notes)) == ["extrapolated: 1 forward of 20 (one of 2 alike)", "stated"]
    assert list(_gathered([])) == []
