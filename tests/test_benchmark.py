"""The benchmark on a tiny pair: everybody writes the target's text, and what is written down says so."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import specbranch
from rich.console import Console
from tiny_models import save_tiny

from calibrate.prompts import Prompt
from engine.errors import ConfigurationError, SpecBranchError
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair
from reports.bench.benchmark import bench, count_steps
from reports.bench.benchmark_effort import BenchmarkEffort, Prompts
from reports.bench.benchmark_record import (
    Benchmark,
    aims,
    baseline,
    faster,
    figures,
    load_benchmark,
    rows_of,
)
from reports.bench.benchmark_tables import print_benchmark, tables, write_markdown
from reports.bench.contestants import ENTRIES, MODES
from reports.tables import WIDTH

EFFORT = BenchmarkEffort(
    "tiny",
    first=1,
    more=1,
    kept=2,
    sampled=1,
    trial_tokens=4,
    prompts={"greedy": 3, "sampled": 2},
    tokens={"greedy": 8, "sampled": 6},
    candidates=2,
)
PROMPTS = Prompts(
    tuple(Prompt(f"s{i}", "words", "calibration", f"w{5 + i} w7 w{11 + i}") for i in range(2)),
    tuple(Prompt(f"h{i}", "words", "heldout", f"w{17 + i} w9 w{20 + i} w3") for i in range(3)),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    target = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), seed=0), precision="float32")
    drafts = {
        "int8": target.model_copy(update={"bits": 8}),
        "other": ModelSpec(source=save_tiny(tmp_path_factory.mktemp("other"), seed=5), precision="float32"),
    }
    with Pair(target, drafts, cores=(0, 1)) as pair:
        yield pair


class Interrupted(Exception):
    """As if the user had pressed Ctrl-C."""


@pytest.fixture(scope="module")
def benchmark(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """Interrupted in the middle, and resumed."""
    out = tmp_path_factory.mktemp("runs") / "bench.json"
    steps: list[str] = []

    def stop(what: str) -> None:
        steps.append(what)
        if len(steps) == 60:
            raise Interrupted

    with pytest.raises(Interrupted):
        bench(pair, Tokenizer(pair.target), PROMPTS, EFFORT, out, advance=stop)
    assert pair.cores == (0, 1)
    steps.clear()
    made = bench(pair, Tokenizer(pair.target), PROMPTS, EFFORT, out, advance=steps.append)
    assert len(steps) == count_steps(pair, EFFORT, PROMPTS)
    assert load_benchmark(out) == made
    assert [path.name for path in out.parent.iterdir() if path.is_file()] == ["bench.json"]
    return made


def test_everybody_runs_and_writes_the_same_greedy_text(benchmark: Benchmark) -> None:
    for mode in MODES:
        assert {row.name for row in benchmark.rows if row.mode == mode} == {
            entry.name for entry in ENTRIES if not entry.predicts
        }
    orders = [text.order for row in benchmark.rows for text in row.texts]
    assert len(set(orders)) == len(orders)
    greedy = [row for row in benchmark.rows if row.mode == "greedy"]
    assert len({(text.prompt, text.tokens) for row in greedy for text in row.texts}) == 3
    for row in greedy:
        assert row.audit is not None
        assert row.audit.mismatches == 0
        assert row.audit.favourites + row.audit.near_ties == sum(len(text.tokens) for text in row.texts)
    for row in benchmark.rows:
        assert [text.prompt for text in row.texts] == list(range(EFFORT.prompts[row.mode]))
        if row.mode == "sampled":
            assert row.audit is None
            assert {len(text.tokens) for text in row.texts} == {6}


def test_drawn_texts_of_ours_are_one_where_drafts_are_deterministic(benchmark: Benchmark) -> None:
    rows = [r for r in benchmark.rows if r.mode == "sampled" and r.contestant.ours]
    same = [r for r in rows if "drawn" not in r.contestant.label()]
    assert len({(text.prompt, text.tokens) for row in same for text in row.texts}) == 2


def test_a_resumed_run_is_told_of(benchmark: Benchmark) -> None:
    texts = [t for row in benchmark.rows for t in row.texts] + [t.text for t in benchmark.trials]
    assert benchmark.resumed >= 55
    assert 0 < sum(text.resumed for text in texts) < len(texts)
    assert len(benchmark.reference_seconds) == 3


def test_settings_are_chosen_by_what_the_sweep_measured(benchmark: Benchmark) -> None:
    for row in benchmark.rows:
        mine = [
            t for t in benchmark.trials
            if t.mode == row.mode and t.row.startswith(f"{row.name}, ") and t.contestant.cores == row.contestant.cores
        ]  # fmt: skip
        if row.chosen_among > 1:
            assert row.contestant in {t.contestant for t in mine}
    assert {t.stage for t in benchmark.trials} == {"first", "more", "sampled"}


def test_figures_are_paired_and_account_for_the_time(benchmark: Benchmark) -> None:
    for budget in (1, 2):
        for mode in MODES:
            found = figures(benchmark, budget, mode)
            base = baseline(rows_of(benchmark, budget, mode))
            assert [f.speed.value for f in found] == sorted((f.speed.value for f in found), reverse=True)
            for figure in found:
                assert (figure.row is base) <= (figure.speed_up.value == pytest.approx(1.0))
                assert (figure.metrics is None) == (not figure.row.contestant.ours)
                if m := figure.metrics:
                    assert m.limit >= m.tokens_per_second * 0.999
                    assert m.hand_over <= m.target_idle + 1e-9
            first, last = found[0].row, found[-1].row
            assert faster(first, last).value == pytest.approx(1 / faster(last, first).value, rel=0.2)


def test_aims_are_computed_for_what_there_is(benchmark: Benchmark) -> None:
    found = aims(benchmark)
    assert {(aim.budget, aim.needed) for aim in found} == {
        (1, 1.1),
        (2, 1.1),
        (1, 1.5),
        (2, 1.3),
        (1, 1.0),
        (2, 1.0),
    }
    assert {aim.mode for aim in found} == set(MODES)
    assert all(aim.met == (aim.reached.value >= aim.needed) for aim in found)


def test_memory_grows_with_branches_and_length_and_not_with_context(benchmark: Benchmark) -> None:
    assert benchmark.memory
    for use in benchmark.memory:
        assert use.slots == use.context + use.branches * (use.length - 1)
        assert use.beyond_context <= use.copied_beyond_context
        assert use.allocated_bytes >= use.slots * use.slot_bytes


def test_tables_hold_every_row_and_the_document_the_conditions(benchmark: Benchmark, tmp_path: Path) -> None:
    for table in tables(benchmark):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
    write_markdown(tmp_path / "b.md", benchmark)
    document = (tmp_path / "b.md").read_text()
    for row in benchmark.rows:
        assert row.contestant.label() in document
    for prompt in (*benchmark.prompts["greedy"], *benchmark.selection):
        assert prompt.id in document
    for needed in ("## Aims", "specbranch bench", "95%", "torch", "sha256", "interrupted run"):
        assert needed in document
    out = Console(width=WIDTH, file=(tmp_path / "out").open("w"))
    print_benchmark(out, benchmark)
    out.file.close()
    printed = (tmp_path / "out").read_text()
    assert "Budget 1" in printed
    assert max(map(len, printed.splitlines())) <= WIDTH
    assert "\u2026" not in printed  # nothing is cut


def test_what_cannot_be_benchmarked_is_said(pair: Pair, tmp_path: Path) -> None:
    few = Prompts(PROMPTS.selection, PROMPTS.heldout[:1])
    with pytest.raises(ConfigurationError, match="two held-out"):
        bench(pair, Tokenizer(pair.target), few, EFFORT, tmp_path / "bench.json")
    with pytest.raises(SpecBranchError, match="run 'specbranch bench' first"):
        load_benchmark(tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(SpecBranchError, match="damaged"):
        load_benchmark(tmp_path / "bench.json")


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process, and those that it starts meanwhile, may use one core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_the_command_runs_shows_again_and_measures_memory_alone(pair: Pair, tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": f"w{3 + i} w7 w{9 + i}", "split": ("calibration", "heldout")[i % 2]})
        for i in range(4)
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    models = ["--target", pair.target.source, "--draft-model", pair.drafts["other"].source]

    def run(*arguments: str) -> str:
        done = specbranch("bench", *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = run("--quick", "--own-prompts", "prompts.jsonl", *models, "--markdown", "b.md")
    assert "Budget 2" in shown
    assert "one core only" in shown
    document = (tmp_path / "b.md").read_text()
    assert "specbranch bench --quick" in document
    assert run("--show", "runs/bench.json") == shown
    assert "copying" in run("--memory", *models)
    record = json.loads(run("--show", "runs/bench.json", "--json"))
    assert record["effort"] == "quick"
    assert {trial["stage"] for trial in record["trials"]} == set()
