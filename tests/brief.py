"""The timing of a calibration's cells, briefly: beside tiny models, what surrounds a sample takes nearly all the time.

The reference operation is a matrix of 4 MB times a vector instead of 64, a burst has hardly a pause before it, and a
sample is warmed up for once. Workers find these functions by their names, as they find `calibrate.costs.operations`'s.
"""

from collections.abc import Callable
from typing import Any

from calibrate.costs import operations
from engine.runtime.worker_process import Host

TRUE = operations.visit, operations.time_reference
SIZE = 1024
PAUSE = 0.001  # seconds


def _repeat(sample: Callable[[], float], repeats: int, warm_ups: int = 1) -> list[float]:
    return [sample() for _ in range(repeats + min(warm_ups, 1))][-repeats:]


def _prepare(host: Host) -> None:
    """In the worker, which is the tests' alone."""
    import torch

    vars(operations)["_repeat"] = _repeat
    if host.reference is None:
        host.reference = torch.ones(SIZE, SIZE), torch.ones(SIZE)


def visit(host: Host, operation: str, **arguments: Any) -> tuple[list[float], float, float]:
    """As `operations.visit`."""
    _prepare(host)
    pause = {"pause": PAUSE} if operation == "burst" else {}
    return TRUE[0](host, operation, **arguments, **pause)


def time_reference(host: Host) -> float:
    """As `operations.time_reference`."""
    _prepare(host)
    return TRUE[1](host)
