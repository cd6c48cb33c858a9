"""Properties of every simulated run, whatever the policy and settings."""

import hypothesis.strategies as st
from hypothesis import given

from engine.policies.settings import Settings
from sim.acceptance import IndependentAcceptance
from sim.costs import LinearCosts
from sim.world import Device, simulate

settings = st.builds(
    Settings,
    policy=st.sampled_from(["autoregressive", "speculative", "pearl", "specbranch"]),
    draft_length=st.integers(1, 9),
    branches=st.integers(1, 5),
    min_confidence=st.floats(0.0, 1.0),
    adaptive_branches=st.booleans(),
)
costs = st.builds(
    LinearCosts,
    draft_step_ms=st.floats(0.1, 20),
    draft_branch_ms=st.floats(0, 5),
    target_forward_ms=st.floats(0.1, 50),
    target_token_ms=st.floats(0, 5),
    hand_over_ms=st.floats(0, 2),
)
paths = st.builds(IndependentAcceptance.draw, st.integers(1, 120), st.floats(0.0, 1.0), st.integers(0, 2**31))


@given(settings, costs, paths, st.booleans())
def test_counts_and_clock(s: Settings, c: LinearCosts, path: IndependentAcceptance, in_turn: bool) -> None:
    run = simulate(s, path, c, in_turn=in_turn)
    assert sum(r.emitted for r in run.rounds) == path.length
    assert all(r.emitted == r.accepted + 1 for r in run.rounds[:-1])
    assert all(0 <= r.accepted <= r.verified and r.rollback >= 0 and r.hedge >= 0 for r in run.rounds)
    # A device is never busy for longer than the clock ran, but for a draft still under way at the end.
    assert run.target_busy <= run.seconds + 1e-9
    assert run.draft_busy <= run.seconds + 1e-9


@given(settings, costs, paths)
def test_every_drafted_token_has_one_fate(s: Settings, c: LinearCosts, path: IndependentAcceptance) -> None:
    """Drafted = accepted + rolled back + hedged + hits at branch points + still pending at the end."""
    run = simulate(s, path, c)
    drafted = sum(r.drafted for r in run.rounds)
    fates = sum(r.accepted + r.rollback + r.hedge for r in run.rounds)
    left = drafted - fates
    hits_at_most = len(run.rounds)
    assert 0 <= left <= hits_at_most + s.draft_length


@given(costs, paths, st.integers(1, 8))
def test_one_shared_device_is_never_faster(c: LinearCosts, path: IndependentAcceptance, length: int) -> None:
    pearl = Settings(policy="pearl", draft_length=length)
    apart = simulate(pearl, path, c)
    assert simulate(pearl, path, c, in_turn=True).seconds >= apart.seconds - 1e-9


def test_a_device_serves_one_job_at_a_time() -> None:
    device = Device()
    assert [device.serve(0.0, 2.0), device.serve(1.0, 3.0), device.serve(9.0, 1.0)] == [2.0, 4.0, 1.0]
    assert device.busy == 6.0
