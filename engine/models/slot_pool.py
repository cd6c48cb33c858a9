"""The slots of one model's cache as texts share them. Torch-free."""

from collections.abc import Sequence
from heapq import heappop, heappush

from engine.errors import SpecBranchError


class SlotPool:
    """Hands out free slots of `size` and takes them back; the lowest first, so that texts lie near to each other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = list(range(size))  # a heap
        self._owned = bytearray(size)

    @property
    def free(self) -> int:
        """How many slots nobody owns."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """So many slots, ascending, the caller's until they are given back. PoolExhausted if there are fewer."""
        if count > len(self._free):
            raise PoolExhausted(
                f"{count} more slots of the cache are asked for, and {len(self._free)} are free."
            )
        taken = [heappop(self._free) for _ in range(count)]
        for slot in taken:
            self._owned[slot] = 1
        return taken

    def give_back(self, slots: Sequence[int]) -> None:
        """Slots that were taken are free again. ValueError, and nothing is changed, if one of them is free already."""
        if len(set(slots)) < len(slots) or not all(
            0 <= slot < self.size and self._owned[slot] for slot in slots
        ):
            raise ValueError("a slot is given back that nobody owns")
        for slot in slots:
            self._owned[slot] = 0
            heappush(self._free, slot)


class PoolExhausted(SpecBranchError):
    """A cache has no free slots left."""
