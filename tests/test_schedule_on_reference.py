"""A schedule by load on the calibration that comes along, against all of its space, simulated at every load.

`pytest -s` of this file prints what was chosen and what it loses; docs/lab-notes.md keeps the figures.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from calibrate.artifact import Artifact, load_artifact
from calibrate.cost_records import Cell, PlacementCosts
from engine.configuration import Configuration
from engine.naming import in_words
from engine.runtime.workload import Arrivals
from engine.service_metrics import measure_service
from scenarios.calibrations import REFERENCE
from scenarios.schema import Scenario
from scenarios.served import ScenarioWorkload
from sim.search.grid import Aids, Grid
from sim.sweeps.by_load import MOST, Schedule, schedule_by_load
from sim.sweeps.load_scores import ALL, FEWEST, batching_for
from sim.sweeps.served import ServingWorld
from sim.world.replay import NO_CHANGE

LOADS = [Arrivals(users=users) for users in (1, 2, 4, 8)]
GRID = Grid(
    policies=("autoregressive", "prompt-lookup", "speculative", "adaedl", "pearl", "specbranch", "echo"),
    draft_lengths=(1, 3),
    branches=(2,),
    adaptive_branches=(True,),
    cuts=(0.0,),
    bounds=(0.4,),
    redraft=(False,),
    aids=(Aids(),),
    batch_nodes=(16,),
)
SAMPLES, SEQUENCES, TOKENS = 2, 8, 32


def over_texts(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Forwards of a row each of several texts, which nobody measured there, by those of as many rows of one text.

    Rows take what they do, and the cache of each further text what that of one takes, both as measured.
    """
    known = {(cell.rows, cell.cache_tokens): cell for cell in cells}
    step = float(np.median(known[1, 0].seconds)) if (1, 0) in known else None
    found = []
    for (rows, cache), cell in known.items():
        near = min(tokens for count, tokens in known if count == 1)
        if rows < 2 or cache <= near or (1, cache) not in known:
            continue
        read = float(np.median(known[1, cache].seconds)) - (step or float(np.median(known[1, near].seconds)))
        more = (rows - 1) * max(0.0, read)
        seconds = tuple(second + more for second in cell.seconds)
        found.append(Cell(rows=rows, sequences=rows, cache_tokens=rows * cache, seconds=seconds))
    return tuple(found)


def with_batches(measured: Artifact) -> Artifact:
    """The same texts and cells, and those `over_texts`."""

    def of(placed: PlacementCosts) -> PlacementCosts:
        drafts = {
            name: draft.model_copy(update={"batched": over_texts(draft.branch)})
            for name, draft in placed.drafts.items()
        }
        return placed.model_copy(update={"batched": over_texts(placed.target), "drafts": drafts})

    placements = tuple(map(of, measured.costs.placements))
    return replace(measured, costs=measured.costs.model_copy(update={"placements": placements}))


@pytest.fixture(scope="module")
def reference() -> Artifact:
    return with_batches(load_artifact(REFERENCE))


@pytest.fixture(scope="module")
def found(reference: Artifact) -> Schedule:
    return schedule_by_load(
        reference, LOADS, GRID, tokens=TOKENS, samples=SAMPLES, sequences=SEQUENCES, jobs=1
    )


@pytest.fixture(scope="module")
def exhaustive(reference: Artifact) -> dict[Arrivals, dict[Configuration, float]]:
    """Tokens/s of every configuration at every load, by all requests of all samples."""
    everything = GRID.configurations(tuple(reference.recorded.drafts), ("at-once", "in-turn"))
    work = ScenarioWorkload(arrivals=tuple(LOADS), samples=SAMPLES, tokens=TOKENS)
    world = ServingWorld(Scenario(title="t", workload=work, configurations=everything), reference)

    def speed(c: Configuration, load: Arrivals) -> float:
        count = max(FEWEST[1], ALL * (load.users or 0))
        served = (
            world.serve(c, NO_CHANGE, batching_for(c, SEQUENCES), load, sample, count, kept=False)
            for sample in range(SAMPLES)
        )
        return fmean(measure_service(its).tokens_per_second for its in served)

    return {load: {c: speed(c, load) for c in everything} for load in LOADS}


def test_it_loses_at_most_three_percent_of_everything_at_each_load(
    found: Schedule, exhaustive: dict[Arrivals, dict[Configuration, float]]
) -> None:
    assert found.searched == len(exhaustive[LOADS[0]])
    for result in found.results:
        here = exhaustive[result.arrivals]
        best = max(here, key=lambda c: here[c])
        mine = result.chosen.configuration
        regret = 1.0 - here[mine] / here[best]
        print(
            f"\n{result.arrivals.label()}: {in_words(mine)}, {here[mine]:.2f} tokens/s, regret {regret:.1%}; "
        )
        print(f"best of {len(here)}: {in_words(best)}, {here[best]:.2f} tokens/s")
        assert 0.0 <= regret <= MOST
        assert result.chosen.value == pytest.approx(here[mine])


def test_what_is_best_differs_by_much_more_than_it_loses(
    exhaustive: dict[Arrivals, dict[Configuration, float]],
) -> None:
    """Else any choice would do: the median of the space is far behind the best at every load."""
    for here in exhaustive.values():
        assert np.median([*here.values()]) < (1.0 - 3 * MOST) * max(here.values())
