"""What a cache is said to hold agrees with a plain list of what was read, whatever the order of reads and rewinds."""

import hypothesis.strategies as st
from hypothesis import given

from engine.models.cache_state import CacheState

tokens = st.integers(0, 2)
lines = st.lists(tokens, min_size=1, max_size=6)
nodes = st.lists(st.tuples(tokens, st.integers(0, 8)), max_size=9)  # a token, and whose child it is


@given(st.lists(st.tuples(lines, nodes), min_size=1, max_size=6))
def test_a_rewind_keeps_the_longest_match_and_leaves_the_rest_to_read(
    steps: list[tuple[list[int], list[tuple[int, int]]]],
) -> None:
    state = CacheState()
    slots: dict[int, int] = {}  # what the cache holds, as a model would write it
    for context, tree in steps:
        held = [list(state.tokens), *(state.tokens + [slots[s] for s in path] for path in state.paths)]
        best = max(common(h, context[:-1]) for h in held)
        read = state.tokens_read
        rewound = state.rewind(context)
        for slot, value in [(rewound.start + i, slots[slot]) for i, slot in enumerate(rewound.slots)]:
            slots[slot] = value
        assert len(state.tokens) == best
        assert state.tokens == [slots[i] for i in range(best)]
        assert [*state.tokens, *rewound.unread] == context
        slots.update({state.slots + i: t for i, t in enumerate(rewound.unread)})
        state.read(rewound.unread)
        written: list[list[int]] = []
        for number, (token, wish) in enumerate(tree):
            parent = wish % (number + 1) - 1
            slots[state.slots] = token
            written.append([*(written[parent] if parent >= 0 else []), token])
            assert state.read_nodes([token], [parent]) == [len(state.tokens) + len(written[-1]) - 1]
        assert [[slots[slot] for slot in path] for path in state.paths] == written
        assert state.slots == len(context) + len(tree)
        assert state.tokens_read == read + len(rewound.unread) + len(tree)


def common(a: list[int], b: list[int]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count
