"""A random target is one that its drafts predict about as well as they do a trained one."""

from pathlib import Path

import torch

from engine.drafts.random_pair import make_random_pair
from engine.kernels.ranking import best
from engine.models.specs import ModelSpec
from engine.runtime.loading import load_model

TOKENS = 48


def test_drafts_predict_a_random_target(tmp_path: Path) -> None:
    source, small = make_random_pair(tmp_path, layers=6, width=256, heads=4)
    target = load_model(ModelSpec(source=str(source)))
    prompts = [[5 + 31 * i, 7 + 17 * i, 900 + i] for i in range(3)]
    texts, chances = [], []
    for prompt in prompts:
        text = list(prompt)
        while len(text) < len(prompt) + TOKENS:
            logits = target.read(target.rewind(text), last=1)
            chances.append(float(torch.softmax(logits, -1).max()))
            text += best(logits)
        target.clear()
        texts.append(text)
    found = {}
    drafts = {f"int{bits}": ModelSpec(source=str(source), bits=bits) for bits in (8, 4)}
    for name, spec in (drafts | {"small": ModelSpec(source=str(small))}).items():
        draft = load_model(spec)
        said = 0
        for prompt, text in zip(prompts, texts, strict=True):
            draft.clear()
            ahead = best(draft.read(text[:-1]))[len(prompt) - 1 :]
            said += sum(mine == its for mine, its in zip(ahead, text[len(prompt) :], strict=True))
        found[name] = said / (len(prompts) * TOKENS)
    assert found["int8"] > 0.85
    assert 0.5 < found["int4"] < found["int8"]
    assert 0.5 < found["small"] < 0.9
    assert 0.2 < sum(chances) / len(chances) < 0.8


def test_a_draft_is_the_first_layers_of_its_target(tmp_path: Path) -> None:
    target, draft = (
        load_model(ModelSpec(source=str(at))).decoder
        for at in make_random_pair(tmp_path, layers=12, width=64, heads=4)
    )
    assert (len(target.layers), len(draft.layers)) == (12, 2)
    assert torch.equal(target.embedding, draft.embedding)


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    folder, _ = make_random_pair(tmp_path, layers=1, width=64, heads=4)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    make_random_pair(tmp_path, layers=1, width=64, heads=4)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
