"""Tables for a terminal: what a reader has to know is said once."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from verifications import verification

from engine.naming import in_words
from reports.compare.compare_tables import print_comparisons
from reports.compare.pairing import compare
from reports.page.conditions import conditions
from reports.settlement_table import print_settlement
from reports.tables import (
    WIDE,
    WIDTH,
    _gathered,
    print_fidelity,
    print_outcomes,
    verified_summary,
    verified_table,
)
from reports.verify.fidelity import judge
from reports.verify.settle import Settlement, settle
from scenarios.schema import load_scenarios
from scenarios.shipped import find_scenario
from sim.sweeps.run import run_scenario


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


def test_both_parts_of_a_pace_are_shown_and_what_was_not_timed_is_not() -> None:
    """30 ms beyond a step now, where it was 20.1."""
    alone = tuple(one.model_copy(update={"prompts_now": (), "dearer": 1.0}) for one in verification().pace)
    for record, *said in (
        (verification(), "1.49 (1.48 to 1.51)", "1.49"),
        (verification().model_copy(update={"pace": alone}), "not told", "1.00"),
    ):
        (pace,) = [t for t in conditions(record, None).tables if t.title.startswith("The machine's pace")]
        assert pace.columns[-2] == "further rows, its own ratio (95%)"
        assert {row[-2:] for row in pace.rows} == {tuple(said)}


def printed(print_to: Callable[[Console], object], width: int) -> list[str]:
    text = io.StringIO()
    print_to(Console(width=width, file=text, force_terminal=False))
    return text.getvalue().splitlines()


def first_cells(lines: list[str]) -> list[str]:
    """The first column's cells, each put together from its lines: one begins where the second has no word alone."""
    joined: list[str] = []
    for line in lines:
        if line.startswith("│"):
            first, second, *_ = (cell.strip() for cell in line.strip("│").split("│"))
            if second and " to " not in second and "no interval" not in second:
                joined.append(first)
            else:
                joined[-1] = f"{joined[-1]} {first}".strip()
    return joined


RECORD = verification()
SETTLED = cast(Settlement, settle(verification(settling=True)))
COMPARED = compare([RECORD, RECORD], ["before.json", "after.json"])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    "print_to",
    [
        lambda out, wide: out.print(verified_table(RECORD, wide)),
        lambda out, wide: print_comparisons(out, COMPARED, wide),
        lambda out, wide: print_fidelity(out, judge(RECORD), RECORD, wide),
        lambda out, wide: print_settlement(out, SETTLED),
    ],
)
def test_tables_fit_their_width_and_nothing_is_cut(
    print_to: Callable[[Console, bool], object], wide: bool
) -> None:
    width = WIDE if wide else WIDTH
    lines = printed(lambda out: print_to(out, wide), width)
    assert max(map(len, lines)) <= width
    assert "\u2026" not in "".join(lines)


def test_a_verification_shows_first_what_decides_and_the_rest_where_asked() -> None:
    narrow = printed(lambda out: out.print(verified_table(RECORD)), WIDTH)
    ranked = sorted(RECORD.compared, key=lambda c: -c.measured.speed.value)
    assert first_cells(narrow) == [in_words(c.configuration) for c in ranked]
    for c in ranked:
        sides = [f"{side.speed.value:,.1f}" for side in (c.predicted, c.measured)]
        (row,) = [line for line in narrow if all(f" {value} " in line for value in sides)]
        assert f"{c.error:+.1%}" in row
        assert ("inside" in row) == (abs(c.error) <= RECORD.tolerance.tail_error)
        assert ("outside" in row) != ("inside" in row)
    wide = "\n".join(printed(lambda out: out.print(verified_table(RECORD, wide=True)), WIDE))
    for word in ("role", "calibrated", "replayed", "speed-up", "rollback"):
        assert word in wide
        assert word not in "\n".join(narrow)


def test_a_name_is_no_markup() -> None:
    row = next(c for c in RECORD.compared if c.configuration.draft)
    named = row.configuration.model_copy(update={"draft": "[bold]mine[/]" + 50 * "x"})
    record = RECORD.model_copy(update={"compared": (row.model_copy(update={"configuration": named}),)})
    lines = printed(lambda out: out.print(verified_table(record)), WIDTH)
    assert "".join(first_cells(lines)).count("x") >= 50  # a long one is folded, not cut
    assert "[bold]mine[/]" in "\n".join(lines)


def test_a_simulated_table_is_in_parts_by_what_if(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    text = find_scenario(Path("stated-costs")).read_text()
    file.write_text(f"{text}what_if: {{draft_speed: [1, 2]}}\n")
    scenario = load_scenarios(file)[0]
    outcomes = list(run_scenario(scenario, None))
    lines = printed(lambda out: print_outcomes(out, scenario, None, outcomes), WIDTH)
    cells = [line.strip("│").split("│")[0].strip() for line in lines if line.startswith("│")]
    first, second = cells.index("nothing changed"), cells.index("draft x2")
    assert first == 0
    assert cells[first + 1 : second] == cells[second + 1 :]
    assert sum(line.startswith("├") for line in lines) == 1


def test_a_simulated_table_fits() -> None:
    scenario = load_scenarios(find_scenario(Path("stated-costs")))[0]
    outcomes = list(run_scenario(scenario, None))
    for wide in (False, True):
        width = WIDE if wide else WIDTH
        lines = printed(
            lambda out, wide=wide: print_outcomes(out, scenario, None, outcomes, wide),  # type: ignore[misc]
            width,
        )
        assert max(map(len, lines)) <= width
        assert "\u2026" not in "".join(lines)
        assert ("target idle" in "\n".join(lines)) == wide


def test_each_comparison_of_a_settling_test_is_a_row_and_each_claim_a_sentence() -> None:
    lines = printed(lambda out: print_settlement(out, SETTLED), WIDE)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[-1] for row in rows] == [claim.outcome for claim in SETTLED.claims]
    assert [row[1] for row in rows] == [claim.draft for claim in SETTLED.claims]
    assert [line[:3] for line in lines if line.startswith("(")] == ["(a)", "(b)", "(c)"]
