"""Calibrations against each other."""

import numpy as np
import pytest
from artifacts import artifact

from calibrate.cost_records import STEP, Cell, MeasuredCosts, PlacementCosts, step_of
from calibrate.run import EFFORTS
from engine.models.specs import TARGET
from reports.bench.calibration_benchmark import (
    CalibrationBenchmark,
    Difference,
    cells_of,
    differences,
    markdown,
    noise_of,
    with_few_texts,
)


def scaled(measured: MeasuredCosts, factor: float) -> MeasuredCosts:
    """The target's forwards take `factor` times as long."""

    def slower(cell: Cell) -> Cell:
        return cell.model_copy(update={"seconds": tuple(factor * s for s in cell.seconds)})

    placements = tuple(
        costs.model_copy(update={"target": tuple(map(slower, costs.target))}) for costs in measured.placements
    )
    return measured.model_copy(update={"placements": placements})


@pytest.mark.parametrize("name", EFFORTS)
def test_fewer_texts_change_nothing_of_the_costs(name: str) -> None:
    whole, few = EFFORTS[name], with_few_texts(EFFORTS[name])
    assert few.laps == whole.laps
    assert few.rehearsals == few.prompts <= whole.prompts
    assert few.name != whole.name


def with_longer_forwards(measured: MeasuredCosts, factor: float) -> MeasuredCosts:
    """Each of the target's forwards takes longer by what its step does, which takes `factor` times as long."""

    def moved(costs: PlacementCosts) -> PlacementCosts:
        more = (factor - 1.0) * float(np.mean(step_of(costs, TARGET).seconds))
        target = [
            cell.model_copy(update={"seconds": tuple(s + more for s in cell.seconds)})
            for cell in costs.target
        ]
        return costs.model_copy(update={"target": tuple(target)})

    return measured.model_copy(update={"placements": tuple(map(moved, measured.placements))})


def test_a_calibration_agrees_with_itself() -> None:
    mine = artifact().costs
    found = list(differences(mine, mine))
    assert len(found) == len(list(cells_of(mine)))
    assert all(d.share == 0.0 and d.covered for d in found)


def test_a_slower_target_is_found_and_nothing_else() -> None:
    mine = artifact(jitter=False).costs
    for d in differences(mine, scaled(mine, 1.1)):
        if d.model == "target":
            assert d.share == pytest.approx(0.1)
            assert not d.covered
        else:
            assert (d.share, d.covered) == (0.0, True)


@pytest.mark.parametrize("factor", [0.8, 1.1])
def test_a_slower_target_is_none_at_one_pace(factor: float) -> None:
    """Of its forwards all but the step itself, whose pace it is; each takes as much longer as the step does."""
    mine = artifact().costs
    found = list(differences(mine, with_longer_forwards(mine, factor)))
    steps = [d for d in found if d.at_one_pace is None]
    assert {(d.operation, d.tokens, d.context) for d in steps} == {STEP[:3]}
    assert len(steps) == sum(1 + len(costs.drafts) for costs in mine.placements)
    slower = [
        (d, p) for d in found if d.model == TARGET and d.operation == "forward" and (p := d.at_one_pace)
    ]
    assert slower
    for d, paced in slower:
        assert paced.share == pytest.approx(0.0, abs=1e-9)
        assert paced.covered
        assert paced.half > d.half


def test_intervals_of_differences_cover() -> None:
    """Two calibrations drawn from one law: about 95% of the differences hold 0."""
    rng = np.random.default_rng(1)

    def drawn() -> Cell:
        return Cell(rows=1, cache_tokens=0, seconds=tuple(rng.normal(1.0, 0.02, size=8)))

    mine = artifact().costs
    hits = []
    for _ in range(400):
        a, b = (
            mine.model_copy(
                update={
                    "placements": (
                        mine.placements[0].model_copy(update={"target": (drawn(),), "drafts": {}}),
                    )
                }
            )
            for _ in range(2)
        )
        hits += [d.covered for d in differences(a, b)]
    assert abs(np.mean(hits) - 0.95) < 5 * (0.95 * 0.05 / len(hits)) ** 0.5


def test_the_document_tells_every_group() -> None:
    mine = artifact().costs
    again: tuple[Difference, ...] = tuple(differences(mine, mine))
    text = markdown(
        CalibrationBenchmark(
            hardware=mine.hardware,
            software={"torch": "2"},
            effort="quick",
            noise={"first": noise_of(mine, 12.0)},
            explained={},
            again=again,
            loaded=again,
        ),
        "specbranch bench-calibration",
    )
    for word in ("second, all cells", "second, branch", "under load, all cells", "12 s", "100%"):
        assert word in text
