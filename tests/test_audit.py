"""The audit knows the target's own text, and measures how far another one is off."""

from typing import Any

import pytest
import torch
from tiny_models import PROMPTS, only, own_text
from transformers import AutoModelForCausalLM

from calibrate.traces import observation
from calibrate.traces.observation import FARTHEST, Text
from engine.configuration import Configuration
from engine.kernels.noise import gumbel
from engine.models.sampling import Sampling
from engine.runtime.pair import Pair
from engine.runtime.workers import Worker
from reports.verify.audit import LINE, TIES, audit

TOKENS = 12
TIE = TIES["float32"]
PROMPT = PROMPTS[2]
DRAWN = Sampling(temperature=0.8, seed=3)


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return only(tiny_pair, "near")


@pytest.fixture(scope="module")
def logits(pair: Pair) -> Any:
    """Of a text, as transformers has them [T, vocabulary]."""
    model = AutoModelForCausalLM.from_pretrained(pair.target.source, dtype=torch.float32)

    @torch.inference_mode()
    def of(path: list[int]) -> torch.Tensor:
        found: torch.Tensor = model(torch.tensor([PROMPT + path])).logits[0, len(PROMPT) - 1 : -1]
        return found.double()

    return of


def drawn(pair: Pair, sampling: Sampling) -> list[int]:
    configuration = Configuration(policy="speculative", draft_length=3, draw_drafts=True)
    return list(pair.generate(configuration, PROMPT, max_tokens=TOKENS, sampling=sampling).tokens)


def test_the_targets_own_texts_have_no_gaps(pair: Pair) -> None:
    greedy = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    assert audit(pair, PROMPT, Text(greedy), TIE) == ()
    for sampling in (DRAWN, Sampling(temperature=1.5, top_k=5, top_p=0.9, seed=1)):
        assert audit(pair, PROMPT, Text(drawn(pair, sampling), sampling), TIE) == ()


def test_a_greedy_gap_is_what_the_logit_lacks(pair: Pair, logits: Any) -> None:
    path = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    second = logits(path)[5].topk(2)
    path[5] = int(second.indices[1])
    found = dict(audit(pair, PROMPT, Text(path), TIE))
    assert found[5] == pytest.approx(float(second.values[0] - second.values[1]), abs=1e-4)
    assert min(found) == 5


def test_a_drawn_gap_is_what_the_logit_lacks_with_its_noise(pair: Pair, logits: Any) -> None:
    path, place = drawn(pair, DRAWN), 4
    right = path[place]
    row = logits(path)[place]
    (noise,) = gumbel([(DRAWN.seed, len(PROMPT) + place)], torch.arange(len(row)))
    heard = row + DRAWN.temperature * noise
    assert int(heard.argmax()) == right
    for other in (right - 1, right + 1, (right + 20) % 48):
        path[place] = other
        gap = dict(audit(pair, PROMPT, Text(path, DRAWN), TIE))[place]
        assert gap == pytest.approx(float(heard[right] - heard[other]), abs=1e-4)


def test_what_the_law_leaves_out_is_as_far_as_can_be(pair: Pair) -> None:
    path = drawn(pair, DRAWN)
    gaps = dict(audit(pair, PROMPT, Text(path, Sampling(temperature=0.8, top_k=1, seed=4)), TIE))
    assert max(gaps.values()) == FARTHEST


def test_texts_of_another_temperature_or_seed_are_found_out(pair: Pair) -> None:
    for other in (Sampling(temperature=3.0, seed=3), Sampling(temperature=0.8, seed=4)):
        gaps = audit(pair, PROMPT, Text(drawn(pair, other), DRAWN), TIE)
        assert max(gap for _, gap in gaps) > 0.5


def test_what_one_pass_refuses_is_read_again_in_short_lines(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the two gaps the smaller one counts, and a text that no way of reading explains stays refused."""
    path = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    asked: list[int] = []
    right = Worker.call

    def call(worker: Worker, function: Any, **arguments: Any) -> Any:
        found = right(worker, function, **arguments)
        if function is not observation.audit:
            return found
        asked.append(arguments["line"])
        return [gap + (0.0 if arguments["line"] else 0.7) for gap in found]

    monkeypatch.setattr(Worker, "call", call)
    assert audit(pair, PROMPT, Text(path), 0.5) == ()
    assert asked == [0, LINE]
    path[5] = (path[5] + 1) % 40
    assert dict(audit(pair, PROMPT, Text(path), 0.5))[5] > 0.5
