"""Branches that share a cache see the prefix and themselves alone, on both forward paths."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from branches import contexts_of
from tiny_models import PROMPTS, tiny_llama

from engine.models.cached_model import CachedModel
from engine.models.llama import Llama
from engine.models.transformers_model import TransformersModel
from engine.policies.forms import Parents
from engine.policies.tree import TokenTree


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
    first = shared.read_nodes([3, 9], [-1, -1])
    torch.testing.assert_close(first[1], expected(9), atol=1e-4, rtol=1e-4)
    second = shared.read_nodes([4, 8], [0, 1])
    torch.testing.assert_close(second[0], expected(3, 4), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second[1], expected(9, 8), atol=1e-4, rtol=1e-4)
    assert shared.rewind([*prompt, 9, 8, 7]) == (7,)
    torch.testing.assert_close(shared.read([7])[-1], expected(9, 8, 7), atol=1e-4, rtol=1e-4)
    assert shared.rewind([*prompt, 9, 2]) == (2,)
    torch.testing.assert_close(shared.read([2])[-1], expected(9, 2), atol=1e-4, rtol=1e-4)


TREE = TokenTree((3, 9, 4, 8, 5, 6, 7, 2, 1), Parents((-1, 0, 1, -1, 1, 4, 3, 6, 0)), (0.5,) * 9)


@pytest.mark.parametrize("make", [lean, general])
@pytest.mark.parametrize("kept", range(-1, len(TREE)))
def test_a_tree_is_read_at_once_and_one_path_of_it_kept(
    make: Callable[[Any], CachedModel], kept: int
) -> None:
    """Logits of each node are those of its path alone; what is kept is not read again, and what comes next is right."""
    model, prompt = tiny_llama(2), PROMPTS[2]
    shared = make(model)
    logits = shared.read(shared.rewind(prompt), last=1, tree=TREE)
    contexts = [prompt, *contexts_of(TREE, prompt)]
    for row, context in zip(logits, contexts, strict=True):
        torch.testing.assert_close(row, make(model).read(context, last=1)[0], atol=1e-4, rtol=1e-4)
    assert shared.cache.tokens_read == len(prompt) + len(TREE)
    text = [*contexts[kept + 1], 11]
    assert shared.rewind(text) == (11,)
    torch.testing.assert_close(shared.read([11]), make(model).read(text, last=1), atol=1e-4, rtol=1e-4)


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
        tokens = cut.reader.token_ids(range(count))
        assert set(tokens) == {*kept.tolist(), *prompt}
        assert len(tokens) == len(set(tokens))
        torch.testing.assert_close(logits[:count], whole[tokens])
