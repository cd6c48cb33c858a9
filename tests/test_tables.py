"""Tables for a terminal: what a reader has to know is said once."""

from verifications import verification

from reports.conditions import conditions
from reports.tables import _gathered, verified_summary


def test_notes_that_differ_in_counts_alone_are_told_once() -> None:
    notes = ["extrapolated: 1 forward of 20", "stated", "extrapolated: 3 forward of 21", "stated"]
    assert list(_gathered(notes)) == ["extrapolated: 1 forward of 20 (one of 2 alike)", "stated"]
    assert list(_gathered([])) == []


def test_what_the_choice_was_made_from_is_said() -> None:
    free = verification()
    bound = free.model_copy(update={"system": "vllm"})
    for record, said in ((free, "all methods here"), (bound, "what vLLM runs")):
        assert f", of {said}) ran " in verified_summary(record)
        rows = [row for table in conditions(record, None).tables for row in table.rows]
        assert ("chosen from", said) in rows
