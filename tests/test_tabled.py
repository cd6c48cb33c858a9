"""What a table holds is not simulated again, whichever scenario or hardware it came from."""

from pathlib import Path

from scenarios.schema import load_scenarios
from sim.sweeps.results import read_table
from sim.sweeps.run import Outcome
from sim.sweeps.tabled import Tabled

TEXT = """
title: two devices
acceptance: {independent: 0.7}
hardware:
  target: {profile: h100-llama-2-70b-tp4}
  draft:
    roofline: {model: llama-3.2-1b, device: DEVICES}
workload: {prompts: 2, tokens: 16}
configurations:
  - {policy: speculative, draft_length: [1, 2, 3]}
"""


def run(folder: Path, devices: str, table: Path) -> list[Outcome]:
    (folder / "s.yaml").write_text(TEXT.replace("DEVICES", devices))
    tabled = Tabled.open(table, None)
    done: list[Outcome] = []
    found = [
        outcome
        for scenario in load_scenarios(folder / "s.yaml")
        for outcome in tabled.sweep(scenario, 1, done.append)
    ]
    assert len(done) == len(found)
    assert [tabled.left(scenario) for scenario in load_scenarios(folder / "s.yaml")] == [0] * (
        devices.count(",") + 1
    )
    return found


def test_each_hardware_has_rows_of_its_own_and_none_is_simulated_twice(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    alone = run(tmp_path, "rtx-4090", table)
    assert [o.configuration.draft_length for o in alone] == [1, 2, 3]
    both = run(tmp_path, "[rtx-4090, h100-sxm-measured]", table)
    assert [o.configuration.draft_length for o in both] == [1, 2, 3]
    assert len(read_table(table)) == 6
    assert {o.speed.value for o in alone}.isdisjoint(o.speed.value for o in both)
    assert run(tmp_path, "[h100-sxm-measured, rtx-4090]", table) == []


def test_without_a_table_all_is_left(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT.replace("DEVICES", "rtx-4090"))
    (scenario,) = load_scenarios(tmp_path / "s.yaml")
    tabled = Tabled.open(None, None)
    assert tabled.left(scenario) == 3
    assert len(tabled.sweep(scenario, 1, lambda outcome: None)) == 3
    assert tabled.left(scenario) == 3
