"""The default pair, served: in float32 each of several requests gets the target's own text, by every policy."""

from collections.abc import Iterator

import pytest

from calibrate.prompts import builtin_prompts
from engine.configuration import Configuration
from engine.drafts.default_drafts import choose_models
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair, open_pair
from engine.runtime.placement import usable_cores
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget, Discipline
from engine.runtime.served_session import Serve

TOKENS, REQUESTS = 24, 4
ALONE = Configuration(policy="autoregressive", placement="in-turn")
CONFIGURATIONS = (
    ALONE,
    Configuration(policy="prompt-lookup", draft_length=4, placement="in-turn"),
    Configuration(policy="pearl", draft="distilled", draft_length=3),
    Configuration(policy="specbranch", draft="distilled", draft_length=4, branches=2),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(len(usable_cores()) < 2, reason="drafting at once needs two cores"),
]


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Pair, Tokenizer]]:
    target, drafts = choose_models(None, None, "float32")
    with open_pair(target, {"distilled": drafts["distilled"]}) as opened:
        yield opened


@pytest.fixture(scope="module")
def texts(opened: tuple[Pair, Tokenizer]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Prompts with the text that the target alone writes behind each when nothing else is served."""
    pair, tokenizer = opened
    prompts = [tokenizer.encode(prompt.text) for prompt in builtin_prompts("heldout", REQUESTS)]
    return [(ids, pair.generate(ALONE, ids, max_tokens=TOKENS).tokens) for ids in prompts]


@pytest.mark.parametrize("discipline", ["ready", "lockstep"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.label())
def test_texts_of_the_real_pair_under_load_are_those_of_each_alone(
    opened: tuple[Pair, Tokenizer],
    texts: list[tuple[list[int], tuple[int, ...]]],
    configuration: Configuration,
    discipline: Discipline,
) -> None:
    """Four requests, the last of which comes a little later; prompts are read in chunks beside what is written."""
    requests = [Request(ids, configuration, TOKENS) for ids, _ in texts]
    how = Serve([0.0] * (REQUESTS - 1) + [0.2], None, Budget(rows=48), discipline, True)
    served = opened[0].serve(configuration, requests, how)
    for run, (_, text) in zip(served.runs, texts, strict=True):
        assert run.warning is None
        assert run.tokens == text
    together = [batch for batch in served.service.batches if len(batch.requests) > 1]
    assert {batch.model for batch in together} == (
        {"target", "draft"} if "draft" in configuration.uses else {"target"}
    )
    assert any(batch.unread for batch in served.service.batches)
    apart = "draft" in configuration.uses and configuration.placement != "in-turn"
    assert len(served.service.devices) == 1 + apart
