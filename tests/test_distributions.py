"""Draws follow the chances, residuals are Leviathan's, and the warped law is transformers' own."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from engine.distributions import acceptance_bound, distribution, draw, residual
from engine.sampling import Sampling

CHANCES = st.lists(st.floats(0.0, 1.0, width=32), min_size=2, max_size=40).filter(lambda row: sum(row) > 1e-3)


@given(CHANCES, st.floats(0.0, 1.0, exclude_max=True))
def test_a_draw_has_a_chance_and_its_number_falls_into_its_share(row: list[float], number: float) -> None:
    (index,) = draw(torch.tensor([row]), [number])
    assert row[index] > 0.0
    total = sum(row)
    assert sum(row[:index]) / total - 1e-5 <= number <= sum(row[: index + 1]) / total + 1e-5


def test_the_largest_number_draws_the_last_token_that_has_a_chance() -> None:
    assert draw(torch.tensor([[0.25, 0.75, 0.0]]), [1.0 - 2.0**-53]) == [1]


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_residual_and_acceptance_together_give_the_target(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.rand(size, generator=generator, dtype=torch.float64).softmax(0) for _ in range(2))
    rest = residual(p, q)
    accepted = torch.minimum(p, q)
    emitted = accepted + (1.0 - accepted.sum()) * rest / rest.sum()
    assert torch.allclose(emitted, p)


def test_equal_distributions_leave_the_target_itself() -> None:
    p = torch.tensor([0.5, 0.5])
    assert residual(p, p).equal(p)


def test_the_law_is_the_one_transformers_samples_from() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model: Any = LlamaForCausalLM(config)
    make_settings: Any = GenerationConfig
    logits = 4.0 * torch.randn(5, 64)
    for sampling in (Sampling(temperature=0.7, top_k=12), Sampling(temperature=1.3, top_p=0.8)):
        settings = make_settings(
            do_sample=True,
            temperature=sampling.temperature,
            top_k=sampling.top_k or 0,
            top_p=sampling.top_p,
        )
        theirs = logits
        for warper in model._get_logits_processor(settings):
            theirs = warper(torch.zeros(5, 1, dtype=torch.long), theirs)
        assert torch.allclose(distribution(logits, sampling), theirs.softmax(dim=-1))


def test_the_bound_is_one_without_doubt_and_falls_with_entropy() -> None:
    sure = torch.tensor([[30.0, 0.0, 0.0, 0.0]])
    even = torch.zeros(1, 4)
    assert float(acceptance_bound(sure)) > 0.999
    assert abs(float(acceptance_bound(even)) - (1.0 - (0.2 * torch.log(torch.tensor(4.0))) ** 0.5)) < 1e-6
