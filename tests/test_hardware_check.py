"""The check of a machine runs the whole product; here on CPU cores with a tiny random pair."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calibrate.costs.measurement import SamplingBudget
from calibrate.prompts import Prompt
from calibrate.run import Effort
from engine.drafts.random_pair import make_random_pair
from engine.models.specs import ModelSpec
from reports.bench.benchmark_record import Benchmark
from reports.bench.hardware_check import BENCHMARK, check
from sim.search.grid import Grid

RACED = replace(
    BENCHMARK,
    trial_tokens=4,
    prompts={"greedy": 2, "sampled": 2},
    tokens={"greedy": 6, "sampled": 6},
    candidates=1,
)
EFFORT = Effort("tiny", prompts=2, tokens=12, laps=SamplingBudget(1, seconds=0.0, together_seconds=0.01))

pytestmark = pytest.mark.slow


def test_check_measures_and_writes_one_file(tmp_path: Path) -> None:
    source, small = make_random_pair(tmp_path / "models", layers=2, width=64, heads=4)
    target = ModelSpec(source=str(source))
    drafts = {"small": target.model_copy(update={"source": str(small)})}
    prompts = [Prompt(f"p{i}", "words", "check", f"w{7 + i} w9 w{20 + i}") for i in range(4)]
    said: list[str] = []
    grid = Grid(draft_lengths=(2, 4), branches=(1, 4), cuts=(0.0,))
    check(target, drafts, prompts, tmp_path / "check.json", said.append, EFFORT, grid, RACED)
    record = json.loads((tmp_path / "check.json").read_text())
    assert record["exactness"]["identical"] == record["exactness"]["texts"] == 2 * 2 * 3
    assert len(record["verification"]["compared"]) >= 6
    assert record["devices"] == []
    assert record["exactness"]["warnings"] == []
    raced = Benchmark.model_validate(record["benchmark"])
    assert {row.name for row in raced.rows} >= {"transformers generate", "autoregressive", "SpecBranch"}
    steps = ("devices", "exactness", "calibration", "verification", "benchmark")
    assert [step for line in said for step in steps if line.endswith(f"{step} done")] == list(steps)
