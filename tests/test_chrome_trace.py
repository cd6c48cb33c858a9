"""A trace is what the Trace Event Format says, in both worlds, and holds the run's own times and counts."""

import itertools
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from one_text import Setting, simulate
from verifications import verification

from engine.errors import SpecBranchError
from engine.policies.settings import Settings
from engine.record import Run
from reports.chrome_trace import chrome_trace, save_trace
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.stated import StatedCosts

simulated = st.builds(
    lambda policy, length, acceptance, costs, shared: simulate(
        Settings(policy=policy, draft_length=length, branches=2),
        IndependentAcceptance.draw(25, acceptance, 1),
        Setting(costs, shared),
    ),
    st.sampled_from(["autoregressive", "speculative", "pearl", "specbranch"]),
    st.integers(1, 6),
    st.floats(0.1, 0.9),
    st.builds(
        StatedCosts,
        draft_step_ms=st.floats(0.01, 20),
        target_forward_ms=st.floats(0.01, 50),
        hand_over_ms=st.floats(0, 1),
        draft_slow_down=st.floats(1, 2),
    ),
    st.booleans(),
)
RECORD = verification(prompts=2, tokens=20, lengths=(2,), branches=(1,))
real = st.sampled_from([s.run for c in RECORD.compared for s in c.samples])


def written(runs: list[Run]) -> list[dict[str, Any]]:
    """The events as another program reads them."""
    document = json.loads(chrome_trace(runs).model_dump_json(exclude_none=True))
    assert document["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = document["traceEvents"]
    return events


@given(st.lists(simulated | real, min_size=1, max_size=2))
def test_events_are_of_the_format(runs: list[Run]) -> None:
    """The fields that the Trace Event Format asks of each phase."""
    for event in written(runs):
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        match event["ph"]:
            case "X":
                assert event["ts"] >= 0
                assert event["dur"] >= 0
            case "i":
                assert event["s"] in ("g", "p", "t")
            case "C":
                assert all(isinstance(value, int | float) for value in event["args"].values())
            case "M":
                assert event["name"] in (
                    "process_name",
                    "process_sort_index",
                    "thread_name",
                    "thread_sort_index",
                )
            case other:
                pytest.fail(f"unknown phase {other}")


@given(simulated | real)
def test_a_thread_does_one_thing_at_a_time_for_as_long_as_the_run_says(run: Run) -> None:
    events = written([run])
    lanes: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        if event["ph"] == "X":
            start, length = round(event["ts"] * 1000), round(event["dur"] * 1000)
            lanes.setdefault(event["tid"], []).append((start, start + length))
    for spans in lanes.values():
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(sorted(spans)))
    for model in ("target", "draft"):
        mine = [e for e in events if e.get("cat") == "job" and e["name"] == model]
        seconds = sum(e["dur"] for e in mine) / 1e6
        assert seconds == pytest.approx(run.busy(model), abs=1e-9 * (1 + len(mine)))
        assert len({e["tid"] for e in mine}) <= 1


@given(simulated | real)
def test_rounds_rollbacks_and_text_are_the_runs(run: Run) -> None:
    events = written([run])
    rounds = [e["args"] for e in events if e.get("cat") == "round"]
    for name in ("accepted", "emitted", "rollback", "hedge"):
        assert [args[name] for args in rounds] == [getattr(r, name) for r in run.rounds]
    marks = [e["args"]["round"] for e in events if e["ph"] == "i"]
    assert marks == [i for i, r in enumerate(run.rounds) if r.rollback]
    lengths = [e["args"]["tokens"] for e in events if e["ph"] == "C"]
    assert lengths[-1] == len(run.tokens)
    assert lengths == sorted(lengths)


def test_a_process_is_a_world(tmp_path: Path) -> None:
    shown = RECORD.timeline
    save_trace(tmp_path / "t.json", [shown.real, shown.simulated], {"prompt": "0 </script>"})
    document = json.loads((tmp_path / "t.json").read_text())
    names = [(e["pid"], e["args"]["name"]) for e in document["traceEvents"] if e["name"] == "process_name"]
    assert names == [(1, "engine"), (2, "simulator")]
    assert document["otherData"] == {"prompt": "0 </script>"}
    with pytest.raises(SpecBranchError, match="cannot be written"):
        save_trace(tmp_path / "t.json" / "x", [shown.real])
