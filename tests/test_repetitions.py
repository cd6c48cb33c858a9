"""Guesses let a draft write more of the same in as many forwards; lines are lengthened where a repetition agrees."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from table_pair import VOCABULARY, TableDecoder

from engine.models.cached_model import CachedModel
from engine.models.decoding import write_draft
from engine.models.sampling import Sampling
from engine.policies.guesses import Repeats, guess_of, take
from engine.policies.ngrams import NONE
from engine.policies.protocol import Draft, DraftLimits
from engine.policies.repetitions import Repetitions
from engine.policies.tree import EMPTY, TokenTree, line_of

TEXTS = st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=30)


def circling() -> torch.Tensor:
    """Logits after which 0, 1, 2, 3 follow one another, nearly always, whatever came before."""
    return torch.eye(VOCABULARY).roll(1, dims=1).mul(6.0).expand(VOCABULARY, -1, -1).clone()


def written(draft: CachedModel, *given: Any, **options: Any) -> Draft:
    return draft.compute(write_draft(draft, *given, **options))


@given(TEXTS, TEXTS, st.integers(1, 5))
def test_what_is_behind_a_text_is_looked_up_in_it(text: list[int], behind: list[int], count: int) -> None:
    """As if it were the text's own end, but that it holds no occurrence itself."""
    whole = text + behind
    found = Repetitions().look_up(text, tuple(whole[-3:]), count, 2)
    for length in (3, 2):
        if length >= len(whole):
            continue
        ends = [end for end in range(length, len(text)) if text[end - length : end] == whole[-length:]]
        if ends:
            assert found == tuple(text[max(ends) : max(ends) + count])
            return
    assert found == ()


@settings(deadline=None)
@given(
    st.integers(0, 1000),
    TEXTS,
    st.integers(1, 8),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.booleans(),
)
def test_a_draft_writes_the_same_with_guesses(
    seed: int, text: list[int], length: int, guesses: int, branches: int, least: float, drawn: bool
) -> None:
    table = 2.0 * torch.randn(
        VOCABULARY, VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed)
    )
    sampling = Sampling(temperature=1.0, seed=seed) if drawn else Sampling()
    plain, guessing = (CachedModel(TableDecoder(table)) for _ in range(2))
    for more in ([], [1], [1, 2]):  # the cache is what it would be, too
        limits = DraftLimits(length, branches, least, adaptive=True, drawn=drawn, guesses=guesses)
        guess = guess_of(Repetitions(), NONE, text, more, limits)
        got = written(guessing, text + more, limits, sampling=sampling, guess=guess)
        without = replace(limits, guesses=0)
        want = written(plain, text + more, without, sampling=sampling)
        if not want.tree.is_chain:
            assert got == want
            continue
        longer = written(plain, text + more, replace(without, length=limits.most), sampling=sampling)
        line = got.tree
        assert line == longer.tree.until(len(line))
        assert len(want.tree) <= len(line) <= limits.most
        assert got.steps <= length
        assert len(line) == len(longer.tree) or got.steps == length


@pytest.mark.parametrize(
    ("length", "guesses", "tokens", "steps"),
    [(7, 0, 7, 7), (4, 1, 5, 3), (4, 3, 7, 2), (2, 2, 4, 2), (2, 6, 8, 2), (1, 3, 4, 1)],
)
def test_right_guesses_spare_forwards(length: int, guesses: int, tokens: int, steps: int) -> None:
    text = [0, 1, 2, 3] * 4  # four tokens follow the latest earlier occurrence of its last ones
    limits = DraftLimits(length, guesses=guesses)
    draft = written(
        CachedModel(TableDecoder(circling())),
        text,
        limits,
        guess=guess_of(Repetitions(), NONE, text, (), limits),
    )
    assert draft.tree.tokens == (0, 1, 2, 3, 0, 1, 2, 3)[:tokens]
    assert draft.steps == steps


@pytest.mark.parametrize(
    ("rows", "line", "right", "goes_on"),
    [
        ([(5, True), (6, True), (7, True)], [5, 6, 7], 2, True),  # both guesses, and one token more
        ([(5, True), (9, True), (7, True)], [5, 9], 1, True),
        ([(9, True), (6, True), (7, True)], [9], 0, True),
        ([(5, True), (6, False), (7, True)], [5], 1, False),
        ([(5, False), (6, False), (7, True)], [5], 1, False),  # its first token needs no sureness
    ],
)
def test_a_line_takes_what_was_guessed_right(
    rows: Sequence[tuple[int, bool]], line: list[int], right: int, goes_on: bool
) -> None:
    written: list[int] = []
    assert take(written, (5, 6), rows) == (right, goes_on)
    assert written == line


def test_lines_are_lengthened_where_a_repetition_agrees() -> None:
    def lengthened(most: int, text: Sequence[int], line: TokenTree) -> TokenTree:
        return Repeats(most).lengthen(SimpleNamespace(text=text, repetitions=Repetitions()), line)

    text = [4, 5, 6, 7, 8, 9, 1, 4, 5, 6]
    for line, longer in (
        ((), (7, 8, 9, 1)),
        ((7, 8), (7, 8, 9, 1)),
        ((7, 9), (7, 9)),
        ((7, 8, 9, 1, 2), None),
    ):
        got = lengthened(4, text, line_of(line, (0.5,) * len(line)))
        assert got.tokens == (line if longer is None else longer)
        assert got.confidences == (0.5,) * len(line) + (1.0,) * (len(got) - len(line))
    assert lengthened(0, text, EMPTY) == EMPTY
    assert lengthened(4, [1, 2, 4, 5, 6], EMPTY) == EMPTY
