"""The numbers of chance depend on seed, purpose and place alone, and look uniform."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from engine.sampling import Sampling, uniform


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 100))
def test_a_number_lies_in_the_unit_interval_and_is_the_same_again(seed: int, place: int, job: int) -> None:
    number = uniform(seed, "draft", place, job)
    assert 0.0 <= number < 1.0
    assert number == uniform(seed, "draft", place, job)
    assert len({number, uniform(seed, "text", place), uniform(seed + 1, "draft", place, job)}) == 3


def test_numbers_are_uniform_over_places_and_over_seeds() -> None:
    assert kstest([uniform(3, "text", place) for place in range(5000)], "uniform").pvalue > 1e-3
    assert kstest([uniform(seed, "accept", 9) for seed in range(5000)], "uniform").pvalue > 1e-3


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0.0}, {"top_k": 0}, {"seed": -1}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_texts_share_no_numbers() -> None:
    """What two texts draw from lies as far apart as chance has it; the same text's numbers are the same again."""
    base = Sampling(temperature=0.8, top_p=0.9, seed=4)
    one, other = base.of_text("one"), base.of_text("other")
    assert one == base.of_text("one") != base.model_copy(update={"seed": 5}).of_text("one")
    assert (one.temperature, one.top_p) == (0.8, 0.9)
    apart = [uniform(one.seed, "text", place) - uniform(other.seed, "text", place) for place in range(5000)]
    assert kstest(apart, "triang", args=(0.5, -1.0, 2.0)).pvalue > 1e-3
