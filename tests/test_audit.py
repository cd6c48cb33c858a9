"""The audit knows the target's own text, measures how far another one is off, and tests drawn texts by their law."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import PROMPTS, own_text, save_tiny
from transformers import AutoModelForCausalLM

from calibrate.observation import FARTHEST, Text
from engine.configuration import Configuration
from engine.models import ModelSpec
from engine.pair import Pair
from engine.sampling import Sampling, uniform
from reports.audit import Audited, audit, lawful
from reports.verification import FALSE_ALARM

TOKENS = 12
PROMPT = PROMPTS[2]
DRAWN = Sampling(temperature=0.8, seed=3)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    target = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), 0), precision="float32")
    with Pair(target, {"near": target.model_copy(update={"bits": 4})}, cores=(0, 1)) as pair:
        yield pair


@pytest.fixture(scope="module")
def logits(pair: Pair) -> Any:
    """Of a text, as transformers has them [T, vocabulary]."""
    model = AutoModelForCausalLM.from_pretrained(pair.target.source, dtype=torch.float32)

    @torch.inference_mode()
    def of(path: list[int]) -> torch.Tensor:
        found: torch.Tensor = model(torch.tensor([PROMPT + path])).logits[0, len(PROMPT) - 1 : -1]
        return found.double()

    return of


def drawn(pair: Pair, sampling: Sampling, *, draw_drafts: bool = False) -> list[int]:
    configuration = Configuration(policy="speculative", draft_length=3, draw_drafts=draw_drafts)
    return list(pair.generate(configuration, PROMPT, max_tokens=TOKENS, sampling=sampling).tokens)


def test_the_targets_own_texts_have_no_gaps(pair: Pair) -> None:
    greedy = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    assert audit(pair, PROMPT, Text(greedy)) == Audited((), ())
    own = audit(pair, PROMPT, Text(drawn(pair, DRAWN), DRAWN))
    assert all(gap < 1e-4 for _, gap in own.gaps)
    assert len(own.ranks) == TOKENS
    assert all(0.0 <= likelier < likelier + chance <= 1.0 + 1e-9 for likelier, chance in own.ranks)


def test_a_greedy_gap_is_what_the_logit_lacks(pair: Pair, logits: Any) -> None:
    path = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    second = logits(path)[5].topk(2)
    path[5] = int(second.indices[1])
    found = dict(audit(pair, PROMPT, Text(path)).gaps)
    assert found[5] == pytest.approx(float(second.values[0] - second.values[1]), abs=1e-4)
    assert min(found) == 5


def test_a_drawn_gap_is_how_far_logits_have_to_part(pair: Pair, logits: Any) -> None:
    """Shifting all logits on one side of the boundary by the gap lets this place's number fall to the token."""
    path, place = drawn(pair, DRAWN), 4
    right = path[place]
    for other in (right - 1, right + 1, (right + 20) % 48):
        path[place] = other
        gap = dict(audit(pair, PROMPT, Text(path, DRAWN)).gaps)[place]
        row = logits(path)[place] / DRAWN.temperature
        boundary = other + 1 if other < right else other  # tokens before it are raised, or lowered
        shifted = row.clone()
        shifted[:boundary] += (gap if other < right else -gap) / DRAWN.temperature
        sums = shifted.softmax(dim=-1).cumsum(dim=-1)
        edge = float(sums[boundary - 1]) if boundary else 0.0
        assert edge == pytest.approx(uniform(DRAWN.seed, "text", len(PROMPT) + place), abs=1e-5)


def test_what_no_shift_explains_is_as_far_as_can_be(pair: Pair) -> None:
    path = drawn(pair, DRAWN)
    sure = Sampling(temperature=0.01, seed=3)
    gaps = dict(audit(pair, PROMPT, Text(path, sure)).gaps)
    assert all(math.isfinite(gap) and gap <= FARTHEST for gap in gaps.values())
    assert max(gaps.values()) > 0.5


@pytest.mark.parametrize("draw_drafts", [False, True])
def test_drawn_texts_are_of_the_targets_law(pair: Pair, draw_drafts: bool) -> None:
    samplings = [DRAWN.of_text(f"{i}") for i in range(40)]
    texts = [audit(pair, PROMPT, Text(drawn(pair, s, draw_drafts=draw_drafts), s)) for s in samplings]
    assert lawful(texts) > FALSE_ALARM


def test_texts_of_another_law_are_found_out(pair: Pair) -> None:
    """Greedy texts are not drawn ones, nor are those of another temperature."""
    greedy = list(own_text(pair.target.source, PROMPT, tokens=TOKENS))
    as_drawn = [audit(pair, PROMPT, Text(greedy, DRAWN.of_text(f"{i}"))) for i in range(20)]
    assert lawful(as_drawn) < FALSE_ALARM
    hotter = [Sampling(temperature=3.0).of_text(f"{i}") for i in range(40)]
    as_cool = [
        audit(pair, PROMPT, Text(drawn(pair, s), s.model_copy(update={"temperature": 0.8}))) for s in hotter
    ]
    assert lawful(as_cool) < FALSE_ALARM
