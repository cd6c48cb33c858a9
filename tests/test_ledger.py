"""The books of a cache agree with a plain list of what was read, whatever the order of reads and rewinds."""

import hypothesis.strategies as st
from hypothesis import given

from engine.models.ledger import Ledger

tokens = st.integers(0, 2)
lines = st.lists(tokens, min_size=1, max_size=6)


@given(st.lists(st.tuples(lines, st.lists(lines, max_size=3)), min_size=1, max_size=6))
def test_a_rewind_keeps_the_longest_match_and_leaves_the_rest_to_read(
    steps: list[tuple[list[int], list[list[int]]]],
) -> None:
    ledger = Ledger()
    slots: dict[int, int] = {}  # what the cache holds, as a model would write it
    for context, branches in steps:
        held = [ledger.tokens + list(b) for b, _ in ledger.branches] or [list(ledger.tokens)]
        best = max(common(h, context[:-1]) for h in held)
        rewound = ledger.rewind(context)
        for offset, slot in enumerate(rewound.slots):
            slots[rewound.start + offset] = slots[slot]
        assert len(ledger.tokens) == best
        assert ledger.tokens == [slots[i] for i in range(best)]
        assert [*ledger.tokens, *rewound.unread] == context
        slots.update({ledger.slots + i: t for i, t in enumerate(rewound.unread)})
        ledger.read(rewound.unread)
        for depth in range(max((len(b) for b in branches), default=0)):
            rows = [(i, b[depth]) for i, b in enumerate(branches) if depth < len(b)]
            slots.update({ledger.slots + i: t for i, (_, t) in enumerate(rows)})
            positions = ledger.read_branches(rows)
            assert positions == [len(ledger.tokens) + depth] * len(rows)


def common(a: list[int], b: list[int]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count
