"""What no engine goes beyond here: how fast memory is read, and how fast this one multiplies what lies near."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from engine.kernels.crew import Crew

BYTES_EACH = 1 << 28  # that a thread reads: many times a cache
WIDTH, OUTPUTS, ROWS = 576, 256, 18  # of a matrix of bfloat16 that stays in a core's second cache
PRODUCTS = 400  # of it, one after another
TIMES = 7


def read_bandwidth(threads: int) -> float:
    """Bytes a second that so many threads read together, the median of several times."""
    parts = [np.ones(BYTES_EACH // 8, np.int64) for _ in range(threads)]

    def read(rank: int) -> None:
        np.bitwise_or.reduce(parts[rank])  # without the interpreter's lock

    return BYTES_EACH * threads / _seconds(read, threads)


def multiply_rate(threads: int) -> float | None:
    """Products of two bfloat16 numbers a second by so many threads' compiled loops, on weights that lie near.

    The median of several times; None where the processor lacks the instructions.
    """
    from engine.models.fused_llama import has_instructions

    if not has_instructions():
        return None
    from engine.kernels.fused_step import multiply_repeatedly

    def make() -> list[object]:
        weights, ready = np.zeros((OUTPUTS, 2 * WIDTH), np.uint8), np.zeros((ROWS, 2 * WIDTH + 64), np.uint8)
        starts = np.zeros((2 * ROWS, 1), np.int32)
        return [weights, np.ones(OUTPUTS, np.float32), ready, np.ones(ROWS, np.float32), starts]

    given = [(*make(), np.empty((ROWS, OUTPUTS), np.float32)) for _ in range(threads)]

    def multiply(rank: int) -> None:
        multiply_repeatedly(PRODUCTS, *given[rank])

    return PRODUCTS * WIDTH * OUTPUTS * ROWS * threads / _seconds(multiply, threads)


def _seconds(part: Callable[[int], None], threads: int) -> float:
    """Of so many threads together, once the first time is over."""
    crew, taken = Crew(), []
    for _ in range(TIMES + 1):
        start = time.perf_counter()
        crew.run(part, threads)
        taken.append(time.perf_counter() - start)
    return median(taken[1:])
