"""What is sent arrives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import decode, encode

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)
messages = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(messages)
def test_a_message_arrives_as_it_was_sent(message: Any) -> None:
    assert decode(encode(message)) == message


def test_bytes_take_no_more_room_than_they_have() -> None:
    assert len(encode({"chances": bytes(10**6)})) < 10**6 + 100


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        encode({"value": 1j})
