"""Where the models run: which cores or device each one gets, and whether they share them. Torch-free.

This module and `engine.worker_process.sit` are all that knows about cores and devices.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import ConfigurationError

Placement = Literal["at-once", "in-turn"]
PLACEMENTS: tuple[Placement, ...] = ("at-once", "in-turn")


@dataclass(frozen=True, slots=True)
class Seat:
    """A place to compute: a device, and for the CPU the cores (one thread each)."""

    device: str
    cores: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.device + (f" cores {','.join(map(str, self.cores))}" if self.cores else "")


@dataclass(frozen=True, slots=True)
class Seating:
    """The seats of both models; with `shared` they take turns on one."""

    target: Seat
    draft: Seat
    shared: bool


def usable_cores() -> tuple[int, ...]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cuda_devices() -> int:
    """NVIDIA devices that a worker could use, without asking torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def seat_models(placement: Placement, cores: Sequence[int], cuda_devices: int = 0) -> Seating:
    """Seats for a placement on `cores`, or on CUDA devices where there are any.

    at-once: a device each; on the CPU the draft gets one core and the target the others. in-turn: both get
    everything and take turns. ConfigurationError where at-once lacks a second core.
    """
    if cuda_devices:
        draft = Seat("cuda:1" if placement == "at-once" and cuda_devices > 1 else "cuda:0")
        return Seating(Seat("cuda:0"), draft, placement == "in-turn")
    everything = Seat("cpu", tuple(cores))
    if placement == "in-turn":
        return Seating(everything, everything, True)
    if len(cores) < 2:
        raise ConfigurationError("placement 'at-once' needs two cores or more; this process may use one.")
    return Seating(Seat("cpu", tuple(cores[:-1])), Seat("cpu", tuple(cores[-1:])), False)
