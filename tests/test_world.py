"""Properties of every simulated run, whatever the policy and settings."""

import itertools

import hypothesis.strategies as st
from hypothesis import given
from one_text import Setting, simulate

from engine.policies.settings import Settings
from engine.service_record import MODELS
from scenarios.what_if import Link
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.stated import StatedCosts

settings = st.builds(
    Settings,
    policy=st.sampled_from(["autoregressive", "speculative", "pearl", "specbranch"]),
    draft_length=st.integers(1, 9),
    branches=st.integers(1, 5),
    min_confidence=st.floats(0.0, 1.0),
    adaptive_branches=st.booleans(),
)
costs = st.builds(
    StatedCosts,
    draft_step_ms=st.floats(0.1, 20),
    draft_branch_ms=st.floats(0, 5),
    draft_token_ms=st.floats(0, 5),
    target_forward_ms=st.floats(0.1, 50),
    target_token_ms=st.floats(0, 5),
    fork_ms=st.floats(0, 1),
    hand_over_ms=st.floats(0, 2),
    target_slow_down=st.floats(1, 2) | st.just(1.0),
    draft_slow_down=st.floats(1, 2) | st.just(1.0),
)
paths = st.builds(IndependentAcceptance.draw, st.integers(1, 120), st.floats(0.0, 1.0), st.integers(0, 2**31))
links = st.none() | st.builds(Link, latency_ms=st.floats(0, 20), megabits_per_second=st.floats(0.1, 1e4))


@given(settings, costs, paths, st.booleans(), st.integers(1, 50), links)
def test_counts_and_clock(
    s: Settings, c: StatedCosts, path: IndependentAcceptance, shared: bool, prompt: int, link: Link | None
) -> None:
    run = simulate(s, path, Setting(c, shared, (0,) * prompt, link))
    assert run.tokens == path.path
    assert sum(r.emitted for r in run.rounds) == len(path.path)
    assert all(r.emitted == r.accepted + 1 for r in run.rounds[:-1])
    assert all(0 <= r.accepted <= r.verified and r.rollback >= 0 and r.hedge >= 0 for r in run.rounds)
    assert 0.0 < run.first_token_seconds <= run.seconds
    # A model never computes for longer than the clock ran, and one device serves one job at a time.
    for model in MODELS:
        jobs = [job for job in run.jobs if shared or job.model == model]
        assert all(after.start >= before.end - 1e-9 for before, after in itertools.pairwise(jobs))
        assert run.busy(model) <= run.seconds + 1e-9
    assert all(0.0 <= job.start <= job.end <= run.seconds + 1e-9 for job in run.jobs)


@given(settings, costs, paths)
def test_every_drafted_token_has_one_fate(s: Settings, c: StatedCosts, path: IndependentAcceptance) -> None:
    """Drafted = accepted + rolled back + hedged + hits at branch points + still pending at the end."""
    run = simulate(s, path, Setting(c))
    drafted = sum(r.drafted for r in run.rounds)
    fates = sum(r.accepted + r.rollback + r.hedge for r in run.rounds)
    left = drafted - fates
    hits_at_most = len(run.rounds)
    assert 0 <= left <= hits_at_most + s.draft_length


@given(settings, costs, paths, st.integers(1, 60))
def test_each_model_reads_the_prompt_once_and_then_what_is_new(
    s: Settings, c: StatedCosts, path: IndependentAcceptance, prompt: int
) -> None:
    run = simulate(s, path, Setting(c, prompt=(0,) * prompt))
    target = [job for job in run.jobs if job.model == "target"]
    lines = [r.verified for r in run.rounds]
    assert [job.tokens for job in target] == [line + (1 if i else prompt) for i, line in enumerate(lines)]
    draft = [job for job in run.jobs if job.model == "draft"]
    for i, job in enumerate(draft):
        branches = job.tokens - (0 if i else prompt - 1)
        # At most two tokens to catch up with (the draft's own last one after a full acceptance).
        assert 1 <= branches <= 2 + (s.draft_length - 1) * s.branches
        assert job.forwards <= s.draft_length


@given(costs, paths, st.integers(1, 8))
def test_one_shared_device_is_never_faster(c: StatedCosts, path: IndependentAcceptance, length: int) -> None:
    alone = c.model_copy(update={"target_slow_down": 1.0, "draft_slow_down": 1.0})
    pearl = Settings(policy="pearl", draft_length=length)
    apart = simulate(pearl, path, Setting(alone))
    assert simulate(pearl, path, Setting(c, shared=True)).seconds >= apart.seconds - 1e-9


@given(settings, costs, paths)
def test_contention_changes_the_clock_and_nothing_else(
    s: Settings, c: StatedCosts, path: IndependentAcceptance
) -> None:
    free = c.model_copy(update={"target_slow_down": 1.0, "draft_slow_down": 1.0})
    slowest = max(c.target_slow_down, c.draft_slow_down)
    mine, alone = simulate(s, path, Setting(c)), simulate(s, path, Setting(free))
    assert mine.rounds == alone.rounds
    assert alone.seconds - 1e-9 <= mine.seconds <= alone.seconds * slowest + 1e-9


def test_a_link_costs_a_message_each_way() -> None:
    path = IndependentAcceptance.draw(1, 1.0, seed=0)
    c = StatedCosts(draft_step_ms=5, target_forward_ms=10)
    s = Settings(policy="speculative", draft_length=3)
    link = Link(latency_ms=2, megabits_per_second=0.008)  # a byte takes a millisecond
    near, far = (simulate(s, path, Setting(c, prompt=(0,) * 7, link=x)) for x in (None, link))
    # The prompt goes there, three tokens come back.
    assert far.seconds - near.seconds == 2 * 0.002 + (64 + 4 * 7 + 64 + 4 * 3) / 1e3
    assert simulate(s, path, Setting(c, True, (0,) * 7, link)).seconds == near.seconds
