"""N-grams say what followed most often, by the most tokens that are known, and a file holds them as they are."""

from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from tiny_models import VOCABULARY, save_tiny

from engine.drafts.ngram_counting import count_of_target, judge, save_ngrams
from engine.drafts.self_written import Shard, TextPlan
from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec
from engine.policies.guesses import guess_of
from engine.policies.ngrams import NONE, NGrams, count_ngrams, load_ngrams, vocabulary_of
from engine.policies.protocol import DraftLimits
from engine.policies.repetitions import Repetitions
from engine.runtime.loading import load_model

TEXTS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=20), min_size=1, max_size=5)


@given(TEXTS, st.integers(0, 3), st.floats(0.0, 1.0))
def test_what_follows_most_often_is_counted(texts: list[list[int]], prompt: int, least: float) -> None:
    found = count_ngrams([(text, prompt) for text in texts], least)
    for length in (1, 2):
        pairs = [
            (tuple(text[end - length : end]), text[end])
            for text in texts
            for end in range(max(length, prompt), len(text))
        ]
        for before in {before for before, _ in pairs}:
            behind = Counter(token for known, token in pairs if known == before)
            most = max(behind.values())
            if most >= least * (behind.total() + 1):
                assert found.following[length][before] == min(t for t, n in behind.items() if n == most)
            else:
                assert before not in found.following[length]


def test_two_tokens_are_asked_before_one() -> None:
    ngrams = NGrams({1: {(7,): 1, (8,): 9, (1,): 5}, 2: {(7, 8): 2, (8, 2): 7}})
    assert ngrams.go_on([7, 8], 3) == (2, 7, 1)  # by (7, 8), then (8, 2), then 7, since (2, 7) is unknown
    assert ngrams.go_on([3, 7, 8], 1) == (2,)
    assert ngrams.go_on([6, 8], 5) == (9,)  # nothing is known behind 9
    assert ngrams.go_on([8], 1) == (9,)
    assert ngrams.go_on([], 3) == NONE.go_on([7, 8], 3) == ()


def test_guesses_go_on_where_the_text_repeats_nothing() -> None:
    ngrams, limits = NGrams({1: {(6,): 30, (30,): 31, (9,): 40, (4,): 50}}), DraftLimits(4, guesses=3)

    def guessed(
        text: list[int], line: tuple[int, ...] = (), written: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        return guess_of(Repetitions(), ngrams, text, line, limits)(written, 7)

    assert guessed([4, 5, 6, 4, 5]) == (6, 4, 5)
    assert guessed([1, 2, 3, 6]) == (30, 31)
    assert guessed([4, 5, 6, 4], (5,)) == (6, 4, 50)  # behind what is repeated
    assert guessed([1, 2], (3,), (9,)) == (40,)


@pytest.mark.parametrize("vocabulary", [5, 70_000])
def test_a_file_holds_them(tmp_path: Path, vocabulary: int) -> None:
    ngrams = count_ngrams([([0, 1, 2, 3, 4, vocabulary - 1, 1, 2], 1)])
    path = tmp_path / "ngrams.safetensors"
    save_ngrams(path, ngrams, vocabulary, {"prompts": 1})
    assert load_ngrams(path) == ngrams
    assert vocabulary_of(path) == vocabulary


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("of another kind")
    for name in ("none", "text"):
        with pytest.raises(SpecBranchError, match="count-ngrams"):
            load_ngrams(tmp_path / name)


def test_they_are_judged_on_answers() -> None:
    tokens, starts = torch.tensor([3, 1, 2, 1, 9, 3, 1, 1]), torch.tensor([0, 5, 8])
    text = Shard(tokens, starts, torch.tensor([2, 1]), torch.zeros(5, 1))
    # Behind 1 comes 2, twice of four times wrong; nothing is known behind 2 and 3.
    assert judge(NGrams({1: {(1,): 2}}), text) == (5, 3, 1)


def test_a_targets_own_text_is_counted(tmp_path: Path) -> None:
    """And not written again: the second call finds it."""
    source, plan = (
        Path(save_tiny(tmp_path / "target", 0, chats=True)),
        TextPlan(prompts=4, answer_tokens=6, rows=4),
    )
    shards = tmp_path / "cache" / "text"
    found, written = [], []
    for name in ("one", "other"):
        path = tmp_path / name
        found.append(
            count_of_target(
                source,
                path,
                cache=tmp_path / "cache",
                plan=plan,
                threads=1,
                progress=lambda what, done, all: None,
            )
        )
        written.append({file.name: file.stat().st_mtime_ns for file in shards.iterdir()})
        assert vocabulary_of(path) == VOCABULARY
    assert written[0] == written[1]
    assert found[0].ngrams == found[1].ngrams == len(load_ngrams(found[0].path))
    assert load_ngrams(found[0].path) == load_ngrams(found[1].path)
    assert found[0].text_tokens <= 4 * 6
    assert found[0].right <= found[0].guessed <= found[0].positions


def test_those_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    path, source = tmp_path / "ngrams", save_tiny(tmp_path / "target", 0)
    save_ngrams(path, NGrams({1: {(1,): 2}}), 1000, {})
    with pytest.raises(SpecBranchError, match="another vocabulary"):
        load_model(ModelSpec(source=source, ngrams=str(path)))
