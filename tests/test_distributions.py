"""Noise makes draws of the right law, which two models share, and the warped law is transformers' own."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from engine.models.distributions import acceptance_bound, distribution, perturb
from engine.models.sampling import GREEDY, Sampling

WARM = Sampling(temperature=0.7, seed=5)
DRAWS, LEVEL = 4000, 1e-4


def rows(seed: int, size: int) -> torch.Tensor:
    return 2.0 * torch.randn(1, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "sampling", [WARM, Sampling(temperature=1.4, top_k=3), Sampling(temperature=1, top_p=0.8)]
)
def test_the_largest_of_each_row_is_a_draw(sampling: Sampling) -> None:
    """Chi-square of 4,000 places against the distribution; false alarms at 1e-4."""
    logits = rows(1, 7)
    chances = distribution(logits, sampling)[0].double()
    drawn = perturb(logits.expand(DRAWS, -1), sampling, range(DRAWS)).argmax(dim=-1)
    counts = torch.bincount(drawn, minlength=7)
    assert not counts[chances == 0.0].any()
    likely = chances > 0.0
    expected = DRAWS * chances[likely] / chances.sum()
    assert chisquare(counts[likely], expected).pvalue > LEVEL


@given(st.integers(0, 10**6), st.integers(2, 30), st.floats(0.0, 3.0))
def test_two_models_draw_the_same_as_often_as_their_laws_let_them(seed: int, size: int, apart: float) -> None:
    """From (1 - D) / (1 + D) to 1 - D (Daliri et al. 2024), within 5 standard errors of 1,000 draws."""
    one = rows(seed, size)
    other = one + apart * rows(seed + 1, size)
    places = range(1000)
    mine, theirs = (perturb(logits.expand(1000, -1), WARM, places).argmax(dim=-1) for logits in (one, other))
    distance = float((distribution(one, WARM) - distribution(other, WARM)).abs().sum()) / 2.0
    same = float((mine == theirs).float().mean())
    least, most = (1.0 - distance) / (1.0 + distance), 1.0 - distance
    slack = 5.0 * (0.25 / 1000) ** 0.5
    assert least - slack <= same <= most + slack


@given(st.integers(0, 10**6), st.integers(4, 40))
def test_a_cut_head_and_a_longer_vocabulary_get_the_same_noise(seed: int, size: int) -> None:
    logits, kept = rows(seed, size), torch.arange(1, size, 2)
    noise = perturb(logits, WARM, [9]) - logits
    assert torch.allclose(
        perturb(logits[:, kept], WARM, [9], kept) - logits[:, kept], noise[:, kept], atol=1e-5
    )
    longer = torch.cat([logits, torch.zeros(1, 5)], dim=1)
    assert torch.allclose(perturb(longer, WARM, [9])[:, :size], logits + noise, atol=1e-5)


def test_rows_of_one_place_share_its_noise_and_greedy_rows_get_none() -> None:
    logits = rows(2, 9).expand(3, -1)
    found = perturb(logits, WARM, [4, 4, 5])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert perturb(logits, GREEDY, [4, 4, 5]) is logits


def test_a_low_temperature_is_nearly_greedy() -> None:
    logits = rows(3, 50)
    cold = perturb(logits, Sampling(temperature=1e-3), [0])
    assert torch.allclose(cold, logits, atol=0.02)


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
