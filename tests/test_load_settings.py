"""The settings of policies that ask about the load say what they seem to, and nothing that has a gap."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import ValidationError

from engine.configuration import Configuration
from engine.policies.echo import stretch
from engine.policies.settings import Settings
from engine.runtime.workload import slots_needed


@pytest.mark.parametrize(
    ("said", "lengths"),
    [
        ("1-4: 4, 5-12: 2, 13-: 0", ((1, 4, 4), (5, 12, 2), (13, None, 0))),
        ("1-:3", ((1, None, 3),)),
        ("1:5/2-:1", ((1, 1, 5), (2, None, 1))),
    ],
)
def test_lengths_by_load_are_read(said: str, lengths: tuple[Any, ...]) -> None:
    made = Settings(policy="length-by-load", lengths_by_load=said)
    assert made.lengths == lengths
    assert Settings(policy="length-by-load", lengths_by_load=made.lengths_by_load) == made
    for first, last, length in lengths:
        assert {made.length_at(running) for running in (first, last or first + 99)} == {length}


@pytest.mark.parametrize(
    "said", ["", "4", "1-4:4", "2-:1", "1-4:4/6-:0", "1-4:4/4-:0", "1-4:4/5-3:1/6-:0", "1-:65"]
)
def test_lengths_by_load_have_no_gap(said: str) -> None:
    with pytest.raises(ValidationError, match="from 1 on without a gap"):
        Settings(policy="length-by-load", lengths_by_load=said)


@pytest.mark.parametrize("said", ["", "1", "0:0.2", "4:0.2/1:0.3", "1:1.5", "65:0.1", "1:x"])
def test_gates_are_shares_at_rising_depths(said: str) -> None:
    with pytest.raises(ValidationError, match="depths in rising order"):
        Settings(policy="echo", gates=said)


@given(st.integers(1, 20), st.lists(st.integers(1, 20), min_size=1, unique=True))
def test_gates_lie_within_a_draft(length: int, depths: list[int]) -> None:
    said = "/".join(f"{depth}:0.5" for depth in sorted(depths))
    stretches = Settings(policy="echo", draft_length=length, gates=said).gated_stretches
    ends = [sum(levels for levels, _ in stretches[: i + 1]) for i in range(len(stretches))]
    assert ends == [*sorted(depth for depth in depths if depth < length), length]


@given(st.integers(1, 9), st.integers(1, 8))
def test_a_stretch_is_a_line_with_candidates_beside_its_last_token(levels: int, width: int) -> None:
    parents, ranks = stretch(levels, width)
    assert parents.first_line == tuple(range(levels))
    assert ranks[:levels] == (0,) * levels
    assert ranks[levels:] == tuple(range(1, width))
    assert {parents[node] for node in range(levels - 1, len(ranks))} == {levels - 2}


def test_a_request_has_room_for_its_longest_draft() -> None:
    plain = Configuration(policy="speculative", draft_length=4)
    several = Configuration(policy="length-by-load", lengths_by_load="1-2:4/3-4:2/5-:0")
    longer = Configuration(policy="length-by-load", lengths_by_load="1-2:20/3-:0")
    assert slots_needed(longer, 10, 10) == slots_needed(plain.model_copy(update={"draft_length": 20}), 10, 10)
    assert slots_needed(several, 10, 10) == slots_needed(plain, 10, 10)
