"""The noise of a token depends on seed, place and token alone, and is of Gumbel's law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from engine.sampling import Sampling, gumbel


@given(st.integers(0, 2**48), st.integers(0, 10**6), st.integers(1, 200), st.integers(0, 100))
def test_noise_is_the_same_again_and_shared_by_longer_vocabularies(
    seed: int, place: int, tokens: int, more: int
) -> None:
    noise = gumbel(seed, place, tokens)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert np.array_equal(gumbel(seed, place, tokens + more)[:tokens], noise)
    for other in (gumbel(seed, place + 1, tokens), gumbel(seed + 1, place, tokens)):
        assert not (other == noise).any()


def test_noise_is_of_gumbels_law_over_tokens_places_and_seeds() -> None:
    """Kolmogorov and Smirnov's test, 5,000 numbers each, false alarms at 1e-3."""
    for noise in (
        gumbel(3, 7, 5000),
        [gumbel(3, place, 3)[2] for place in range(5000)],
        [gumbel(seed, 9, 1)[0] for seed in range(5000)],
    ):
        assert kstest(noise, "gumbel_r").pvalue > 1e-3


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0.0}, {"top_k": 0}, {"seed": -1}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_texts_share_no_noise() -> None:
    """What two texts add is as far apart as chance has it; the same text's noise is the same again."""
    base = Sampling(temperature=0.8, top_p=0.9, seed=4)
    one, other = base.of_text("one"), base.of_text("other")
    assert one == base.of_text("one") != base.model_copy(update={"seed": 5}).of_text("one")
    assert (one.temperature, one.top_p) == (0.8, 0.9)
    apart = [gumbel(one.seed, place, 1)[0] - gumbel(other.seed, place, 1)[0] for place in range(5000)]
    assert kstest(apart, "logistic").pvalue > 1e-3  # the law of the difference of two such numbers
