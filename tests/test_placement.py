"""Seats: nobody is left out, nothing is shared unless the placement says so."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.errors import ConfigurationError
from engine.placement import PLACEMENTS, cuda_devices, seat_models

cores = st.lists(st.integers(0, 63), min_size=2, max_size=16, unique=True)


@given(cores)
def test_at_once_parts_the_cores(cores: list[int]) -> None:
    seating = seat_models("at-once", cores)
    assert not seating.shared
    assert sorted([*seating.target.cores, *seating.draft.cores]) == sorted(cores)
    assert seating.target.cores
    assert len(seating.draft.cores) == 1


@given(cores)
def test_in_turn_shares_them(cores: list[int]) -> None:
    seating = seat_models("in-turn", cores)
    assert seating.shared
    assert seating.target == seating.draft
    assert seating.target.cores == tuple(cores)


def test_one_core_cannot_serve_two_models_at_once() -> None:
    with pytest.raises(ConfigurationError, match="two cores"):
        seat_models("at-once", [0])
    assert seat_models("in-turn", [0]).target.cores == (0,)


@pytest.mark.parametrize(("devices", "draft"), [(1, "cuda:0"), (2, "cuda:1"), (4, "cuda:1")])
def test_cuda_devices_are_used_where_there_are_any(devices: int, draft: str) -> None:
    seating = seat_models("at-once", [0, 1], devices)
    assert (seating.target.device, seating.draft.device) == ("cuda:0", draft)
    for placement in PLACEMENTS:
        assert seat_models(placement, [0, 1], devices).target.cores == ()


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,3", 2)])
def test_hidden_devices_do_not_count(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda_devices() == count
