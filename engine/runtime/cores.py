"""How many of a machine's cores are this process's to compute on: affinity, quotas and siblings. Torch-free.

What the system says is read below a root folder, so that a test can say it too.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Cores:
    """The `usable` cores of those that a process is `allowed` to run on.

    `distinct`: how many physical cores those are; `quota`: how many cores' time the process may use, if not all.
    """

    usable: tuple[int, ...]
    allowed: tuple[int, ...]
    distinct: int
    quota: float | None = None

    def __str__(self) -> str:
        found = [f"{len(self.usable)} used of {len(self.allowed)} allowed"]
        found += [f"a quota of {self.quota:g}"] if self.quota is not None else []
        found += (
            [f"{self.distinct} without threads of the same core"] if self.distinct < len(self.allowed) else []
        )
        return ", ".join(found)


def find_cores(allowed: Sequence[int], root: Path = ROOT) -> Cores:
    """Of the cores that a process may run on, those that can be kept busy all the time, without waiting for each other.

    One hardware thread of each physical core: two of them share what a core computes with, and a thread that waits by
    looking takes it from the other. Where only one physical core is there, its threads count all the same, since two
    models at once need two places. And no more than the quota of the process's control group, in whole cores: beyond it
    the system stops all threads for the rest of a period.
    """
    distinct = _one_of_each(allowed, root)
    usable = distinct if len(distinct) > 1 else tuple(allowed)
    quota = cpu_quota(root)
    most = len(usable) if quota is None else max(1, math.floor(quota + 1e-6))
    return Cores(usable[:most], tuple(allowed), len(distinct), quota)


def allowed_cores() -> tuple[int, ...]:
    """The cores this process may run on, by its affinity, which a cpuset limits."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _one_of_each(cores: Sequence[int], root: Path) -> tuple[int, ...]:
    """The first of each set of cores that are threads of one physical core."""
    taken: set[int] = set()
    chosen = []
    for core in cores:
        if core not in taken:
            chosen.append(core)
            taken |= _siblings(core, root)
    return tuple(chosen)


def _siblings(core: int, root: Path) -> set[int]:
    listed = _read(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return _cores_of(listed) if listed else {core}
    except ValueError:
        return {core}


def _cores_of(listed: str) -> set[int]:
    """The cores of a list as Linux writes it, such as 0-2,8."""
    found: set[int] = set()
    for part in listed.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def cpu_quota(root: Path = ROOT) -> float | None:
    """The cores' worth of time that the process may use: the least quota of its control groups and those above them.

    By control groups of version 2 (`cpu.max`) and 1 (`cpu.cfs_quota_us`), whichever are mounted. None if there is none.
    """
    quotas = [quota for folder in _groups(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _quota_of(folder: Path) -> float | None:
    """A control group's own quota in cores; None if it has none."""
    both = (_read(folder / "cpu.max") or "").split()
    if not both:
        both = [_read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = map(int, both)
    except ValueError:  # "max", or nothing
        return None
    return quota / period if quota > 0 and period > 0 else None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the process's control groups that may limit its time, and of all that are seen above them."""
    mine: dict[str, str] = {}  # by controller; version 2 has all in one, without a name
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        mine |= dict.fromkeys(controllers.split(","), path)
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        before, _, behind = line.partition(" - ")
        kind, _, options = [*behind.split(), "", "", ""][:3]
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if controller is None or (controller and controller not in options.split(",")):
            continue
        _, _, _, top, mount = before.split()[:5]
        if controller in mine:
            group = PurePosixPath(mine[controller])
            # In a container, its own group may be all that is mounted; and the path may be one seen from outside.
            inner = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
            at = root / mount.lstrip("/")
            yield at
            for part in inner.parts:
                at /= part
                yield at


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
