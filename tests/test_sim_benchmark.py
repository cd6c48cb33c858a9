"""The simulator's benchmark: what it makes of a calibration, and that its document tells what was found."""

import numpy as np
import pytest
from artifacts import artifact

from reports.bench import sim_benchmark
from reports.bench.sim_benchmark import benchmark_simulator, repeated, search_grid
from reports.bench.sim_benchmark_tables import markdown

MADE = artifact(prompts=3, tokens=20)


def test_texts_take_turns_and_are_lengthened_by_those_after_them() -> None:
    longer = repeated(MADE, 5, 50)
    assert [len(trace.path) for trace in longer.traces] == [50] * 5
    joined = np.concatenate([MADE.traces[index].path for index in (1, 2, 0)])
    assert (longer.traces[1].path == joined[:50]).all()
    assert (longer.traces[4].path == longer.traces[1].path).all()
    for name, seen in longer.traces[1].drafts.items():
        views = [MADE.traces[index].drafts[name] for index in (1, 2, 0)]
        assert (seen.tokens == np.concatenate([view.tokens for view in views])[:50]).all()


def test_the_grid_is_spread_over_every_policy() -> None:
    some = search_grid(MADE, 60)
    assert len(some) == len(set(some)) == 60
    assert {c.policy for c in some} >= {"speculative", "pearl", "specbranch"}
    assert {c.placement for c in some} == {"at-once", "in-turn"}


def test_the_document_names_every_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = {"PROMPTS": 5, "TOKENS": 20, "PROCESSES": 1, "EVENTS": 100, "LENGTHS": (5, 10)}
    for name, value in smaller.items():
        monkeypatch.setattr(sim_benchmark, name, value)
    told: list[str] = []
    found = benchmark_simulator(
        MADE, "specbranch bench-sim", lambda what, done, total: told.append(what), quick=True
    )
    assert told == [f"benchmark: {part}" for part in ("starting", "policies", "growth", "sweep")]
    assert all(timing.tokens == 100 for timing in found.policies)
    assert found.sweep.tokens == found.configurations * 100
    text = markdown(found)
    for timing in (*found.policies, *found.growth["branches"]):
        assert f"| {timing.name} |" in text
