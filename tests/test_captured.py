"""Recorded forwards compute what the forward itself does, whatever was read before and however the cache grows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from branches import read_branches
from hypothesis import given, settings
from tiny_models import PROMPTS, VOCABULARY, on_cuda, tiny_llama

from engine.models.cached_model import CachedModel
from engine.models.captured import FEW_ROWS, LAST_ROWS, MANY_ROWS, SPAN, CapturedForwards, Outputs, pieces
from engine.models.llama import Llama
from engine.models.rows import rows_behind

# Attention over a whole span adds up in another order than over what is there.
assert_close = partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)


def recorded(work: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """As a graph, into the same outputs each time, on a device that has none."""
    outputs = work()

    def replay() -> None:
        for old, new in zip(outputs, work(), strict=True):
            old.copy_(new)

    return outputs, replay


def pair_of(seed: int, capacity: int, kept: torch.Tensor | None = None) -> tuple[CachedModel, CachedModel]:
    """A tiny model with recorded forwards, and one without."""
    model = tiny_llama(seed)
    plain, other = (
        Llama(model.config, model.state_dict(), torch.float32, kept=kept, capacity=capacity) for _ in range(2)
    )
    other.captured = CapturedForwards(other._compute, other.device, other.dtype, recorded)
    other.captured.prepare(other.capacity)
    return CachedModel(other), CachedModel(plain)


line = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)


@settings(deadline=None, max_examples=25)
@given(st.lists(line, min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 3))
def test_lines_and_branches_are_read_as_without(lines: list[list[int]], branches: int, steps: int) -> None:
    captured, plain = pair_of(0, capacity=8)
    context: list[int] = []
    for words in lines:
        context += words
        for model in (captured, plain):
            model.rewind(context)
        last = min(len(words), LAST_ROWS)
        assert_close(captured.read(words, last), plain.read(words, last))
    for step in range(steps):
        tokens = [(branch, 3 * branch + step) for branch in range(branches)]
        assert_close(read_branches(captured, tokens), read_branches(plain, tokens))


@given(st.integers(1, 3 * MANY_ROWS[-1]))
def test_pieces_are_all_rows_and_few_more(count: int) -> None:
    found = list(pieces(count))
    assert [i for first, end, _ in found for i in range(first, end)] == list(range(count))
    assert all(rows in (*range(1, FEW_ROWS + 1), *MANY_ROWS) for _, _, rows in found)
    assert all(
        rows == end - first or FEW_ROWS < end - first <= rows < 2 * (end - first)
        for first, end, rows in found
    )


@pytest.mark.parametrize(
    ("count", "last"), [(MANY_ROWS[-1] + 5, 9), (2 * MANY_ROWS[-1], LAST_ROWS), (600, 1)]
)
def test_a_long_prompt_is_read_in_pieces(count: int, last: int) -> None:
    captured, plain = pair_of(2, capacity=1024)
    words = [(7 * i) % VOCABULARY for i in range(count)]
    assert_close(captured.read(words, last), plain.read(words, last))
    assert_close(captured.read([3, 4]), plain.read([3, 4]))


@pytest.mark.parametrize("branches", [FEW_ROWS, FEW_ROWS + 4, LAST_ROWS + 1])
def test_many_branches_are_read_as_without(branches: int) -> None:
    captured, plain = pair_of(0, capacity=64)
    for model in (captured, plain):
        model.read(PROMPTS[0])
    for step in range(2):
        tokens = [(branch, branch + step) for branch in range(branches)]
        assert_close(read_branches(captured, tokens), read_branches(plain, tokens))


def test_a_text_may_outgrow_spans_and_cache() -> None:
    captured, plain = pair_of(1, capacity=SPAN + 8)
    for turn in range(2 * SPAN // FEW_ROWS + 2):
        words = [(turn + i) % VOCABULARY for i in range(FEW_ROWS)]
        assert_close(captured.read(words, last=2), plain.read(words, last=2))
    decoder: Any = captured.decoder
    assert decoder.capacity > 2 * SPAN


def test_a_cut_head_hears_each_prompt() -> None:
    """Though its forwards were recorded before."""
    captured, plain = pair_of(0, capacity=64, kept=torch.tensor([1, 4, 9]))
    for prompt in PROMPTS:
        for model in (captured, plain):
            model.clear(prompt)
        assert_close(captured.read(prompt[:3]), plain.read(prompt[:3]))
        assert captured.reader.token_ids(range(3, 5)) == plain.reader.token_ids(range(3, 5))


def test_features_are_those_of_the_forward_itself() -> None:
    captured, plain = pair_of(0, capacity=64)
    for model in (captured, plain):
        model.decoder.watch = True
        model.read(PROMPTS[0], last=3)
    assert_close(captured.decoder.features, plain.decoder.features)
    assert captured.decoder.features.shape == (3, 2 * 64)


def test_what_is_recorded_is_recorded_once() -> None:
    captured, _ = pair_of(0, capacity=64)
    decoder: Any = captured.decoder
    before = len(decoder.captured.graphs)
    for tokens in ([1], [2, 3], [4], [5, 6]):
        captured.read(tokens)
    assert (
        len(decoder.captured.graphs) == before + 2
    )  # of a cache too short for those that are there from the start


@on_cuda
def test_graphs_on_a_device_compute_what_the_host_launches() -> None:
    model = tiny_llama(0)
    captured, plain = (
        Llama(model.config, model.state_dict(), torch.float32, device="cuda:0") for _ in range(2)
    )
    plain.captured = None
    for start, count in ((0, 5), (5, 1), (6, 16), (22, 3), (25, 100)):
        tokens = [i % VOCABULARY for i in range(count)]
        last = min(count, LAST_ROWS)
        got, want = (m.forward([rows_behind(tokens, start, last)]) for m in (captured, plain))
        assert_close(got, want)


@on_cuda
def test_a_cut_head_hears_each_prompt_on_a_device() -> None:
    model = tiny_llama(0)
    captured, plain = (
        Llama(model.config, model.state_dict(), torch.float32, kept=torch.tensor([1, 4, 9]), device=device)
        for device in ("cuda:0", "cpu")
    )
    for prompt in PROMPTS:
        got, want = (CachedModel(decoder) for decoder in (captured, plain))
        for read in (got, want):
            read.clear(prompt)
        assert_close(got.read(prompt[:3]).cpu(), want.read(prompt[:3]))
        assert got.reader.token_ids(range(3, 5)) == want.reader.token_ids(range(3, 5))
