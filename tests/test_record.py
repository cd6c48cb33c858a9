"""What a run's jobs tell of its time."""

import pytest
from one_text import Setting, simulate

from engine.policies.settings import Settings
from engine.record import Job, waited_together
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.stated import StatedCosts


def test_jobs_that_are_waited_for_at_once() -> None:
    def job(model: str, number: int, start: float, end: float) -> Job:
        return Job(model, number, start, end, 1, 1)  # type: ignore[arg-type]

    speculative = [job("draft", 0, 0, 1), job("target", 0, 1, 2), job("draft", 1, 2, 3)]
    assert [len(wait) for wait in waited_together(speculative)] == [1, 1, 1]
    in_turn = [job("target", 0, 0, 1), job("draft", 0, 1, 2), job("target", 1, 2, 3), job("draft", 1, 3, 4)]
    assert [len(wait) for wait in waited_together(in_turn)] == [2, 2]
    overlapping = [job("draft", 0, 0, 2), job("target", 0, 1, 3)]
    assert [len(wait) for wait in waited_together(overlapping)] == [2]
    assert list(waited_together([])) == []


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("policy", ["speculative", "pearl"])
def test_a_run_is_computing_and_handing_over(policy: str, shared: bool) -> None:
    costs = StatedCosts(draft_step_ms=3, target_forward_ms=5, hand_over_ms=1)
    path = IndependentAcceptance.draw(20, 0.5, 3)
    run = simulate(Settings(policy=policy, draft_length=2), path, Setting(costs, shared=shared))
    waits, gaps = zip(*run.hand_overs(), strict=True)
    assert [job for wait in waits for job in wait] == list(run.jobs)
    assert gaps == pytest.approx([0.001] * len(gaps))
    assert run.computing() + sum(gaps) == pytest.approx(run.seconds)
