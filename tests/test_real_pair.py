"""The embedded default pair: in float32 every policy writes the target's own text, with each of its drafts.

`make exact` does so on 50 prompts, `make test-all` on six; EXACT_PROMPTS is their number.
"""

import os
from collections.abc import Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM

from calibrate.prompts import builtin_prompts
from calibrate.traces.observation import Text
from engine.configuration import Configuration
from engine.drafts.default_drafts import choose_models
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair, open_pair
from engine.runtime.placement import usable_cores
from reports.verify.audit import TIES, audit

TOKENS = 20
PROMPTS = (builtin_prompts("heldout") + builtin_prompts("calibration"))[
    : int(os.environ.get("EXACT_PROMPTS", 2))
]
DRAFTS = ("int8", "int4", "distilled")
CONFIGURATIONS = (
    Configuration(policy="speculative", draft_length=4, placement="in-turn"),
    Configuration(policy="adaedl", draft_length=6, placement="in-turn"),
    Configuration(policy="pearl", draft_length=3),
    Configuration(policy="specbranch", draft_length=3, branches=3, adaptive_branches=False),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True),
    Configuration(policy="specbranch", draft_length=4, branches=1, redraft=True, guesses=2, repeats=8),
    Configuration(policy="pearl", draft_length=3, guesses=2, repeats=7, second_under=0.5),
)

FIRST = (CONFIGURATIONS[5], "distilled")

pytestmark = pytest.mark.skipif(len(usable_cores()) < 2, reason="drafting at once needs two cores")


TARGET, MADE_OF_IT = choose_models(None, None, "float32")


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Pair, Tokenizer]]:
    """With all drafts; the int4 one's codes are made here if they are not there, which takes minutes."""
    with open_pair(TARGET, MADE_OF_IT) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened_with_first() -> Iterator[tuple[Pair, Tokenizer]]:
    """With the one draft that is tried every time."""
    with open_pair(TARGET, {FIRST[1]: MADE_OF_IT[FIRST[1]]}) as opened:
        yield opened


@pytest.fixture(scope="module")
def texts() -> list[tuple[list[int], tuple[int, ...]]]:
    """Prompts as token ids, and what transformers' own greedy generation writes after them in float32."""
    tokenizer = Tokenizer(TARGET)
    model = AutoModelForCausalLM.from_pretrained(TARGET.location, dtype=torch.float32)
    found = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt.text)
        written = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False)
        found.append((ids, tuple(written[0, len(ids) :].tolist())))
    return found


@pytest.mark.slow
def test_without_a_draft_model_the_target_writes_what_transformers_writes(
    opened: tuple[Pair, Tokenizer], texts: list[tuple[list[int], tuple[int, ...]]]
) -> None:
    pair, tokenizer = opened
    alone = Configuration(policy="autoregressive", placement="in-turn")
    lookup = Configuration(policy="prompt-lookup", draft_length=5, placement="in-turn")
    guessing = lookup.model_copy(update={"guesses": 3})
    for ids, text in texts:
        for configuration in (alone, lookup, guessing):
            run = pair.generate(configuration, ids, max_tokens=TOKENS, end_tokens=tokenizer.end_tokens)
            assert run.tokens == text
        tie = TIES["float32"]
        assert all(gap < tie for _, gap in audit(pair, ids, Text(list(text)), tie))


@pytest.mark.parametrize(
    ("configuration", "draft"),
    [
        # One of them every time, all for a landing: float32 takes the real pair half a minute each.
        pytest.param(
            one, draft, id=f"{one.label()}-{draft}", marks=() if (one, draft) == FIRST else pytest.mark.slow
        )
        for one in CONFIGURATIONS
        for draft in DRAFTS
    ],
)
def test_greedy_text_is_the_targets_own(
    request: pytest.FixtureRequest,
    texts: list[tuple[list[int], tuple[int, ...]]],
    configuration: Configuration,
    draft: str,
) -> None:
    first = (configuration, draft) == FIRST
    pair, tokenizer = request.getfixturevalue("opened_with_first" if first else "opened")
    chosen = configuration.model_copy(update={"draft": draft})
    accepted = 0
    for ids, text in texts:
        run = pair.generate(chosen, ids, max_tokens=TOKENS, end_tokens=tokenizer.end_tokens)
        assert run.tokens == text
        accepted += sum(r.accepted for r in run.rounds)
    assert accepted > 0  # the draft is of some use, so the identity was put to the test
