"""A text ends with a stop text just where transformers' `stop_strings` ends it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, StopStringCriteria

from engine.configuration import Configuration
from engine.models.specs import DEFAULT, ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair
from engine.runtime.placement import usable_cores

SPEC = ModelSpec(source=DEFAULT, precision="float32")
STOPS = ["the", ". ", "\n\n", "é", "wind power", "12"]
PARTS = [" the", "th", "e", "wind", " power", " pow", "er", "1", "2", "\n", "\n\n", ".", " ", "é", "É", "🙂"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(SPEC)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=8),
    stops=st.sets(st.sampled_from(STOPS), min_size=1),
)
def test_it_is_the_last_token_that_completes_one(
    tokenizer: Tokenizer, parts: list[str], stops: set[str]
) -> None:
    inner = tokenizer._inner
    tokens = [token for part in parts for token in inner.encode(part, add_special_tokens=False)]
    theirs = StopStringCriteria(inner, sorted(stops))(torch.tensor([tokens]), None)
    assert tokenizer.completes(tokens, sorted(stops)) == bool(theirs[0])


@pytest.mark.slow
def test_the_real_target_stops_where_plain_generation_does(tokenizer: Tokenizer) -> None:
    """With a policy that writes several tokens at once; what is behind the stop is dropped."""
    prompt = tokenizer.encode("Name three uses of wind power, in short sentences.")
    plain = AutoModelForCausalLM.from_pretrained(SPEC.location, dtype=torch.float32)
    inner = AutoTokenizer.from_pretrained(SPEC.location)
    with Pair(SPEC, {}, cores=usable_cores()[:2]) as pair:
        lookup = Configuration(policy="prompt-lookup", placement="in-turn", draft_length=6)
        for stop in (". ", "electricity", "\n"):
            ids = plain.generate(
                torch.tensor([prompt]),
                max_new_tokens=40,
                do_sample=False,
                stop_strings=[stop],
                tokenizer=inner,
            )
            run = pair.generate(lookup, prompt, max_tokens=40, end_tokens=tokenizer.end_tokens, stops=[stop])
            assert list(run.tokens) == ids[0, len(prompt) :].tolist()
            assert (run.ending == "stop-text") == (stop in tokenizer.decode(run.tokens))
