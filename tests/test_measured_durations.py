"""A run replayed with its own durations is itself, and what a policy waits for at once is found from its jobs."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from artifacts import artifact
from hypothesis import given
from one_text import Setting, simulate

from engine.configuration import Configuration
from engine.policies.settings import Settings
from engine.record import Job, Run
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.stated import StatedCosts
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.world.measured_durations import recorded_durations, rerun, same_schedule
from sim.world.replay import Replay
from sim.world.simulation import play, record

POLICIES = ("autoregressive", "speculative", "pearl", "specbranch")
settings = st.builds(
    Settings,
    policy=st.sampled_from(POLICIES),
    draft_length=st.integers(1, 6),
    branches=st.integers(1, 4),
    adaptive_branches=st.booleans(),
)
costs = st.builds(
    StatedCosts,
    draft_step_ms=st.floats(0.1, 20),
    draft_branch_ms=st.floats(0, 5),
    target_forward_ms=st.floats(0.1, 50),
    target_token_ms=st.floats(0, 5),
    fork_ms=st.floats(0, 1),
    hand_over_ms=st.floats(0, 2),
    target_slow_down=st.floats(1, 2),
    draft_slow_down=st.floats(1, 2),
)
paths = st.builds(IndependentAcceptance.draw, st.integers(1, 60), st.floats(0.0, 1.0), st.integers(0, 99))


def retimed(s: Settings, path: IndependentAcceptance, run: Run) -> Run:
    """A policy along a path with the durations of a run."""
    script = write_script(s, path, (PROMPT_TOKEN,))
    return record(play(script, recorded_durations(script, run), shared=run.shared), run.shared)


@given(settings, costs, paths, st.booleans())
def test_a_simulated_run_is_itself_again(
    s: Settings, c: StatedCosts, path: IndependentAcceptance, shared: bool
) -> None:
    """Whatever the costs were, slow-downs included: every job at its time, and the same end."""
    run = simulate(s, path, Setting(c, shared))
    again = retimed(s, path, run)
    assert same_schedule(run, again)
    assert again.rounds == run.rounds
    assert again.seconds == pytest.approx(run.seconds, abs=1e-9)
    for job, its in zip(run.jobs, again.jobs, strict=True):
        assert (its.start, its.end) == pytest.approx((job.start, job.end), abs=1e-9)


@pytest.mark.parametrize("placement", ["at-once", "in-turn"])
@pytest.mark.parametrize(
    "policy", ["autoregressive", "prompt-lookup", "speculative", "adaedl", "pearl", "specbranch"]
)
def test_a_replay_of_a_calibration_is_itself_again(policy: str, placement: str) -> None:
    configuration = Configuration(policy=policy, draft_length=3, branches=2, placement=placement)  # type: ignore[arg-type]
    made = artifact(prompts=3, tokens=30)
    world = Replay(made)
    runs = world.runs(configuration)
    for run, again in zip(runs, rerun(world, configuration, runs), strict=True):
        assert same_schedule(run, again)
        assert again.seconds == pytest.approx(run.seconds, abs=1e-9)


def shifted(run: Run, seconds: float, late: float = 0.0) -> Run:
    """A run that begins its first job later by `seconds`, and every draft job by `late` more."""

    def moved(job: Job) -> Job:
        by = seconds + (late if job.model == "draft" else 0.0)
        return replace(job, start=job.start + by, end=job.end + by)

    return replace(run, jobs=tuple(map(moved, run.jobs)), seconds=run.seconds + seconds)


def test_what_the_simulator_has_no_place_for_is_the_error_of_scheduling() -> None:
    """Time before the first job is lost to it; so is a draft that starts late, where the round waits for it."""
    path = IndependentAcceptance.draw(20, 0.5, 3)
    costs = StatedCosts(draft_step_ms=10, target_forward_ms=5, hand_over_ms=1)
    run = simulate(Settings(policy="pearl", draft_length=2), path, Setting(costs))

    def again(real: Run) -> float:
        pearl = Settings(policy="pearl", draft_length=2)
        return retimed(pearl, path, real).seconds

    assert again(shifted(run, 0.25)) == pytest.approx(run.seconds, abs=1e-9)
    assert again(shifted(run, 0.0, late=0.0005)) == pytest.approx(
        run.seconds - 0.0005 * len(run.rounds), abs=1e-9
    )


@pytest.mark.parametrize("policy", ["speculative", "pearl"])
def test_another_sequence_of_rounds_is_noticed(policy: str) -> None:
    settings = Settings(policy=policy, draft_length=3)
    costs = StatedCosts(draft_step_ms=2, target_forward_ms=5)
    run = simulate(settings, IndependentAcceptance.draw(20, 0.6, 3), Setting(costs))
    other = simulate(settings, IndependentAcceptance.draw(20, 0.6, 4), Setting(costs))
    assert same_schedule(run, run)
    assert not same_schedule(run, other)
    assert not same_schedule(run, replace(other, tokens=run.tokens))
    assert not same_schedule(run, replace(run, tokens=(*run.tokens[:-1], -5)))
    # What was drafted past the end of the text is not known to a replay.
    last = replace(run.rounds[-1], verified=run.rounds[-1].verified + 1)
    assert same_schedule(run, replace(run, rounds=(*run.rounds[:-1], last)))
