"""Which runs of a record, and of its replay, are shown."""

from dataclasses import replace
from pathlib import Path

import pytest
from replayed_records import CONFIGURATIONS, HERE, record

from calibrate.artifact import save_artifact
from calibrate.file_kinds import COSTS_NAME
from engine.errors import SpecBranchError
from reports.verify.paired_runs import find_compared, find_runs, open_replay
from reports.verify.verification import replay_folder


def test_the_simulated_counterpart_of_any_run(tmp_path: Path) -> None:
    """The timeline's is in the record; others are replayed, and cannot be without the record's replay."""
    v, path = record(HERE, HERE), tmp_path / "verification.json"
    assert find_runs(path, v, None, 0, ["engine", "simulator"]) == [v.timeline.real, v.timeline.simulated]
    with pytest.raises(SpecBranchError, match=r"without the replay.*verification\.replay"):
        find_runs(path, v, "3", 1, ["simulator"])
    save_artifact(replay_folder(path), HERE)
    assert open_replay(path).recorded.prompts == HERE.recorded.prompts
    real, simulated = find_runs(path, v, CONFIGURATIONS[3].label(), 1, ["engine", "simulator"])
    assert real == replace(simulated, world="engine")
    with pytest.raises(SpecBranchError, match="numbered from 0"):
        find_runs(path, v, "3", 7, ["engine"])
    with pytest.raises(SpecBranchError, match="3: SpecBranch, int4"):
        find_compared(v, "pearl")


def test_a_damaged_replay_says_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "verification.json"
    save_artifact(replay_folder(path), HERE)
    whole = replay_folder(path) / COSTS_NAME
    whole.write_text(whole.read_text()[:-9])
    with pytest.raises(SpecBranchError, match="specbranch verify --again"):
        open_replay(path)
