"""Where the models run: which cores or device each one gets, and whether they share them. Torch-free.

This module, `engine.runtime.cores`, and `sit` and `serve` of `engine.runtime.worker_process` are all that knows of
cores and devices.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import ConfigurationError
from engine.runtime.cores import allowed_cores, find_cores

Placement = Literal["at-once", "in-turn", "threads"]
PLACEMENTS: tuple[Placement, ...] = ("at-once", "in-turn", "threads")


@dataclass(frozen=True, slots=True)
class Seat:
    """A place to compute: a device, and for the CPU the cores (one thread each)."""

    device: str
    cores: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.device + (f" cores {','.join(map(str, self.cores))}" if self.cores else "")

    @classmethod
    def of(cls, written: str) -> "Seat":
        """A seat from what `str` makes of it."""
        device, _, cores = written.partition(" cores ")
        return cls(device, tuple(map(int, cores.split(","))) if cores else ())

    @property
    def units(self) -> frozenset[str]:
        """What it occupies: its cores, or its one device."""
        return frozenset(f"core {core}" for core in self.cores) or frozenset([self.device])


@dataclass(frozen=True, slots=True)
class Seating:
    """The seats of both models; with `shared` they take turns on one, with `threads` they share a process."""

    target: Seat
    draft: Seat
    shared: bool = False
    threads: bool = False


def usable_cores() -> tuple[int, ...]:
    """The cores this process can keep busy, by affinity, quota and topology (see `engine.runtime.cores`)."""
    return find_cores(allowed_cores()).usable


def cuda_devices() -> int:
    """NVIDIA devices that a worker could use, without asking torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    # A container may see fewer devices than the driver has, or nothing of the driver's folder.
    nodes = list(Path("/dev").glob("nvidia[0-9]*"))
    return len(nodes or list(Path("/proc/driver/nvidia/gpus").glob("*")))


def seat_models(placement: Placement, cores: Sequence[int], cuda_devices: int = 0) -> Seating:
    """Seats for a placement on `cores`, or on CUDA devices where there are any.

    at-once: a process and a device each; on the CPU the draft gets one core and the target the others. threads:
    the same seats, but two threads of one process. in-turn: both get everything and take turns.
    ConfigurationError where two models at once lack a second core.
    """
    if placement == "in-turn":
        everything = Seat("cuda:0") if cuda_devices else Seat("cpu", tuple(cores))
        return Seating(everything, everything, shared=True)
    threads = placement == "threads"
    if cuda_devices:
        return Seating(Seat("cuda:0"), Seat("cuda:1" if cuda_devices > 1 else "cuda:0"), threads=threads)
    if len(cores) < 2:
        raise ConfigurationError(
            f"placement '{placement}' needs two cores or more; this process may use one."
        )
    return Seating(Seat("cpu", tuple(cores[:-1])), Seat("cpu", tuple(cores[-1:])), threads=threads)


def serving_placement(placement: Placement, draft: str | None) -> Placement:
    """Where models sit that serve several requests: a draft that computes beside the target is a thread of its process.

    So a verdict meets a draft without a message (`engine.runtime.serving`).
    """
    return "threads" if draft is not None and placement != "in-turn" else placement


def candidate_placements(cores: Sequence[int], cuda_devices: int = 0) -> tuple[Placement, ...]:
    """The placements worth measuring here.

    threads is one of them on a single CUDA device only: two processes get it by turns there, while two threads'
    streams may share it. Elsewhere processes run at once just as well, without sharing an interpreter.
    """
    if cuda_devices == 1:
        return PLACEMENTS
    return ("at-once", "in-turn") if cuda_devices or len(cores) > 1 else ("in-turn",)
