"""The real engine: greedy output is the target's own, and the accounting adds up, on tiny random models."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.cached_model import CachedModel
from engine.policies.settings import Settings
from engine.rounding import round_weights
from engine.session import generate

VOCABULARY = 48
PROMPTS = [[1 + (7 * i * j + i) % (VOCABULARY - 1) for j in range(5 + i)] for i in range(6)]
TOKENS = 24


def tiny(seed: int, bits: int | None = None) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    model: Any = LlamaForCausalLM(config)
    if bits:
        round_weights(model, bits)
    return model.eval()


@torch.inference_mode()
def reference(model: Any, prompt: list[int], end: int | None = None) -> tuple[int, ...]:
    """The target's greedy text by whole forwards, without any cache."""
    text = list(prompt)
    while len(text) < len(prompt) + TOKENS and (len(text) == len(prompt) or text[-1] != end):
        text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    return tuple(text[len(prompt) :])


SETTINGS = [
    Settings(policy="autoregressive"),
    Settings(policy="speculative", draft_length=3),
    Settings(policy="speculative", draft_length=6, min_confidence=0.3),
    Settings(policy="pearl", draft_length=4),
    Settings(policy="specbranch", draft_length=1, branches=3),
    Settings(policy="specbranch", draft_length=5, branches=4, min_confidence=0.3),
    Settings(policy="specbranch", draft_length=4, branches=3, adaptive_branches=False),
]


@pytest.mark.parametrize("draft", ["same", "rounded", "other"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_greedy_text_is_the_targets_own(settings: Settings, draft: str) -> None:
    target = tiny(0)
    drafter = {"same": lambda: tiny(0), "rounded": lambda: tiny(0, bits=3), "other": lambda: tiny(5)}[draft]()
    for prompt in PROMPTS:
        run = generate(settings, CachedModel(target), CachedModel(drafter), prompt, max_tokens=TOKENS)
        assert run.tokens == reference(target, prompt)
        assert sum(r.emitted for r in run.rounds) == len(run.tokens)
        assert all(r.emitted == r.accepted + 1 for r in run.rounds[:-1])
        if draft == "same":
            assert sum(r.accepted for r in run.rounds) == sum(r.verified for r in run.rounds)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_text_ends_at_the_end_token(settings: Settings) -> None:
    target = tiny(0)
    end = reference(target, PROMPTS[0])[7]
    run = generate(
        settings, CachedModel(target), CachedModel(tiny(0)), PROMPTS[0], max_tokens=TOKENS, end_tokens={end}
    )
    assert run.tokens == reference(target, PROMPTS[0], end)


def test_branches_equal_separate_reads() -> None:
    model = tiny(0)
    shared = CachedModel(model)
    shared.read(shared.rewind(PROMPTS[0]))
    shared.read_branches([(0, 3), (1, 9)])
    logits = shared.read_branches([(0, 4), (1, 8)])
    for row, branch in enumerate(([3, 4], [9, 8])):
        alone = CachedModel(model)
        expected = alone.read([*PROMPTS[0], *branch])[-1]
        torch.testing.assert_close(logits[row], expected)
    assert shared.rewind([*PROMPTS[0], 9, 8, 7]) == [7]
    again = shared.read([7])[-1]
    torch.testing.assert_close(again, CachedModel(model).read([*PROMPTS[0], 9, 8, 7])[-1])
    assert shared.cache.get_seq_length() == len(PROMPTS[0]) + 3
