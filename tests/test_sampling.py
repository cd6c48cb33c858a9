"""How tokens are drawn is checked when it is given, and a text's seed is its own."""

import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kstest

from engine.kernels.noise import gumbel
from engine.models.sampling import Sampling


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
    mine, theirs = (
        gumbel([(text.seed, place) for place in range(5000)], torch.tensor([0]))[:, 0]
        for text in (one, other)
    )
    assert kstest(mine - theirs, "logistic").pvalue > 1e-3  # the law of the difference of two such numbers
