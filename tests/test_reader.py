"""What is found of the rows of several texts together is what is found of each text's alone, to the last bit."""

import gc
import weakref
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from tiny_models import PROMPTS, VOCABULARY, tiny_llama
from torch import Tensor

from engine.models.cached_model import CachedModel, SharedCache
from engine.models.distributions import acceptance_bound, perturb
from engine.models.llama import Llama
from engine.models.reader import Ask, Found, Reader, Wanted, joined
from engine.models.rows import rows_behind
from engine.models.sampling import GREEDY, Sampling

KEPT = [1, 3, 4, 8, 9, 11, 12, 20, 25, 26, 30, 33]
WIDTH = 90

samplings = st.one_of(
    st.just(GREEDY),
    st.builds(
        Sampling,
        temperature=st.sampled_from([0.5, 1.0]),
        top_k=st.sampled_from([None, 7]),
        top_p=st.sampled_from([0.8, 1.0]),
        seed=st.integers(0, 9),
    ),
)
prompts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12)
asked = st.tuples(st.integers(1, 3), st.integers(0, 4), st.booleans(), st.booleans(), samplings)


def reader(kept: bool) -> Reader:
    model = tiny_llama(0)
    tokens = torch.tensor(KEPT) if kept else None
    made = Reader(Llama(model.config, model.state_dict(), torch.float32, kept=tokens))
    made.hear({"a text": PROMPTS[0]})
    return made


def want(place: int, rows: int, count: int, chances: bool, bounds: bool, sampling: Sampling) -> Wanted:
    return Wanted(count if chances else min(count, 1), chances, bounds, sampling, range(place, place + rows))


def ties(rows: int, width: int, seed: int) -> Tensor:
    """Logits of which many are equal."""
    return torch.randint(0, 12, (rows, width), generator=torch.Generator().manual_seed(seed)) / 2.0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kept", [False, True], ids=["whole head", "cut head"])
@settings(deadline=None, max_examples=60)
@given(st.lists(asked, min_size=1, max_size=9), st.integers(0, 1000))
def test_texts_together_find_what_each_does_alone(
    kept: bool, threads: int, texts: list[tuple[int, int, bool, bool, Sampling]], seed: int
) -> None:
    """Candidates, confidences and bounds, in the order of ties; greedy and drawn, whatever the others want."""
    made = reader(kept)
    width = WIDTH if made.ids is None else len(made.ids)
    counts = [rows for rows, *_ in texts]
    wanted = [want(place, *how) for place, how in enumerate(texts)]
    logits = ties(sum(counts), width, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.get_num_threads", lambda: threads)
        for module in ("ranking", "noise"):
            patch.setattr(f"engine.kernels.{module}.SHARED", 1)
        found = made.find(logits.clone(), wanted, counts)
    for its, mine, rows in zip(found, wanted, torch.split(logits, counts), strict=True):
        (alone,) = made.find(rows.clone(), [mine], [len(rows)])
        if mine.chances and mine.count:
            assert list(its.candidates) == list(alone.candidates)
            assert [len(tokens) for tokens, _ in its.candidates] == [mine.count] * len(rows)
        elif mine.count:
            assert its.best == alone.best
        else:
            assert torch.equal(its.logits, alone.logits)
            assert torch.equal(its.logits, rows) == mine.sampling.greedy
        if mine.bounds:
            assert list(its.bounds) == list(alone.bounds)


@settings(deadline=None)
@given(samplings, st.integers(1, 4), st.integers(0, 1000))
def test_what_is_found_is_of_the_logits_with_their_noise(sampling: Sampling, rows: int, seed: int) -> None:
    made = reader(True)
    assert made.ids is not None
    logits, places = ties(rows, len(made.ids), seed), range(7, 7 + rows)
    (found,) = made.find(logits.clone(), [Wanted(2, bounds=True, sampling=sampling, places=places)], [rows])
    seen = perturb(logits, sampling, places, made.decoder.kept_tokens)
    for (tokens, chances), row in zip(found.candidates, seen, strict=True):
        order = sorted(range(len(row)), key=lambda i: (-float(row[i]), i))[:2]
        assert tokens == [made.ids[i] for i in order]
        assert chances == pytest.approx(row.softmax(-1)[order].tolist(), rel=1e-5)
    assert list(found.bounds) == acceptance_bound(seen).tolist()


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0, seed=3)], ids=["greedy", "drawn"])
def test_a_cut_head_shows_each_text_of_a_forward_its_own_tokens(sampling: Sampling) -> None:
    """As many candidates as it has tokens are the kept ones and its prompt's, with the chances that it has alone."""
    model = tiny_llama(0)

    def cut() -> Llama:
        return Llama(model.config, model.state_dict(), torch.float32, kept=torch.tensor(KEPT))

    shared = SharedCache(cut(), 200)
    texts = [CachedModel(shared.decoder, shared) for _ in range(3)]
    asks, expected = [], []
    for text, prompt in zip(texts, PROMPTS, strict=False):
        text.clear(prompt)
        own = {*KEPT, *prompt}
        wanted = Wanted(len(own), sampling=sampling, places=[len(prompt)])
        asks.append(next(text.read_by_forwards(prompt, 1, wanted=wanted)))
        alone = CachedModel(cut())
        alone.clear(prompt)
        (mine,) = alone.compute(alone.read_by_forwards(prompt, 1, wanted=wanted)).candidates
        assert set(mine[0]) == own
        expected.append(mine)
    shared.make_ready(asks)
    for found, (tokens, chances) in zip(shared.reader.read(asks), expected, strict=True):
        ((its, shares),) = found.candidates
        assert its == tokens
        assert shares == pytest.approx(chances, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(prompts, min_size=1, max_size=4), min_size=2, max_size=4))
def test_a_cut_head_knows_whose_tokens_are_whose_as_texts_come_and_go(turns: list[list[list[int]]]) -> None:
    """Whatever prompts it scored before."""
    made = reader(True)
    for texts in turns:
        made.hear(dict(enumerate(texts)))
        asks = []
        for text, prompt in enumerate(texts):
            rows = rows_behind(prompt, 0, 1, range(20 * text, 20 * text + 20))
            asks.append(Ask(text, rows, Wanted(len({*KEPT, *prompt}))))
        for found, prompt in zip(made.read(asks), texts, strict=True):
            ((tokens, chances),) = found.candidates
            assert set(tokens) == {*KEPT, *prompt}
            assert sum(chances) == pytest.approx(1.0, abs=1e-5)


def test_a_model_that_nobody_has_any_more_is_gone() -> None:
    """At once, and its memory with it: nothing that it made holds it, whatever it read."""
    model = tiny_llama(0)
    text = CachedModel(Llama(model.config, model.state_dict(), torch.float32, kept=torch.tensor(KEPT)))
    text.clear(PROMPTS[0])
    text.read(PROMPTS[0])
    left = weakref.ref(text)
    gc.disable()
    try:
        del text
        assert left() is None
    finally:
        gc.enable()


@given(st.integers(1, 9), st.data())
def test_chunks_want_what_the_whole_does(rows: int, data: st.DataObject) -> None:
    """Wherever a text's rows are parted, and of however many something is wanted."""
    last = data.draw(st.integers(1, rows))
    parts = sorted(data.draw(st.sets(st.integers(1, rows))) | {rows})
    whole = Ask(
        "text", rows_behind(range(rows), 4, last), Wanted(1, sampling=GREEDY, places=range(50, 50 + last))
    )
    chunks = [whole.part(first, end) for first, end in zip([0, *parts], parts, strict=False)]
    assert [place for chunk in chunks for place in chunk.wanted.places] == list(whole.wanted.places)
    assert [token for chunk in chunks for token in chunk.rows.tokens] == list(range(rows))
    for chunk in chunks:
        assert len(chunk.wanted.places) == chunk.rows.last
        assert replace(chunk.wanted, places=()) == replace(whole.wanted, places=())


def test_what_was_found_in_chunks_is_one() -> None:
    logits, features = torch.randn(5, 7), torch.randn(5, 3)
    found = [([token], [0.5]) for token in range(5)]
    parts = [Found(found[a:b], [0.1] * (b - a), logits[a:b], features[a:b]) for a, b in ((0, 2), (2, 5))]
    whole = joined(parts)
    assert (list(whole.candidates), list(whole.bounds), whole.best) == (found, [0.1] * 5, list(range(5)))
    assert torch.equal(whole.logits, logits)
    assert torch.equal(whole.features, features)
