"""No slot of a pool has two owners, and none is lost."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.models.slot_pool import PoolExhausted, SlotPool

SIZE = 12


class Owners(RuleBasedStateMachine):
    """Texts that take slots and give them back, all or some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = SlotPool(SIZE)
        self.owned: list[list[int]] = []

    @rule(count=st.integers(0, SIZE + 1))
    def take(self, count: int) -> None:
        free = SIZE - sum(map(len, self.owned))
        if count > free:
            with pytest.raises(PoolExhausted, match=f"{count} more slots .* {free} are free"):
                self.pool.take(count)
        else:
            taken = self.pool.take(count)
            lower = (
                set(range(max(taken, default=0))) - set(taken) - {slot for one in self.owned for slot in one}
            )
            assert len(taken) == count
            assert not lower, "a lower slot was free"
            self.owned.append(taken)

    @precondition(lambda self: self.owned)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        mine = data.draw(st.sampled_from(self.owned))
        back = data.draw(st.lists(st.sampled_from(mine), unique=True)) if mine else []
        self.pool.give_back(back)
        mine[:] = [slot for slot in mine if slot not in back]

    @rule(slot=st.integers(-1, SIZE))
    def give_back_what_nobody_owns(self, slot: int) -> None:
        owned = [one for mine in self.owned for one in mine]
        if slot not in owned:
            with pytest.raises(ValueError, match="nobody owns"):
                self.pool.give_back([slot])
        else:
            with pytest.raises(ValueError, match="nobody owns"):
                self.pool.give_back([slot, slot])

    @invariant()
    def every_slot_is_free_or_has_one_owner(self) -> None:
        owned = [slot for mine in self.owned for slot in mine]
        assert len(set(owned)) == len(owned)
        assert set(owned) <= set(range(SIZE))
        assert self.pool.free == SIZE - len(owned)


test_slots_have_one_owner: Any = Owners.TestCase
