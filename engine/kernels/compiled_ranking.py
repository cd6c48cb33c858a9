"""The largest numbers of rows, found in one pass, compiled; `engine.kernels.ranking` says what for. Needs numba."""

from typing import Any

import numpy as np

from engine.kernels.compiled import compiled, exp, ordered

Array = Any  # an array, as numba takes it: its dtype is in each docstring that cares
BLOCK = 128  # numbers whose largest one is noted, so that few are looked at again
LOWEST = -0x80000000  # below what `ordered` gives for any number


@compiled
def _largest(bits: Array) -> Any:
    # Of integers, the largest one is found by vectors.
    largest = np.int32(LOWEST)
    for i in range(len(bits)):
        largest = max(largest, ordered(bits[i]))
    return largest


@compiled
def _take(bits: Array, begin: int, end: int, largest: Any, taken: Array) -> tuple[int, Any]:
    """Where in a block the first `largest` is that was not `taken`, and the largest of what is left."""
    place, left = -1, np.int32(LOWEST)
    for i in range(begin, end):
        number, free = ordered(bits[i]), True
        for other in taken:
            free = free and other != i
        if free and place < 0 and number == largest:
            place = i
        elif free:
            left = max(left, number)
    return place, left


@compiled
def largest_of(rows: Array, places: Array) -> None:
    """Where the largest numbers of `rows` float32 [n, width] are, into `places` int64 [n, count], the largest first.

    Of equal numbers the first ones. `count` is `width` at most.
    """
    width, count = rows.shape[1], places.shape[1]
    best = np.empty((width + BLOCK - 1) // BLOCK, np.int32)
    for row in range(len(rows)):
        bits = rows[row].view(np.int32)
        for block in range(len(best)):
            best[block] = _largest(bits[block * BLOCK : min(width, (block + 1) * BLOCK)])
        for rank in range(count):
            block = int(np.argmax(best))
            begin, end = block * BLOCK, min(width, (block + 1) * BLOCK)
            places[row, rank], best[block] = _take(bits, begin, end, best[block], places[row, :rank])


@compiled
def entropies_of(rows: Array, entropies: Array) -> None:
    """The entropy in nats of each row's shares e^x / (sum of all e^x of the row), into `entropies` float32 [n]."""
    for row in range(len(rows)):
        numbers = rows[row]
        largest = numbers[0]
        for i in range(len(numbers)):
            largest = max(largest, numbers[i])
        total, weighted = np.float32(0.0), np.float32(0.0)
        for i in range(len(numbers)):
            # What is this much less likely adds nothing; minus infinity times nothing would be no number.
            below = max(numbers[i] - largest, np.float32(-87.0))
            share = exp(below)
            total += share
            weighted += share * below
        entropies[row] = np.log(total) - weighted / total


@compiled
def chances_of(rows: Array, places: Array, chances: Array) -> None:
    """The shares e^x / (sum of all e^x of the row) of some `places` of rows, into `chances` float32 [n, count].

    The first place of a row is its largest number's.
    """
    for row in range(len(rows)):
        numbers, largest = rows[row], rows[row, places[row, 0]]
        total = np.float32(0.0)
        for i in range(len(numbers)):
            total += exp(numbers[i] - largest)
        for rank in range(places.shape[1]):
            chances[row, rank] = np.exp(numbers[places[row, rank]] - largest) / total
