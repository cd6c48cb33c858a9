"""What is sent arrives."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.policies.tree import Round
from engine.record import Job, Run
from engine.runtime.messages import Watch, encode, pipe
from engine.runtime.run_message import from_message, to_message

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
messages = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(st.lists(messages, min_size=1, max_size=4), st.integers(1, 64))
def test_messages_arrive_as_they_were_sent(sent: list[Any], piece: int) -> None:
    """In order, whatever pieces they come in."""
    one, other = pipe()
    with one.socket, other.socket:
        data = b"".join(map(encode, sent))

        def trickle() -> None:
            for start in range(0, len(data), piece):
                one.socket.sendall(data[start : start + piece])

        sender = threading.Thread(target=trickle)
        sender.start()
        assert [other.receive() for _ in sent] == sent
        sender.join()


def test_a_large_message_arrives() -> None:
    one, other = pipe()
    with one.socket, other.socket:
        message = {"chances": bytes(10**7), "then": [1, 2.5, None]}
        data = encode(message)
        assert len(data) < 10**7 + 100
        sender = threading.Thread(target=one.send, args=(data,))
        sender.start()
        assert other.receive() == message
        sender.join()


seconds = st.floats(0.0, 1e9)
counts = st.integers(0, 1 << 40)
runs = st.builds(
    Run,
    world=st.just("engine"),
    tokens=st.lists(counts, max_size=5).map(tuple),
    rounds=st.lists(st.builds(Round, *[counts] * 7), max_size=3).map(tuple),
    jobs=st.lists(
        st.builds(Job, st.sampled_from(["target", "draft"]), counts, seconds, seconds, counts, counts),
        max_size=3,
    ).map(tuple),
    seconds=seconds,
    first_token_seconds=seconds,
    shared=st.booleans(),
    ending=st.sampled_from(["end-of-text", "stop-text", "token-limit"]),
    warning=st.none() | st.text(),
)


@given(runs, seconds)
def test_a_run_arrives_as_it_was_written(run: Run, other: float) -> None:
    """But for its seconds, where who sent for it counts them himself."""
    one, far = pipe()
    with one.socket, far.socket:
        one.send(encode({"value": to_message(run)}))
        message = far.receive()["value"]
    assert from_message(message, run.shared) == run
    assert from_message(message, run.shared, other) == replace(run, seconds=other)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        encode({"value": 1j})


def test_a_pipe_ends_with_its_other_end() -> None:
    one, other = pipe()
    with other.socket:
        one.send(encode(1))
        one.close()
        assert other.receive() == 1
        with pytest.raises(EOFError):
            other.receive()


@pytest.mark.parametrize("spin", [0.0, 0.01])
def test_a_watch_tells_who_has_something_to_say(spin: float) -> None:
    pipes = [pipe() for _ in range(3)]
    watch = Watch(*[theirs for _, theirs in pipes])
    assert watch.wait(0.01, spin) == []
    pipes[1][0].send(encode("a") + encode("b"))
    for word in "ab":  # the second one has been read with the first
        (end,) = watch.wait(None, spin)
        assert end is pipes[1][1]
        assert end.receive() == word
    assert watch.wait(0.01, spin) == []
    pipes[2][0].close()
    assert watch.wait(None, spin) == [pipes[2][1]]
    for ends in pipes:
        for end in ends:
            end.close()
