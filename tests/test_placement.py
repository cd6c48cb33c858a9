"""Seats: nobody is left out, nothing is shared unless the placement says so."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from calibrate.hardware import hardware
from engine.errors import ConfigurationError
from engine.runtime.cores import allowed_cores, cpu_quota, find_cores
from engine.runtime.placement import (
    PLACEMENTS,
    Placement,
    Seat,
    candidate_placements,
    cuda_devices,
    seat_models,
    serving_placement,
    usable_cores,
)

cores = st.lists(st.integers(0, 63), min_size=2, max_size=16, unique=True)


@given(cores)
def test_at_once_parts_the_cores(cores: list[int]) -> None:
    seating = seat_models("at-once", cores)
    assert not seating.shared
    assert sorted([*seating.target.cores, *seating.draft.cores]) == sorted(cores)
    assert seating.target.cores
    assert len(seating.draft.cores) == 1


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_computes_beside_the_target_serves_in_its_process(placement: Placement) -> None:
    """On the same seats as where it has a process of its own; a target that is alone stays where it is."""
    assert serving_placement(placement, None) == placement
    served = serving_placement(placement, "draft")
    seating, there = (seat_models(name, (0, 1, 2)) for name in (placement, served))
    assert (there.target, there.draft, there.shared) == (seating.target, seating.draft, seating.shared)
    assert there.threads is not there.shared


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


def machine(root: Path, siblings: list[str], group: str = "", mounts: str = "", **quotas: str) -> Path:
    """A root folder with the topology of some cores, and control groups; of `quotas` each is a file's path and text."""
    for core, listed in enumerate(siblings):
        file = root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(listed + "\n")
    files = {"proc/self/cgroup": group, "proc/self/mountinfo": mounts} | quotas
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


TWO = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
ONE = (
    "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 31 0:29 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)
INSIDE = "33 31 0:29 /docker/ab /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
V1 = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("group", "mounts", "quotas", "expected"),
    [
        ("0::/\n", TWO, {}, None),
        ("0::/a/b\n", TWO, {"a/b/cpu.max": "max 100000", "a/cpu.max": "max 100000"}, None),
        ("0::/a/b\n", TWO, {"a/b/cpu.max": "400000 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", TWO, {"a/b/cpu.max": "50000 20000", "a/cpu.max": "800000 100000"}, 2.5),
        ("0::/a\n", TWO, {"cpu.max": "200000 100000", "b/cpu.max": "1000 100000"}, 2.0),
        ("3:cpu,cpuacct:/\n", ONE, {f"cpu/{V1[0]}": "-1", f"cpu/{V1[1]}": "100000"}, None),
        (
            "5:memory:/x\n3:cpuacct,cpu:/a\n0::/\n",
            ONE,
            {f"cpu/a/{V1[0]}": "300000", f"cpu/a/{V1[1]}": "100000", f"cpu/{V1[0]}": "-1"},
            3.0,
        ),
        ("3:cpu,cpuacct:/docker/ab\n", INSIDE, {f"cpu/{V1[0]}": "70000", f"cpu/{V1[1]}": "50000"}, 1.4),
        ("3:cpu,cpuacct:/elsewhere\n", INSIDE, {f"cpu/{V1[0]}": "70000", f"cpu/{V1[1]}": "50000"}, 1.4),
        ("not what Linux writes\n", "nor this\n", {}, None),
    ],
)
def test_the_least_quota_of_all_control_groups_counts(
    tmp_path: Path, group: str, mounts: str, quotas: dict[str, str], expected: float | None
) -> None:
    files = {f"sys/fs/cgroup/{path}": text + "\n" for path, text in quotas.items()}
    assert cpu_quota(machine(tmp_path, [], group, mounts, **files)) == expected


NEXT = ["0-1", "0-1", "2-3", "2-3"]  # as virtual machines have their threads
APART = ["0,2", "1,3", "0,2", "1,3"]  # as most machines do


@pytest.mark.parametrize(
    ("siblings", "allowed", "usable"),
    [
        (NEXT, (0, 1, 2, 3), (0, 2)),
        (APART, (0, 1, 2, 3), (0, 1)),
        (APART, (1, 2, 3), (1, 2)),
        (APART, (2, 3), (2, 3)),
        (NEXT, (0, 1), (0, 1)),  # two models at once need two places
        (["0", "1"], (0, 1), (0, 1)),
        ([], (0, 1, 5), (0, 1, 5)),
        (["", "x"], (0, 1), (0, 1)),
        (NEXT, (3,), (3,)),
    ],
)
def test_one_hardware_thread_of_each_core(
    tmp_path: Path, siblings: list[str], allowed: tuple[int, ...], usable: tuple[int, ...]
) -> None:
    assert find_cores(allowed, machine(tmp_path, siblings)).usable == usable


@pytest.mark.parametrize(
    ("quota", "usable", "said"),
    [
        ("max", 4, "4 used of 8 allowed, 4 without threads of the same core"),
        ("350000", 3, "3 used of 8 allowed, a quota of 3.5, 4 without threads of the same core"),
        ("50000", 1, "1 used of 8 allowed, a quota of 0.5, 4 without threads of the same core"),
        ("600000", 4, "4 used of 8 allowed, a quota of 6, 4 without threads of the same core"),
    ],
)
def test_no_more_cores_than_the_quota_has_time_for(
    tmp_path: Path, quota: str, usable: int, said: str
) -> None:
    siblings = [f"{core % 4},{core % 4 + 4}" for core in range(8)]
    limited = {"sys/fs/cgroup/cpu.max": f"{quota} 100000"}
    cores = find_cores(range(8), machine(tmp_path, siblings, "0::/\n", TWO, **limited))
    assert cores.usable == tuple(range(usable))
    assert str(cores) == said


def test_what_is_computed_on_is_what_is_counted() -> None:
    assert set(usable_cores()) <= set(allowed_cores())
    assert hardware()["cores"] == str(len(usable_cores()))
    assert ("core limits" in hardware()) == (usable_cores() != allowed_cores())
