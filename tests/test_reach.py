"""Predictions whose texts reach much farther than their costs were measured are marked, wherever they are shown."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import hypothesis.strategies as st
import pytest
from artifacts import artifact
from hypothesis import given, settings
from rich.console import Console
from verifications import verification

from calibrate.artifact import Artifact
from calibrate.cost_records import Cell, PlacementCosts
from engine.configuration import Configuration
from reports.compare.compare_page import render as render_comparison
from reports.compare.compare_tables import print_comparisons
from reports.compare.pairing import compare
from reports.page.report import render
from reports.tables import WIDTH, print_outcomes, print_tuned, verified_summary, verified_table
from reports.verify.verification import Verification, load_verification, save_verification
from scenarios.schema import Scenario
from sim.search.grid import Grid
from sim.search.tune import tune
from sim.search.tuned import TunedConfiguration, load_tuned, save_tuned
from sim.sweeps.results import merge, read_table, row_of, rows_of, write_table
from sim.sweeps.run import run_scenario
from sim.world.reach import FAR, MARK, MEANING, is_far, measured_context
from sim.world.replay import Replay

LONG = artifact(prompts=2, tokens=24, prompt_tokens=600)  # behind 384 tokens at most, texts of 624 and 625
SHORT = artifact(prompts=2, tokens=24)
SCENARIO = Scenario.model_validate(
    {"title": "t", "configurations": [{"policy": "autoregressive"}, {"policy": "pearl", "draft": "int8"}]}
)
GRID = Grid(policies=("autoregressive", "speculative"), drafts=("int8",), draft_lengths=(2,))


def shown(print_it: object, *arguments: object, width: int = 200) -> str:
    out = Console(file=StringIO(), width=width)
    print_it(out, *arguments)  # type: ignore[operator]
    return str(out.file.getvalue())  # type: ignore[attr-defined]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_far_is_beyond_by_more_than_half(context: int, measured: int) -> None:
    assert is_far(context, measured) is (2 * context > 3 * measured)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 700), st.sampled_from(["autoregressive", "speculative", "specbranch"]))
def test_a_replay_is_far_by_its_longest_text(tokens: int, policy: str) -> None:
    made = artifact(prompts=2, tokens=4, prompt_tokens=tokens)
    replay, configuration = Replay(made), Configuration(policy=policy, draft="int8")
    assert replay.longest_text == max(len(trace.prompt) + len(trace.path) for trace in made.traces)
    assert replay.measured_context(configuration) == 384
    assert replay.is_far(configuration) is (replay.longest_text > FAR * 384)
    assert bool(replay.far_notes(configuration)) is replay.is_far(configuration)


def test_what_was_measured_least_far_counts() -> None:
    """Of target, draft forwards and branches, and of the draft that is used alone."""

    def without(costs: tuple[Cell, ...], beyond: int) -> tuple[Cell, ...]:
        return tuple(cell for cell in costs if cell.cache_tokens <= beyond)

    costs: PlacementCosts = SHORT.costs.placements[0]
    int8 = costs.drafts["int8"].model_copy(update={"branch": without(costs.drafts["int8"].branch, 32)})
    short = costs.model_copy(update={"drafts": {**costs.drafts, "int8": int8}})
    assert [measured_context(short, draft) for draft in (None, "int4", "int8")] == [384, 384, 32]
    assert measured_context(costs.model_copy(update={"target": without(costs.target, 0)}), "int4") == 0


def test_a_text_that_is_cut_short_reaches_less_far() -> None:
    long = artifact(prompts=1, tokens=600)
    assert Replay(long).is_far(Configuration(policy="autoregressive"))
    assert not Replay(long, tokens=300).is_far(Configuration(policy="autoregressive"))


@pytest.mark.parametrize(("made", "far"), [(SHORT, False), (LONG, True)])
def test_simulated_and_tuned(made: Artifact, far: bool, tmp_path: Path) -> None:
    outcomes = list(run_scenario(SCENARIO, made))
    assert [outcome.far_context for outcome in outcomes] == [far, far]
    assert any("--context 625" in note for note in outcomes[0].notes) is far
    printed = shown(print_outcomes, SCENARIO, made, outcomes)
    assert (printed.count(MARK) >= 3 and MEANING in printed) if far else MARK not in printed

    found = tune(made, GRID, jobs=1)
    assert {scored.far_context for scored in found.scored} == {far}
    printed = shown(print_tuned, found)
    assert max(map(len, shown(print_tuned, found, width=WIDTH).splitlines())) <= WIDTH
    assert "\u2026" not in shown(print_tuned, found, width=WIDTH)
    assert (printed.count(MARK) >= 3 and MEANING in printed) if far else MARK not in printed
    tuned = TunedConfiguration.of(found, tmp_path, made.digest)
    save_tuned(tmp_path / "tuned.yaml", tuned)
    loaded = load_tuned(tmp_path / "tuned.yaml")
    assert {predicted.far_context for predicted in loaded.predicted} == {far}
    assert loaded.notes == found.notes

    table = tmp_path / "t.csv"
    rows = [row_of("a", SCENARIO, outcome) for outcome in outcomes] + list(rows_of("a", found))
    write_table(table, merge([rows]))
    assert {row["far_context"] for row in read_table(table)} == {float(far)}


def test_a_table_without_the_mark_is_read_and_merged(tmp_path: Path) -> None:
    """As it was written before there was one: its rows are the same, and what is not known is not made up."""
    new = merge([[row_of("a", SCENARIO, outcome) for outcome in run_scenario(SCENARIO, LONG)]])
    old = tmp_path / "old.csv"
    with old.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, [name for name in new[0] if name != "far_context"], extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows(new)
    read = read_table(old)
    assert all(row["far_context"] != row["far_context"] for row in read)
    assert merge([read, new]) == merge([new, read]) == new
    write_table(old, read)
    assert merge([read_table(old), new]) == new


def far_record() -> Verification:
    made = verification()
    compared = tuple(c.model_copy(update={"far_context": True}) for c in made.compared)
    return made.model_copy(update={"compared": compared})


def test_verified_and_compared(tmp_path: Path) -> None:
    near, far = verification(), far_record()
    save_verification(tmp_path / "v.json", far)
    assert load_verification(tmp_path / "v.json") == far
    assert json.loads((tmp_path / "v.json").read_text())["compared"][0]["far_context"] is True
    for record, marked in ((near, False), (far, True)):
        table = shown(Console.print, verified_table(record))
        assert table.count(MARK) == (len(record.compared) if marked else 0)
        assert (MEANING in verified_summary(record)) is marked
        assert (MEANING in render(record)) is marked
        comparison = compare([near, record], ["a", "b"])
        assert (MEANING in shown(print_comparisons, comparison)) is marked
        assert (MARK in render_comparison(comparison)) is marked


def test_replays_of_a_verification_carry_the_mark() -> None:
    """What `verify` simulates beside what it runs."""
    from reports.verify.what_if_runs import overheads, sweep

    for made, far in ((SHORT, False), (LONG, True)):
        int8 = {"int8": made.recorded.drafts["int8"]}
        small = replace(made, recorded=made.recorded.model_copy(update={"drafts": int8}))
        assert {p.far_context for p in overheads(small, SCENARIO.configurations)} == {far}
        assert {p.far_context for p in sweep(small)} == {far}
