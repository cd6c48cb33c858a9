"""Costs measured during a verification: laps lie before, between and behind the runs, and only costs are replaced."""

from artifacts import artifact
from hypothesis import given
from hypothesis import strategies as st

from engine.configuration import Configuration
from reports.costs_again import LAPS, before_runs, with_costs
from sim.replay import Replay

PEARL = Configuration(policy="pearl", draft_length=3)


@given(st.integers(2, 200))
def test_laps_are_spread_over_the_runs(runs: int) -> None:
    """The last one follows them all."""
    due = sorted(before_runs(runs))
    assert len(due) == LAPS.fewest - 1
    stretches = [after - before for before, after in zip(due, [*due[1:], runs], strict=True)]
    assert due[0] == 0
    assert max(stretches) - min(stretches) <= 1


def test_only_costs_are_replaced() -> None:
    made = artifact(prompts=3)
    slower = []
    for costs in made.calibration.placements:
        cells = [c.model_copy(update={"seconds": tuple(2 * s for s in c.seconds)}) for c in costs.target]
        slower.append(costs.model_copy(update={"target": tuple(cells)}))
    other = with_costs(made, slower)
    before, after = (Replay(world).runs(PEARL) for world in (made, other))
    assert [run.rounds for run in before] == [run.rounds for run in after]
    assert all(b.seconds < a.seconds for b, a in zip(before, after, strict=True))
    assert with_costs(other, made.calibration.placements) == made
