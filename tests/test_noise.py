"""The noise of a token depends on seed, place and token alone, is of Gumbel's law, and compiled it is the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from tiny_models import on_cuda

from engine.kernels import compiled_noise, noise
from engine.kernels.crew import Crew
from engine.kernels.noise import add_noise, gumbel

seeds, places = st.integers(0, 2**70), st.integers(0, 10**6)


@given(seeds, places, st.integers(1, 200), st.integers(0, 100))
def test_noise_is_the_same_again_and_shared_by_longer_vocabularies(
    seed: int, place: int, tokens: int, more: int
) -> None:
    found = gumbel([(seed, place)], torch.arange(tokens))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert torch.equal(gumbel([(seed, place)], torch.arange(tokens + more))[:, :tokens], found)
    for other in (
        gumbel([(seed, place + 1)], torch.arange(tokens)),
        gumbel([(seed + 1, place)], torch.arange(tokens)),
    ):
        assert not (other == found).any()


@settings(deadline=None)
@given(seeds, st.lists(places, min_size=1, max_size=4), st.integers(1, 400), st.sampled_from([0.3, 1.0, 2.0]))
def test_what_is_compiled_is_the_same(seed: int, at: list[int], tokens: int, temperature: float) -> None:
    """Of a place given twice, too, whether or not behind itself; float32's rounding apart."""
    assert vars(noise)["compiled_noise"] is compiled_noise
    draws = [(seed, place) for place in (*at, at[-1], at[0])]
    scores, kept = torch.randn(len(draws), tokens), torch.arange(tokens) * 3 + 1
    want = (scores + gumbel(draws, kept)) * temperature
    torch.testing.assert_close(
        add_noise(scores.clone(), draws, temperature, kept), want, atol=5e-6, rtol=1e-6
    )
    whole = (scores + gumbel(draws, torch.arange(tokens))) * temperature
    torch.testing.assert_close(add_noise(scores.clone(), draws, temperature), whole, atol=5e-6, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
@settings(deadline=None)
@given(
    st.lists(st.tuples(seeds, places), min_size=1, max_size=9),
    st.integers(1, 400),
    st.sampled_from([0.3, 1.0, 2.0]),
)
def test_rows_together_get_what_each_gets_alone(
    threads: int, draws: list[tuple[int, int]], tokens: int, temperature: float
) -> None:
    """To the last bit, of texts of several seeds, and however many threads share them."""
    scores = torch.randn(len(draws), tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.get_num_threads", lambda: threads)
        patch.setattr(noise, "SHARED", 1)
        together = add_noise(scores.clone(), draws, temperature, crew=Crew())
    for row, draw in enumerate(draws):
        alone = add_noise(scores[row : row + 1].clone(), [draw], temperature)
        assert torch.equal(together[row : row + 1], alone)


def test_noise_is_of_gumbels_law_over_tokens_places_and_seeds() -> None:
    """Kolmogorov and Smirnov's test, 5,000 numbers each and a million, false alarms at 1e-3."""
    for found in (
        gumbel([(3, 7)], torch.arange(5000))[0],
        gumbel([(3, place) for place in range(5000)], torch.tensor([2]))[:, 0],
        torch.cat([gumbel([(seed, 9)], torch.tensor([0]))[0] for seed in range(5000)]),
        add_noise(torch.zeros(20, 50_000), [(5, place) for place in range(20)], 1.0).flatten(),
    ):
        assert kstest(found.numpy(), "gumbel_r").pvalue > 1e-3


def test_unlikely_tokens_win_as_often_as_they_should() -> None:
    """Among 2^24 draws, noise above 14 is there as often as Gumbel's law says; five standard deviations."""
    count = sum(int((gumbel([(seed, 0)], torch.arange(1 << 20)) > 14.0).sum()) for seed in range(16))
    expected = (1 << 24) * (1.0 - float(torch.exp(-torch.exp(torch.tensor(-14.0, dtype=torch.float64)))))
    assert abs(count - expected) < 5.0 * expected**0.5


@on_cuda
def test_a_device_makes_the_same_noise() -> None:
    tokens, draws = torch.arange(50_000), [(3, 1), (3, 5)]
    torch.testing.assert_close(
        gumbel(draws, tokens.cuda()).cpu(), gumbel(draws, tokens), atol=1e-6, rtol=1e-6
    )
