"""The serving world takes a calibration's own costs: fitted forwards, one request alone and several at once."""

from collections.abc import Mapping

import numpy as np
import pytest

from calibrate.artifact import load_artifact
from calibrate.cost_records import PlacementCosts
from engine.errors import CalibrationError
from engine.policies.settings import Settings
from engine.service_record import Model
from scenarios.shipped import REFERENCE
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.forwards import FittedForwardCost, forward_costs
from sim.scripts.script import write_script
from sim.scripts.work import Script
from sim.world.requests import Arrival
from sim.world.served_runs import Served
from sim.world.serving import serve


@pytest.fixture(scope="module")
def measured() -> PlacementCosts:
    return load_artifact(REFERENCE).costs.at("at-once")


def script(policy: str, tokens: int) -> Script:
    source = IndependentAcceptance.draw(tokens, 0.7, 3)
    return write_script(Settings(policy=policy, draft_length=3), source, (0,) * 20)


def served(script: Script, costs: Mapping[Model, FittedForwardCost], requests: int = 1) -> Served:
    return serve([Arrival(script)] * requests, costs, discipline="lockstep")


def test_they_are_as_near_to_the_measured_cells_as_the_residual_says(measured: PlacementCosts) -> None:
    found = forward_costs(measured, "int8")
    assert found["target"].cells == measured.target
    for cost in found.values():
        cells = cost.cells
        # A cell's cache is what was there before, a forward's has its own rows, too.
        places = [
            (c.rows, c.sequences, c.cache_tokens + c.rows, c.rows * c.cache_tokens // c.sequences)
            for c in cells
        ]
        taken = np.array([cost(*place) for place in places])
        off = taken / np.array([np.median(cell.seconds) for cell in cells]) - 1.0
        assert cost.residual == pytest.approx(np.sqrt((off**2).mean()))
        assert 0.0 < cost.residual < 0.025


def test_a_request_alone_takes_the_sum_of_its_fitted_forwards(measured: PlacementCosts) -> None:
    costs, tokens = forward_costs(measured), 12
    (run,) = served(script("autoregressive", tokens), costs).runs
    each = (costs["target"](1, 1, 20 + n, 19 + n) for n in range(1, tokens))
    forwards = [costs["target"](20, 1, 20, 0), *each]
    assert run.seconds == pytest.approx(sum(forwards))


def test_requests_together_take_less_than_one_after_another(measured: PlacementCosts) -> None:
    """Weights are read once for all of them, and what each adds is its rows and its cache."""
    costs = forward_costs(measured, "int8")
    work = script("speculative", 20)
    (alone,) = served(work, costs).runs
    together = served(work, costs, requests=4)
    longest = max(run.seconds for run in together.runs)
    assert alone.seconds < longest < 4 * alone.seconds
    target = [batch for batch in together.batches if batch.model == "target"]
    assert {len(batch.requests) for batch in target} == {4}
    assert target[-1].end - target[-1].start == pytest.approx(
        costs["target"](target[-1].rows, 4, *of_last(work, 4)), rel=1e-9
    )


def of_last(work: Script, requests: int) -> tuple[int, int]:
    """What so many such requests hold behind their last target forward, and the sum of what its rows saw before."""
    jobs = work.work
    last = int(np.flatnonzero(jobs.model == 0)[-1])
    rows, before = int(jobs.tokens[last]), int(jobs.context[last])
    return requests * (before + rows), requests * rows * before


def test_a_draft_costs_what_its_steps_do(measured: PlacementCosts) -> None:
    """And what has more rows than any step, such as a prompt; lines as short as steps have cells of their own."""
    draft = measured.drafts["int8"]
    widest = max(cell.rows for cell in draft.branch)
    cells = forward_costs(measured, "int8")["draft"].cells
    assert set(draft.branch) <= set(cells)
    assert {cell.rows for cell in cells if cell.rows > widest} == {
        c.rows for c in draft.forward if c.rows > widest
    }
    assert len(cells) == len(draft.branch) + sum(cell.rows > widest for cell in draft.forward)


def test_a_draft_that_was_not_measured_is_refused(measured: PlacementCosts) -> None:
    with pytest.raises(CalibrationError, match="no draft 'int3'; its drafts: int8, int4, distilled"):
        forward_costs(measured, "int3")
    assert list(forward_costs(measured)) == ["target"]
