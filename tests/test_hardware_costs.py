"""Costs of hardware that is not here: closed forms of the roofline, fits that never fall, and what notes must say."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_text import Setting, simulate
from pydantic import ValidationError

from engine.policies.settings import Settings
from scenarios.hardware_files import SHIPPED, read_model
from scenarios.stated_hardware import (
    Added,
    Device,
    Figure,
    Hardware,
    LayerTime,
    ModelShape,
    Profile,
    Roofline,
    Timed,
)
from scenarios.what_if import WhatIf
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.durations import Costs, Operations
from sim.costs.hardware import hardware_costs

DEVICE = Device(
    title="D",
    gigabytes_per_second=Figure(value=1000, source="a sheet"),
    teraflops=Figure(value=100, source="another sheet"),
)
SLOW = DEVICE.model_copy(update={"gigabytes_per_second": Figure(value=500, source="a third sheet")})
MODEL = ModelShape(
    hidden_size=1024,
    num_hidden_layers=8,
    intermediate_size=4096,
    num_attention_heads=16,
    num_key_value_heads=4,
    vocab_size=32000,
)


def profile(times: dict[int, float]) -> Profile:
    figures = tuple(LayerTime(tokens=n, ms=ms, source="a paper") for n, ms in times.items())
    return Profile(title="P", layers=10, source="a paper", excludes=("sampling",), layer_ms=figures)


ROOFLINE = Roofline(model=MODEL, device=DEVICE)
HARDWARE = Hardware(target=Timed(profile=profile({1: 1.0, 8: 1.2})), draft=Timed(roofline=ROOFLINE))


@pytest.mark.parametrize(
    ("name", "billions"), [("llama-3.1-70b", 70.55), ("llama-3.1-8b", 8.03), ("llama-3.2-1b", 1.24)]
)
def test_shipped_models_have_their_published_parameters(name: str, billions: float) -> None:
    model = read_model(SHIPPED / "models" / f"{name}.json")
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.005)


def test_few_tokens_take_the_weights_and_the_cache_many_take_the_products() -> None:
    weights, cached = 2 * MODEL.multiplied, 2 * MODEL.cache_values
    assert ROOFLINE.seconds(1, 0) == pytest.approx((weights + cached) / 1e12)
    assert ROOFLINE.seconds(4, 500) == pytest.approx((weights + 504 * cached) / 1e12)
    assert ROOFLINE.seconds(5000, 0) == pytest.approx(2 * MODEL.multiplied * 5000 / 1e14)


@given(st.integers(1, 4000), st.integers(0, 4000), st.integers(1, 8))
def test_roofline_never_falls_and_is_shared_by_devices(tokens: int, context: int, devices: int) -> None:
    launched = ROOFLINE.model_copy(update={"devices": devices, "launches": 100, "launch_us": 7.0})
    assert launched.seconds(tokens, context) == pytest.approx(
        ROOFLINE.seconds(tokens, context) / devices + 7e-4
    )
    assert launched.seconds(tokens + 1, context) >= launched.seconds(tokens, context)
    assert launched.seconds(tokens, context + 1) >= launched.seconds(tokens, context)


def test_fewer_bytes_a_weight_only_help_where_memory_decides() -> None:
    half = ROOFLINE.model_copy(update={"bytes_per_weight": 1.0})
    assert half.seconds(1, 0) == pytest.approx(ROOFLINE.seconds(1, 0) / 2, rel=0.01)
    assert half.seconds(5000, 0) == ROOFLINE.seconds(5000, 0)


@settings(deadline=None)  # the first call imports what fits
@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8))
def test_the_fit_never_falls_and_keeps_the_mean(times: list[float]) -> None:
    fit = profile({2**i: ms for i, ms in enumerate(times)})
    fitted = fit.fitted[1]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(fitted))
    assert np.mean(fitted) == pytest.approx(np.mean(times))
    everywhere = [fit.layer(n) for n in range(1, 300)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(everywhere))


def test_a_profile_is_layers_and_what_is_added() -> None:
    times = profile({1: 1.0, 3: 1.4, 5: 1.6})
    bare = Timed(profile=times)
    assert [bare.seconds(n, 100) for n in (1, 2, 3, 5, 7)] == pytest.approx(
        [0.010, 0.012, 0.014, 0.016, 0.018]
    )
    added = Added(forward_ms=2.0, layer_us=50.0, layer_us_behind_1000=20.0)
    assert Timed(profile=times, added=added).seconds(1, 500) == pytest.approx(
        0.010 + 0.002 + 10 * (50e-6 + 10e-6)
    )


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"profile": profile({1: 1.0}), "roofline": ROOFLINE},
        {"roofline": ROOFLINE, "added": Added(forward_ms=1)},
    ],
)
def test_times_are_by_one_way(stated: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"either|goes with"):
        Timed.model_validate(stated)


def operations(*pairs: tuple[int, int]) -> Operations:
    """Of tokens and context."""
    tokens, context = np.array(pairs).T
    return Operations(tokens, context, np.zeros_like(tokens))


def test_costs_follow_a_what_if() -> None:
    hardware = HARDWARE.model_copy(update={"hand_over_ms": 2.0, "fork_ms": 1.0})
    plain: Costs = hardware_costs(hardware, WhatIf(), shared=False)
    faster = hardware_costs(hardware, WhatIf(target_speed=2, draft_speed=4, overheads=False), shared=False)
    one, two = operations((1, 0)), operations((3, 7), (2, 8))
    assert plain.target_forward(one) == pytest.approx(2 * faster.target_forward(one))
    assert plain.branch_step(two) == pytest.approx(4 * faster.branch_step(two))
    assert plain.branch_step(two) == pytest.approx([ROOFLINE.seconds(3, 7), ROOFLINE.seconds(2, 8)])
    assert (plain.hand_over(one), plain.fork(one)) == (0.002, 0.001)
    assert (faster.hand_over(one), faster.fork(one)) == (0.0, 0.0)


def test_in_turn_the_draft_sits_on_the_targets_devices() -> None:
    target = Timed(roofline=ROOFLINE.model_copy(update={"device": SLOW, "devices": 2}))
    wide = Timed(roofline=ROOFLINE.model_copy(update={"devices": 4}))
    hardware = Hardware(target=target, draft=wide)
    one = operations((1, 0))
    own, shared = (hardware_costs(hardware, WhatIf(), shared).draft_forward(one) for shared in (False, True))
    assert own == pytest.approx(ROOFLINE.seconds(1, 0) / 4)
    assert shared == pytest.approx(2 * ROOFLINE.seconds(1, 0) / 2)  # half the bandwidth, half the devices
    assert "in turn" in " ".join(hardware.notes(shared=True, drafts=True))
    # A profile says nothing of its device, so the draft's times stay, and a note says so.
    assert HARDWARE.draft_times(shared=True) == HARDWARE.draft
    assert any("own device" in note for note in HARDWARE.notes(shared=True, drafts=True))


def test_notes_say_that_times_are_extrapolated_from_where_and_without_what() -> None:
    target, draft, _ = HARDWARE.notes(shared=False, drafts=True)
    assert all("extrapolated" in note and "excluded" in note for note in (target, draft))
    assert "a paper" in target
    assert "sampling" in target
    assert "a sheet" in draft
    assert "another sheet" in draft
    assert "no time for launches" in draft
    assert not any(note.startswith("draft") for note in HARDWARE.notes(shared=False, drafts=False))


def test_forwards_beyond_a_profile_are_told() -> None:
    costs = hardware_costs(HARDWARE, WhatIf(), shared=False)
    costs.target_forward(operations((8, 0)))
    costs.draft_forward(operations((5000, 0)))
    assert costs.notes() == ()
    costs.target_forward(operations((9, 0)))
    (note,) = costs.notes()
    assert "target forwards over more than 8 tokens" in note


def test_a_simulated_round_takes_the_draft_steps_and_one_forward() -> None:
    costs = hardware_costs(HARDWARE, WhatIf(), shared=True)
    source = IndependentAcceptance.draw(4, 1.0, 0)
    run = simulate(Settings(policy="speculative", draft_length=3), source, Setting(costs, shared=True))
    drafted = sum(ROOFLINE.seconds(1, context) for context in range(3))
    assert len(run.rounds) == 1
    assert run.seconds == pytest.approx(drafted + HARDWARE.target.seconds(4, 0))
