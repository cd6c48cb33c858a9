"""Tables of served requests: a speed-up over autoregressive decoding at the same load, with its interval."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from test_load_page import serve
from test_verify_load import at

from engine.runtime.workload import Limits
from reports.load.load_tables import print_verified, speed_ups
from reports.load.verifying import ComparedLoad, LoadVerification
from reports.service_tables import SPEED_UPS, load_table, print_served
from reports.wording import number, stacked
from scenarios.schema import Scenario
from sim.sweeps.served_outcome import ServedOutcome, gain, objective_at
from sim.world.reach import MARK


def ready(
    folder: Path, arrivals: str = "{users: [1, 8]}", samples: int = 3
) -> tuple[Scenario, list[ServedOutcome]]:
    """A scenario of two loads, and its outcomes by the first batching: autoregressive decoding and two others each."""
    ((scenario, outcomes),) = serve(folder, arrivals, samples=samples)
    return scenario, list(outcomes[:6])


def column(table: Table, heading: str) -> list[str]:
    """The cells of a column, without those of the rows that name a load."""
    (found,) = (c for c in table.columns if c.header == heading)
    names = list(table.columns[0].cells)
    return [str(cell) for cell, name in zip(found.cells, names, strict=True) if str(name).startswith("  ")]


@pytest.mark.parametrize("arrivals", ["{users: [1, 8]}", "{rate: [2, 40]}"])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_table_has_speed_ups_over_the_same_load(tmp_path: Path, arrivals: str, samples: int) -> None:
    _, outcomes = ready(tmp_path, arrivals, samples)
    cells = column(load_table("t", outcomes, Limits(), False), "speed-up")
    for first in (0, 3):
        assert cells[first] == ""  # autoregressive decoding itself
        for place in (first + 1, first + 2):
            found = gain(outcomes[place], outcomes[first], objective_at(outcomes[first].arrivals))
            assert cells[place] == (stacked(found, 2) if samples > 1 else number(found.value, 2))
            assert (" to " in cells[place]) == (samples > 1)


def test_there_is_none_where_nothing_is_decoded_alone(tmp_path: Path) -> None:
    scenario, outcomes = ready(tmp_path)
    for some in (outcomes[1:3], outcomes[:1], [outcomes[0], outcomes[4]]):
        table = load_table("t", some, Limits(), False)
        assert "speed-up" not in [c.header for c in table.columns]
    for some, said in ((outcomes, True), (outcomes[1:3], False)):
        out = StringIO()
        print_served(Console(file=out, width=400), scenario, None, some)
        assert (SPEED_UPS in out.getvalue()) is said


def test_a_verification_has_speed_ups_on_both_sides(tmp_path: Path) -> None:
    """Where the engine was faster by a factor for all alike, they are the same."""
    _, outcomes = ready(tmp_path)
    compared = [ComparedLoad(o, o, at(o, np.full(3, 1.25))) for o in outcomes]
    slower = [*compared[:1], *(ComparedLoad(o, o, at(o, np.full(3, 0.5))) for o in outcomes[1:])]
    both = zip(speed_ups(compared), speed_ups(slower), strict=True)
    for place, (alike, halved) in enumerate(both):
        if place % 3 == 0:
            assert alike is None
            continue
        assert alike is not None
        assert halved is not None
        assert alike[1].value == pytest.approx(alike[0].value)
        assert halved[0] == alike[0]
        if place < 3:  # at the other load all are slower alike
            assert halved[1].value == pytest.approx(alike[0].value * 0.5 / 1.25)
        else:
            assert halved[1].value == pytest.approx(alike[0].value)
    assert speed_ups(compared[1:3]) == [None, None]


def test_a_verification_says_where_costs_were_extrapolated(tmp_path: Path) -> None:
    _, outcomes = ready(tmp_path)
    for share in (0.0, 0.25):
        beyond = replace(outcomes[1], extrapolated=share, notes=("made up of smaller ones",))
        compared = (
            ComparedLoad(outcomes[0], outcomes[0], outcomes[0]),
            ComparedLoad(beyond, beyond, outcomes[1]),
        )
        verified = LoadVerification("now", {}, {}, "r", "d", compared, (), (), ())
        out = StringIO()
        print_verified(Console(file=out, width=400), "t", verified)
        assert ("up to 25% of the forwards' time" in out.getvalue()) is (share > 0.0)
        assert out.getvalue().count(MARK) == (2 if share else 0)  # beside its name, and where it is explained
        assert "Made up of smaller ones." in out.getvalue()
