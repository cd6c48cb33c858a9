"""Seats: nobody is left out, nothing is shared unless the placement says so."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.errors import ConfigurationError
from engine.placement import PLACEMENTS, Seat, candidate_placements, cuda_devices, seat_models

cores = st.lists(st.integers(0, 63), min_size=2, max_size=16, unique=True)


@given(cores)
def test_at_once_parts_the_cores(cores: list[int]) -> None:
    seating = seat_models("at-once", cores)
    assert not seating.shared
    assert sorted([*seating.target.cores, *seating.draft.cores]) == sorted(cores)
    assert seating.target.cores
    assert len(seating.draft.cores) == 1


@given(cores)
def test_a_seat_can_be_read_again(cores: list[int]) -> None:
    for seat in (Seat("cpu", tuple(cores)), Seat("cuda:1")):
        assert Seat.of(str(seat)) == seat
    assert len(Seat("cpu", tuple(cores)).units) == len(cores)
    assert Seat("cuda:0").units | Seat("cuda:0").units | Seat("cuda:1").units == {"cuda:0", "cuda:1"}


@given(cores, st.integers(0, 4))
def test_threads_sit_as_at_once_does_in_one_process(cores: list[int], devices: int) -> None:
    threads, at_once = (seat_models(placement, cores, devices) for placement in ("threads", "at-once"))
    assert (threads.target, threads.draft, threads.shared) == (at_once.target, at_once.draft, False)
    assert (threads.threads, at_once.threads) == (True, False)


@given(cores)
def test_in_turn_shares_them(cores: list[int]) -> None:
    seating = seat_models("in-turn", cores)
    assert seating.shared
    assert seating.target == seating.draft
    assert seating.target.cores == tuple(cores)


def test_one_core_cannot_serve_two_models_at_once() -> None:
    for placement in ("at-once", "threads"):
        with pytest.raises(ConfigurationError, match=f"'{placement}' needs two cores"):
            seat_models(placement, [0])
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


@pytest.mark.parametrize("devices", range(4))
@pytest.mark.parametrize("cores", [(0,), (0, 1), (0, 1, 2, 3)])
def test_only_a_single_cuda_device_makes_threads_worth_measuring(
    cores: tuple[int, ...], devices: int
) -> None:
    candidates = candidate_placements(cores, devices)
    for placement in candidates:
        seat_models(placement, cores, devices)
    assert "in-turn" in candidates
    assert ("threads" in candidates) == (devices == 1)
