"""Training H-RAD: runs and what cuts them off, what can be learnt is, what cannot be is not, and no prompt leaks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import own_text, save_tiny
from torch import Tensor

from calibrate.prompts import Prompt, builtin_prompts
from calibrate.traces.hrad_examples import gather, open_journal, unseen_prompts
from calibrate.traces.hrad_quality import auc, describe, quality
from calibrate.traces.hrad_run import train
from calibrate.traces.hrad_training import Plan, base_log_odds, cross_fit, fit, outcomes
from engine.errors import ConfigurationError
from engine.models.cached_model import CachedModel
from engine.models.hrad import load_predictor, run_chances, watched
from engine.models.specs import ModelSpec
from engine.runtime.loading import load_model
from engine.runtime.pair import open_pair

LENGTH, WIDTH = 60, 10
PLAN = Plan(hidden=32, dropout=0.1, weight_decay=0.01, rate=5e-3, epochs=25)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Such small products are slower in two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 6))
def test_outcomes_are_the_runs_as_far_as_the_text_goes(hits: list[bool], longest: int) -> None:
    went_on, known = outcomes(torch.tensor(hits), longest)
    for place in range(len(hits)):
        expected: list[bool] = []
        for step in range(place + 1, min(len(hits), place + 1 + longest)):
            expected.append(hits[step])
            if not hits[step]:
                break
        count = len(expected)
        assert known[place].tolist() == [True] * count + [False] * (longest - count)
        assert went_on[place, :count].tolist() == expected


def test_the_base_rate_counts_cut_off_runs_as_survived() -> None:
    # Behind the four tokens: runs of at least 3, at least 2, at least 1 tokens, and one of which nothing is known.
    chances = base_log_odds([torch.ones(4, dtype=torch.bool)], longest=4).sigmoid()
    torch.testing.assert_close(chances, torch.tensor([3.5 / 4, 2.5 / 3, 1.5 / 2, 0.5 / 1]))
    # One miss in the end: each of the three runs before it stops there.
    chances = base_log_odds([torch.tensor([True, True, True, False])], longest=4).sigmoid()
    torch.testing.assert_close(chances, torch.tensor([2.5 / 4, 1.5 / 3, 0.5 / 2, 0.5 / 1]))


def synthetic(prompts: int = 24, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Features [T, F] whose first two say, by their signs, whether each of the next two tokens is a hit."""
    generator = torch.Generator().manual_seed(seed)
    features, hits = [], []
    for _ in range(prompts):
        hit = torch.rand(LENGTH, generator=generator) < 0.6
        x = torch.randn(LENGTH, WIDTH, generator=generator)
        for ahead in (0, 1):
            sign = torch.where(hit.roll(-1 - ahead), 1.0, -1.0)
            x[:, ahead] = (0.5 + x[:, ahead].abs()) * sign
        features.append(5.0 * x + 3.0)  # neither centred nor scaled
        hits.append(hit)
    return features, hits


def likelihood(predicted: Sequence[Tensor], hits: list[Tensor]) -> float:
    """Nats a position that has two more tokens behind it, of whether none, one, or more of them are accepted."""
    total, count = 0.0, 0
    for chances, hit in zip(predicted, hits, strict=True):
        for place in range(len(hit) - 2):
            kind = 0 if not hit[place + 1] else 1 if not hit[place + 2] else 2
            of_kind = [chances[place, 0], chances[place, 1], chances[place, 2:].sum()]
            total, count = total - float(of_kind[kind].clamp_min(1e-9).log()), count + 1
    return total / count


def test_runs_that_the_features_tell_are_learnt() -> None:
    features, hits = synthetic()
    crossed = cross_fit(features, hits, PLAN, folds=3)
    assert likelihood(crossed.base, hits) > 0.9
    assert likelihood(crossed.predicted, hits) < 0.25
    chances = [torch.full((LENGTH,), 0.5) for _ in hits]
    found = quality(crossed.predicted, crossed.base, hits, chances, 2)
    assert found is not None
    assert found.accuracy > 0.93 > 0.6 > found.base_accuracy
    assert found.gain.low > 0.5
    assert min(found.auc_none, found.auc_all) > 0.97
    assert found.confidence_auc_none == 0.5
    assert found.positions == 24 * (LENGTH - 2) == sum(map(sum, found.confusion))
    assert all(row[index] == max(row) for index, row in enumerate(found.confusion))
    assert len(list(describe("d", found))) == 5


def test_what_the_features_do_not_tell_is_not_learnt() -> None:
    features, hits = synthetic()
    crossed = cross_fit(features, hits[1:] + hits[:1], PLAN, folds=3)
    shuffled = hits[1:] + hits[:1]
    assert likelihood(crossed.predicted, shuffled) > likelihood(crossed.base, shuffled) - 0.01
    # And the loss on prompts held out keeps it from being much worse.
    assert likelihood(crossed.predicted, shuffled) < likelihood(crossed.base, shuffled) + 0.03


def planted(prompts: int = 20) -> tuple[list[Tensor], list[Tensor]]:
    """Each prompt has features of its own, always the same ones, and is all hits or all misses by chance."""
    generator = torch.Generator().manual_seed(7)
    right = torch.rand(prompts, generator=generator) < 0.5
    features = [torch.eye(prompts)[i].repeat(LENGTH, 1) * 10.0 for i in range(prompts)]
    return features, [torch.full((LENGTH,), bool(r)) for r in right]


def test_a_prompt_is_predicted_by_what_never_saw_it() -> None:
    features, hits = planted()
    # Trained on them all, a network knows which prompt goes how; but not when it is predicted by the others'.
    seen = fit([*features, *features], [*hits, *hits], replace(PLAN, epochs=60, patience=60))
    assert likelihood([seen.predict(x) for x in features], hits) < 0.1
    crossed = cross_fit(features, hits, PLAN, folds=5)
    assert likelihood(crossed.predicted, hits) > 0.6


def test_cross_fit_leaves_a_prompt_out_exactly() -> None:
    """Whatever one prompt holds, the chances predicted for it by the same seed depend on the others alone."""
    features, hits = synthetic(prompts=6)
    before = cross_fit(features, hits, PLAN, folds=3).predicted
    hits[2] = ~hits[2]
    after = cross_fit(features, hits, PLAN, folds=3).predicted
    assert after[2].equal(before[2])
    assert sum(not a.equal(b) for a, b in zip(after, before, strict=True)) == 4  # all but the fold of two


def test_training_is_a_function_of_its_seed() -> None:
    features, hits = synthetic(prompts=4)
    one, same, other = (fit(features, hits, PLAN, seed=seed) for seed in (1, 1, 2))
    assert one.inner.equal(same.inner)
    assert not one.inner.equal(other.inner)


def test_features_that_never_change_and_texts_of_one_token_do_no_harm() -> None:
    features, hits = synthetic(prompts=5)
    for x in features:
        x[:, 4] = 1e4
    features.append(features[0][:1])
    hits.append(hits[0][:1])
    crossed = cross_fit(features, hits, PLAN)
    assert all(bool(chances.isfinite().all()) for chances in crossed.predicted)
    assert crossed.predicted[-1].shape == (1, crossed.predicted[0].shape[1])


def test_too_few_prompts_are_refused() -> None:
    features, hits = synthetic(prompts=2)
    with pytest.raises(ConfigurationError, match="three prompts or more"):
        cross_fit(features, hits)
    with pytest.raises(ConfigurationError, match="two prompts or more"):
        fit(features[:1], hits[:1])


def test_areas_under_the_curve() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    assert auc(scores, np.array([False, False, True, True])) == pytest.approx(3.5 / 4)
    assert np.isnan(auc(scores, np.array([True] * 4)))


def test_a_line_longer_than_every_text_has_no_quality() -> None:
    chances = run_chances(torch.zeros(4, 16))
    hits = torch.ones(4, dtype=torch.bool)
    assert quality([chances], [chances], [hits], [torch.ones(4)], 4) is None


def test_prompts_are_such_as_nothing_was_trained_or_is_judged_on() -> None:
    from engine.drafts.self_written import TextPlan
    from engine.drafts.training_prompts import KINDS, training_prompts

    prompts = unseen_prompts(1000)
    texts = {p.text for p in prompts}
    assert len(texts) == len({p.id for p in prompts}) == len(prompts) >= 72
    plan = TextPlan()
    assert texts.isdisjoint(p.text for p in training_prompts(plan.seed, 0, plan.prompts))
    for split in ("calibration", "heldout"):
        assert texts.isdisjoint(p.text for p in builtin_prompts(split))
    assert unseen_prompts(20) == prompts[:20]
    assert {p.kind for p in prompts[: len(KINDS)]} == set(KINDS)


# ------------------------------------------------------------------------------------------ a tiny pair


WORDS = tuple(Prompt(f"p{i}", "words", "calibration", f"w{3 + i} w7 w{9 + 2 * i}") for i in range(4))
TOKENS = 12


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, dict[str, ModelSpec]]:
    source = save_tiny(tmp_path_factory.mktemp("target"), seed=0)
    draft = save_tiny(tmp_path_factory.mktemp("draft"), seed=5)
    target = ModelSpec(source=source, precision="float32")
    return target, {
        "rounded": ModelSpec(source=source, precision="float32", bits=8),
        "other": ModelSpec(source=draft, precision="float32"),
    }


def own_view(model: CachedModel, prompt: list[int], path: tuple[int, ...]) -> list[bool]:
    choice = model.read([*prompt, *path[:-1]], last=len(path)).argmax(dim=-1)
    return [int(token) == true for token, true in zip(choice, path, strict=True)]


def test_lessons_are_of_the_targets_own_text(
    specs: tuple[ModelSpec, dict[str, ModelSpec]], tmp_path: Path
) -> None:
    target, drafts = specs
    with open_pair(target, drafts) as (pair, tokenizer):
        journal = open_journal(tmp_path, pair, WORDS, TOKENS)
        heard: list[str] = []
        lessons = gather(pair, tokenizer, WORDS, TOKENS, journal, heard.append)
        assert len(heard) == len(WORDS) * 4
        again = open_journal(tmp_path, pair, WORDS, TOKENS)
        resumed = gather(pair, tokenizer, WORDS, TOKENS, again)
        assert again.resumed == len(WORDS) * 3
        encoded = [tokenizer.encode(p.text) for p in WORDS]
        ends = tokenizer.end_tokens
    model = load_model(target)
    for lesson, same, prompt in zip(lessons, resumed, encoded, strict=True):
        (end,) = ends
        path = own_text(target.source, prompt, TOKENS, end)
        assert lesson.features.equal(same.features)
        # One token at a time, as verifying would see it.
        model.clear()
        model.decoder.watch = True
        rows = []
        for before, token in zip([prompt, *([t] for t in path[:-1])], path, strict=True):
            model.read(before, last=1)
            rows.append(watched(model.decoder, [0], [token])[0])
        torch.testing.assert_close(lesson.features, torch.stack(rows), atol=1e-4, rtol=1e-4)
        for name, spec in drafts.items():
            assert lesson.drafts[name].hits.tolist() == own_view(load_model(spec), prompt, path)
            assert lesson.drafts[name].chances.shape == (len(path),)


def test_every_draft_gets_a_network(specs: tuple[ModelSpec, dict[str, ModelSpec]], tmp_path: Path) -> None:
    target, drafts = specs
    stages: list[str] = []
    with open_pair(target, drafts) as (pair, tokenizer):
        trained = train(
            pair,
            tokenizer,
            WORDS,
            TOKENS,
            tmp_path,
            plan=PLAN,
            show=lambda what, done, total: stages.append(what),
        )
    assert [one.draft for one in trained] == list(drafts)
    assert stages[-1] == "training: other"
    decoder = load_model(target).decoder
    for one in trained:
        predictor = load_predictor(one.path, decoder, drafts[one.draft])
        assert predictor.predict(torch.zeros(1, len(predictor.mean))).sum() == pytest.approx(1.0)
        assert one.prompts == len(WORDS)
    assert {p.name for p in tmp_path.iterdir()} == {"rounded.safetensors", "other.safetensors"}
