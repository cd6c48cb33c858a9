"""Branches that share a cache see the prefix and themselves alone, on both forward paths."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import PROMPTS, tiny_llama

from engine.models.cached_model import CachedModel
from engine.models.llama import Llama
from engine.models.transformers_model import TransformersModel


def lean(model: Any) -> CachedModel:
    # A small capacity, so that the cache must grow.
    return CachedModel(Llama(model.config, model.state_dict(), torch.float32, capacity=4))


def general(model: Any) -> CachedModel:
    return CachedModel(TransformersModel(model))


@pytest.mark.parametrize("make", [lean, general])
def test_branches_equal_separate_reads(make: Callable[[Any], CachedModel]) -> None:
    model = tiny_llama(0)
    prompt = PROMPTS[0]

    def expected(*tokens: int) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = model(torch.tensor([[*prompt, *tokens]])).logits[0, -1]
        return logits

    shared = make(model)
    unread = shared.rewind(prompt)
    torch.testing.assert_close(shared.read(unread)[-1], expected(), atol=1e-4, rtol=1e-4)
    first = shared.read_branches([(0, 3), (1, 9)])
    torch.testing.assert_close(first[1], expected(9), atol=1e-4, rtol=1e-4)
    second = shared.read_branches([(0, 4), (1, 8)])
    torch.testing.assert_close(second[0], expected(3, 4), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second[1], expected(9, 8), atol=1e-4, rtol=1e-4)
    assert shared.rewind([*prompt, 9, 8, 7]) == (7,)
    torch.testing.assert_close(shared.read([7])[-1], expected(9, 8, 7), atol=1e-4, rtol=1e-4)
    assert shared.rewind([*prompt, 9, 2]) == (2,)
    torch.testing.assert_close(shared.read([2])[-1], expected(9, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [lean, general])
def test_what_is_read_beside_a_line_is_forgotten(make: Callable[[Any], CachedModel]) -> None:
    """Its logits are those behind the line up to its place, and nothing after it changes."""
    model, prompt, line = tiny_llama(2), PROMPTS[2], [3, 9, 4]
    beside = [(0, 8), (2, 5), (2, 6)]
    shared = make(model)
    unread = len(shared.rewind(prompt))
    places = [(unread + place, token) for place, token in beside]
    logits = shared.read((*prompt, *line), last=len(line) + 1, beside=places)
    contexts = [[*prompt, *line[:end]] for end in range(len(line) + 1)]
    contexts += [[*prompt, *line[:place], token] for place, token in beside]
    for row, context in zip(logits, contexts, strict=True):
        torch.testing.assert_close(row, make(model).read(context, last=1)[0], atol=1e-4, rtol=1e-4)
    assert shared.ledger.tokens_read == len(prompt) + len(line) + len(beside)
    assert shared.rewind([*prompt, *line, 7]) == (7,)
    expected = make(model).read([*prompt, *line, 7], last=1)
    torch.testing.assert_close(shared.read([7]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [lean, general])
def test_last_rows_are_the_last_of_all_rows(make: Callable[[Any], CachedModel]) -> None:
    model = tiny_llama(1)
    everything = make(model).read(PROMPTS[3])
    torch.testing.assert_close(make(model).read(PROMPTS[3], last=2), everything[-2:])


def test_rows_of_a_cut_head_are_named_by_token() -> None:
    """Those that it keeps, and those of the prompt, until there is another; no others are ever said."""
    model, kept = tiny_llama(0), torch.tensor([2, 5, 7, 40])
    cut = CachedModel(Llama(model.config, model.state_dict(), torch.float32, kept=kept))
    for prompt in (PROMPTS[0], PROMPTS[1]):
        whole = lean(model).read(prompt, last=1)[0]
        cut.clear(prompt)
        logits = cut.read(prompt, last=1)[0]
        count = int(logits.isfinite().sum())
        tokens = cut.token_ids(range(count))
        assert set(tokens) == {*kept.tolist(), *prompt}
        assert len(tokens) == len(set(tokens))
        torch.testing.assert_close(logits[:count], whole[tokens])
