"""Several texts in one cache are read as each alone would be, in any mixture of lines, leaves, branches and rewinds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from branches import last_nodes, with_leaves
from hypothesis import Phase, given, settings
from test_captured import recorded
from test_fused_llama import PREFIX, needed, random_llama
from tiny_families import RECURRENT, WINDOW, tiny
from tiny_models import PROMPTS, VOCABULARY, tiny_llama
from torch import Tensor

from engine.errors import ConfigurationError
from engine.models.cached_model import CachedModel, SharedCache
from engine.models.captured import CapturedForwards
from engine.models.decoder import Decoder
from engine.models.llama import Llama
from engine.models.reader import Forwards
from engine.models.slot_pool import PoolExhausted
from engine.models.transformers_model import TransformersModel


def lean() -> Decoder:
    model = tiny_llama(0)
    return Llama(model.config, model.state_dict(), torch.float32, capacity=4)


def captured() -> Decoder:
    model = tiny_llama(0)
    made = Llama(model.config, model.state_dict(), torch.float32, capacity=64)
    made.captured = CapturedForwards(made._compute, made.device, made.dtype, recorded)
    return made


def general(family: str) -> Callable[[], Decoder]:
    return lambda: TransformersModel(tiny(family, 0))


def compiled(bits: int | None) -> Callable[[], Decoder]:
    model = random_llama(vocabulary=VOCABULARY)
    return lambda: Llama(model.config, model.state_dict(), torch.bfloat16, bits=bits, capacity=4)


MASKED = {"lean": lean, "captured": captured, "Llama": general("Llama"), "Gemma 3": general("Gemma 3")}
APART = {
    family: general(family) for family in ("BLOOM", "GPT-Neo")
}  # no mask: a forward for each text or row
COMPILED = [pytest.param(compiled(bits), True, id=f"compiled {bits}", marks=needed) for bits in (None, 8, 4)]
MAKERS = [*(pytest.param(make, False, id=name) for name, make in (MASKED | APART).items()), *COMPILED]

token = st.integers(0, VOCABULARY - 1)
line = st.lists(token, min_size=1, max_size=5)
begin = st.lists(token, min_size=1, max_size=2 * WINDOW)
step = st.one_of(
    st.tuples(st.just("line"), line, st.integers(0, 9)),
    st.tuples(st.just("leaves"), line, st.lists(st.tuples(st.integers(0, 1), token), min_size=1, max_size=2)),
    st.tuples(st.just("branches"), st.lists(line, min_size=2, max_size=3), st.none()),
)
texts = st.lists(st.tuples(begin, st.lists(step, min_size=1, max_size=3)), min_size=2, max_size=4)


def written(model: CachedModel, prompt: Sequence[int], steps: Sequence[Any]) -> Forwards[list[Tensor]]:
    """All logits of a text that goes on as its steps say, some of which go back first."""
    found = [(yield from model.read_by_forwards(model.rewind(prompt), last=1))]
    text = [*prompt]
    for kind, what, how in steps:
        if kind == "branches":
            found.append((yield from model.read_by_forwards(model.rewind(text), last=1)))
            for depth in range(max(map(len, what))):
                new = [(i, branch[depth]) for i, branch in enumerate(what) if depth < len(branch)]
                behind = last_nodes(model.cache, [branch for branch, _ in new])
                found.append((yield from model.read_nodes_by_forwards([token for _, token in new], behind)))
            text += what[1]
        elif kind == "leaves":
            leaves = [(min(place, len(what) - 1), leaf) for place, leaf in how]
            found.append(
                (yield from model.read_by_forwards(model.rewind(text), 1, with_leaves(what, leaves)))
            )
            text += what
        else:
            text = [*text[: max(1, len(text) - how)], *what]
            found.append((yield from model.read_by_forwards(model.rewind(text), last=1)))
    found.append((yield from model.read_by_forwards(model.rewind([*text, 3]), last=1)))
    return [of_one.logits for of_one in found]


def together(shared: SharedCache, works: Sequence[Forwards[list[Tensor]]]) -> list[list[Tensor]]:
    """What several texts' works come to, whose forwards are merged while there are several."""
    values: dict[int, list[Tensor]] = {}
    waiting = [(i, next(work)) for i, work in enumerate(works)]
    while waiting:
        asks = [ask for _, ask in waiting]
        shared.make_ready(asks)
        answers = [replace(found, logits=found.logits.clone()) for found in shared.reader.read(asks)]
        going, waiting = waiting, []
        for (i, _), found in zip(going, answers, strict=True):
            try:
                waiting.append((i, works[i].send(found)))
            except StopIteration as end:
                values[i] = end.value
    return [values[i] for i in range(len(works))]


@pytest.fixture(scope="module", autouse=True)
def _compiled_however_many_rows() -> Iterator[None]:
    """A compiled forward reads as many rows as there are, where PyTorch's would be faster from some number on.

    From a few on each of two threads has rows of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.models.fused_llama.most_rows", lambda bits: 900)
        patch.setattr("engine.models.fused_llama.APART_ROWS", 7)
        patch.setattr("engine.models.fused_llama._threads", lambda: 2)
        yield


def agree(got: Sequence[Sequence[Tensor]], expected: Sequence[Sequence[Tensor]], to_the_bit: bool) -> None:
    for mine, own in zip(got, expected, strict=True):
        for one, other in zip(mine, own, strict=True):
            if to_the_bit:
                assert torch.equal(one, other)
            else:
                torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(("make", "to_the_bit"), MAKERS)
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(texts)
def test_texts_in_one_cache_are_read_as_each_alone(
    make: Callable[[], Decoder], to_the_bit: bool, plans: list[tuple[list[int], list[Any]]]
) -> None:
    alone = make()
    expected = []
    for plan in plans:
        model = CachedModel(alone)
        expected.append([part.clone() for part in model.compute(written(model, *plan))])
    shared = SharedCache(make(), 400)
    models = [CachedModel(shared.decoder, shared) for _ in plans]
    got = together(shared, [written(model, *plan) for model, plan in zip(models, plans, strict=True)])
    agree(got, expected, to_the_bit)
    for model in models:
        model.leave()
    assert shared.pool.free == 400


@pytest.mark.parametrize(("make", "to_the_bit"), MAKERS)
def test_slots_that_a_text_left_are_used_again(make: Callable[[], Decoder], to_the_bit: bool) -> None:
    """In pieces, by texts of another length, while a third one goes on."""
    shared = SharedCache(make(), 64)
    first, second, third = (CachedModel(shared.decoder, shared) for _ in range(3))
    steps: list[Any] = [("line", [5, 6], 0), ("branches", [[3, 4], [9], [8, 2, 7]], None), ("line", [1], 3)]
    for model, prompt in ((first, PROMPTS[0]), (second, PROMPTS[1]), (third, PROMPTS[2])):
        model.read(prompt, last=1)
    first.leave()
    third.leave()
    first.clear()
    text = [*PROMPTS[3], *PROMPTS[4]]
    got = together(shared, [written(first, text, steps), written(second, PROMPTS[1], steps)])
    assert not isinstance(first.slots, range), "its slots should lie on both sides of the second text's"
    alone = make()
    expected = []
    for prompt in (text, PROMPTS[1]):
        model = CachedModel(alone)
        if prompt is not text:
            model.read(prompt, last=1)
        expected.append([part.clone() for part in model.compute(written(model, prompt, steps))])
    agree(got, expected, to_the_bit)


@pytest.mark.parametrize(("make", "to_the_bit"), [pytest.param(lean, False, id="lean"), *COMPILED])
def test_long_prompts_are_read_beside_other_rows(
    make: Callable[[], Decoder], to_the_bit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts, of which the last is read beside the other texts' rows, and has more than those that are wanted."""
    monkeypatch.setattr("engine.models.reader.MOST_ROWS", 7)
    prompts = [[t % VOCABULARY for t in PREFIX], PROMPTS[1], [t % VOCABULARY for t in PREFIX[:20]]]
    shared, alone = SharedCache(make(), 400), make()
    models = [CachedModel(shared.decoder, shared) for _ in prompts]
    got = together(shared, [written(m, prompt, []) for m, prompt in zip(models, prompts, strict=True)])
    expected = []
    for prompt in prompts:
        model = CachedModel(alone)
        expected.append([part.clone() for part in model.compute(written(model, prompt, []))])
    agree(got, expected, to_the_bit)


@pytest.mark.parametrize("kept", [[2, 5, 7, 40], [1, 2, 3]])
def test_a_cut_head_says_of_each_text_what_it_would_alone(kept: list[int]) -> None:
    """The tokens that it keeps, and those of the text's own prompt, however prompts come and go."""
    model = tiny_llama(0)

    def cut() -> Llama:
        return Llama(model.config, model.state_dict(), torch.float32, kept=torch.tensor(kept))

    def said(text: CachedModel, logits: Tensor) -> dict[int, float]:
        rows = logits[0].isfinite().nonzero()[:, 0].tolist()
        return dict(zip(text.reader.token_ids(rows), logits[0, rows].tolist(), strict=True))

    shared = SharedCache(cut(), 100)
    texts = [CachedModel(shared.decoder, shared) for _ in range(3)]
    for turn in range(3):
        for text, prompt in zip(texts, PROMPTS[turn : turn + 3], strict=True):
            text.clear(prompt)
        for text, prompt in zip(texts, PROMPTS[turn : turn + 3], strict=True):
            alone = CachedModel(cut())
            alone.clear(prompt)
            expected = said(alone, alone.read(prompt, last=1))
            assert set(expected) == {*kept, *prompt}
            assert said(text, text.read(prompt, last=1)) == pytest.approx(expected, abs=1e-4)
        texts[turn].leave()
        texts[turn].clear(PROMPTS[5])


def test_a_full_cache_says_so_and_keeps_what_it_has() -> None:
    shared = SharedCache(lean(), 12)
    first, second = (CachedModel(shared.decoder, shared) for _ in range(2))
    first.read(PROMPTS[0][:5])
    with pytest.raises(PoolExhausted, match=r"8 more slots .* 7 are free"):
        second.read(PROMPTS[3][:8])
    alone = CachedModel(lean())
    alone.read(PROMPTS[0][:5])
    torch.testing.assert_close(first.read([3, 4]), alone.read([3, 4]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", RECURRENT[:1])
def test_a_recurrent_state_is_no_part_of_a_batch(family: str) -> None:
    with pytest.raises(ConfigurationError, match="holds one text at a time"):
        SharedCache(TransformersModel(tiny(family, 0)), 100)
