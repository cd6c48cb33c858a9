"""Distillation on tiny random models: the same prompts, the target's own text, and work that continues."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_llama

from engine.drafts import self_written
from engine.drafts.distill import Recipe, Report, Stage, plan_batches, train
from engine.drafts.distilled import EMBEDDING, load_distilled
from engine.drafts.self_written import BatchWriter, Shard, TextPlan, held_out_text, written_text
from engine.drafts.student import Agreement, Student, divergence, grow, judge, prune
from engine.drafts.training_prompts import KINDS, TrainingPrompt, held_out_prompts, training_prompts
from engine.errors import SpecBranchError

VOCABULARY = 64
END = 2
PLAN = TextPlan(prompts=32, answer_tokens=12, rows=8)
STAGE = Stage(layers=(0, 2), epochs=2, rate=3e-3, kept_tokens=48)
RECIPE = Recipe(text=PLAN, stages=(STAGE,), batch_tokens=96, part_tokens=96, warmup=4)


def tiny(seed: int = 0) -> Any:
    return tiny_llama(seed, vocabulary=VOCABULARY, layers=3, tied=True, spread=0.2)


def encode(prompt: TrainingPrompt) -> list[int]:
    """A stand-in for a tokenizer: two leading tokens that all prompts share, then some of its letters."""
    return [1, 3, *(5 + ord(letter) % (VOCABULARY - 5) for letter in prompt.text[: 4 + len(prompt.text) % 9])]


def write(target: Any, folder: Path, plan: TextPlan = PLAN) -> list[Shard]:
    return written_text(target, encode, [END], folder, plan, lambda done, total: None)


def learn(target: Any, folder: Path, out: Path, **changes: Any) -> Report:
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(STAGE, **changes),))
    held_out = held_out_text(target, encode, [END], folder / "text", PLAN)
    text = write(target, folder / "text")
    return train(target, text, held_out, [END], out, folder, recipe, lambda stage, done, total: None)


def test_prompts_depend_on_seed_and_place_alone() -> None:
    prompts = training_prompts(1, 0, 600)
    assert prompts[123:200] == training_prompts(1, 123, 77)
    assert prompts != training_prompts(2, 0, 600)
    assert {p.kind for p in prompts} == set(KINDS)
    assert len({p.text for p in prompts}) > 570
    assert not any("{" in p.text and p.kind != "code" for p in prompts)


def test_held_out_prompts_are_balanced_and_never_trained_on() -> None:
    held_out = held_out_prompts()
    assert len({p.text for p in held_out}) == len(held_out)
    assert [p.kind for p in held_out] == [kind for kind in KINDS for _ in range(len(held_out) // len(KINDS))]
    assert not {p.text for p in held_out} & {p.text for p in training_prompts(1, 0, 3000)}


def test_greedy_answers_are_the_targets_own(tmp_path: Path) -> None:
    target = tiny().to(torch.bfloat16)
    prompts = [[1, 3, *range(5, 6 + 3 * n)] for n in range(9)]
    writer = BatchWriter(target, [END], tmp_path)
    shard = writer.write(prompts, [0.0] * len(prompts), 12, seed=0)
    target = target.to(writer.dtype)
    for row, prompt in zip(shard.rows(), prompts, strict=True):
        assert row.tokens[: row.prompt].tolist() == prompt
        assert len(row.answer) == 12 or row.answer[-1] == END
        assert END not in row.answer[:-1]
        with torch.inference_mode():
            logits = target(row.tokens[None]).logits[0, row.prompt - 1 : -1].float()
        # In bfloat16 a batch may break a tie another way; a token may lose to the best by rounding only.
        chosen = logits.gather(1, row.answer[:, None])[:, 0]
        assert (logits.max(dim=1).values - chosen).max() < 0.1
        mine = torch.nn.functional.linear(row.states.float(), target.state_dict()[EMBEDDING].float())
        torch.testing.assert_close(mine, logits, atol=0.15, rtol=0.05)


def test_sampling_follows_the_temperature(tmp_path: Path) -> None:
    writer = BatchWriter(tiny(), [END], tmp_path)
    prompts = [[1, 3, 9, 11]] * 400
    first = torch.stack([r.answer[0] for r in writer.write(prompts, [1.0] * 400, 1, seed=5).rows()])
    with torch.inference_mode():
        expected = tiny()(torch.tensor(prompts[:1])).logits[0, -1].softmax(dim=-1)
    found = first.bincount(minlength=VOCABULARY) / 400
    assert 0.5 * (found - expected).abs().sum() < 0.2
    assert first.equal(torch.stack([r.answer[0] for r in writer.write(prompts, [1.0] * 400, 1, 5).rows()]))


def test_text_is_written_once_and_a_longer_plan_continues_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny()
    before = write(target, tmp_path, dataclasses.replace(PLAN, prompts=16))
    written: list[int] = []
    original = BatchWriter.write

    def counted(self: BatchWriter, prompts: Any, *rest: Any) -> Shard:
        written.append(len(prompts))
        return original(self, prompts, *rest)

    monkeypatch.setattr(self_written.BatchWriter, "write", counted)
    after = write(target, tmp_path)
    assert written == [8, 8]
    for old, new in zip(before, after[:2], strict=True):
        assert old.tokens.equal(new.tokens)
    write(target, tmp_path)
    assert written == [8, 8]
    write(tiny(1), tmp_path)
    assert len(written) == 6


def test_every_epoch_meets_every_row_once() -> None:
    lengths = [5 + i * 7 % 23 for i in range(200)]
    recipe = dataclasses.replace(RECIPE, batch_tokens=300, part_tokens=96)
    steps = plan_batches(lengths, 2, recipe)
    assert sorted(row for step in steps for part in step for row in part) == sorted(
        [*range(200), *range(200)]
    )
    for step in steps:
        assert sum(lengths[row] for part in step for row in part) <= 300
        assert all(max(lengths[row] for row in part) * len(part) <= 96 for part in step)


def test_a_student_of_all_layers_is_the_target() -> None:
    target = tiny()
    student = Student(prune(target.state_dict(), [0, 1, 2]), target.state_dict()[EMBEDDING], target.config)
    ids = torch.tensor([[1, 3, 9, 11, 40, 2], [5, 60, 7, 7, 8, 1]])
    with torch.inference_mode():
        expected = target.model(ids).last_hidden_state
        torch.testing.assert_close(student.states(ids), expected, atol=1e-4, rtol=1e-4)


def test_the_loss_is_the_divergence_and_its_gradient_too(tmp_path: Path) -> None:
    target = tiny()
    rows = write(target, tmp_path)[0].rows()
    head = target.state_dict()[EMBEDDING][::2]
    positions = sum(len(row.answer) for row in rows)
    weights = {name: w.requires_grad_() for name, w in prune(target.state_dict(), [0, 2]).items()}
    student = Student(weights, target.state_dict()[EMBEDDING], target.config)
    loss = student.learn(head, rows[:3], positions) + student.learn(head, rows[3:], positions)
    gradients = {name: weight.grad for name, weight in weights.items()}
    total = torch.zeros(())
    for row in rows:
        states = student.states(row.tokens[None, :-1])[0, row.prompt - 1 :]
        log_q = (states @ head.T).log_softmax(dim=-1)
        log_p = (row.states.float() @ head.T).log_softmax(dim=-1)
        total = total + (log_p.exp() * (log_p - log_q)).sum() / positions
    assert loss == pytest.approx(total.item(), rel=1e-4)
    expected = torch.autograd.grad(total, list(weights.values()))
    for found, wanted in zip(gradients.values(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


def test_equal_states_do_not_diverge() -> None:
    states, head = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), torch.eye(16)
    loss, gradient = divergence(states, states, head)
    assert loss == pytest.approx(0.0, abs=1e-3)
    assert gradient.abs().max() < 1e-5


def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.drafts.distill.CHECKPOINT_STEPS", 4)
    target = tiny()
    whole = learn(target, tmp_path / "whole", tmp_path / "whole.safetensors")

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage.startswith("training") and done == 10:
            raise KeyboardInterrupt

    out = tmp_path / "parts.safetensors"
    held_out = held_out_text(target, encode, [END], tmp_path / "parts" / "text", PLAN)
    text = write(target, tmp_path / "parts" / "text")
    with pytest.raises(KeyboardInterrupt):
        train(target, text, held_out, [END], out, tmp_path / "parts", RECIPE, interrupt)
    assert not out.exists()
    steps: list[int] = []
    parts = train(
        target, text, held_out, [END], out, tmp_path / "parts", RECIPE, lambda _, done, __: steps.append(done)
    )
    assert steps == list(range(9, whole.steps + 1))
    assert parts.held_out == whole.held_out
    first = load_distilled(whole.path, target.state_dict())
    second = load_distilled(parts.path, target.state_dict())
    for name, weight in first.state.items():
        torch.testing.assert_close(second.state[name], weight, rtol=0, atol=0)


def test_training_helps_and_the_report_tells_what_the_file_does(tmp_path: Path) -> None:
    target = tiny()
    rows = held_out_text(target, encode, [END], tmp_path / "text", PLAN).rows()
    embedding = target.state_dict()[EMBEDDING]
    report = learn(target, tmp_path, tmp_path / "draft.safetensors", epochs=6)
    weights = load_distilled(report.path, target.state_dict())
    assert weights.layers == 2
    assert END in weights.kept_tokens
    before = Student(prune(target.state_dict(), [0, 2]), embedding, target.config)
    assert report.held_out.overlap > judge(before, weights.kept_tokens, rows).overlap
    assert set(report.by_kind) == set(KINDS)
    assert sum(kind.positions for kind in report.by_kind.values()) == report.held_out.positions
    student = Student(weights.state, embedding, target.config)
    assert judge(student, weights.kept_tokens, rows) == report.held_out


def test_a_new_layer_changes_nothing_until_it_is_trained() -> None:
    source = tiny().state_dict()
    small = prune(source, [0, 2])
    small["model.norm.weight"] *= 0.5
    small["model.layers.1.mlp.up_proj.weight"] *= 0.5
    large = grow(small, [0, 2], source, [0, 1, 2])
    assert large["model.layers.1.mlp.up_proj.weight"].equal(source["model.layers.1.mlp.up_proj.weight"])
    ids = torch.tensor([[1, 3, 9, 11, 40, 2]])
    states = [Student(weights, source[EMBEDDING], tiny().config).states(ids) for weights in (small, large)]
    torch.testing.assert_close(states[1], states[0])
    with pytest.raises(SpecBranchError, match="lack"):
        grow(small, [0, 2], source, [0, 1])


def test_stages_continue_one_another_and_are_found_again(tmp_path: Path) -> None:
    target = tiny()
    stages = (
        dataclasses.replace(STAGE, end=16, rate=0.0),
        dataclasses.replace(STAGE, layers=(0, 1, 2), epochs=1),
    )
    recipe = dataclasses.replace(RECIPE, stages=stages)
    held_out = held_out_text(target, encode, [END], tmp_path / "text", PLAN)
    text = write(target, tmp_path / "text")
    begun: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        begun.append(stage.partition(":")[0])

    out = tmp_path / "draft.safetensors"
    report = train(target, text, held_out, [END], out, tmp_path, recipe, progress)
    assert begun == sorted(begun)
    assert set(begun) == {"training, stage 1 of 2", "training, stage 2 of 2"}
    assert report.steps == len(begun)
    assert load_distilled(out, target.state_dict()).layers == 3
    begun.clear()
    again = train(target, text, held_out, [END], out, tmp_path, recipe, progress)
    assert (begun, again.held_out) == ([], report.held_out)
    # What a stage depends on includes the stages before it.
    other = dataclasses.replace(recipe, stages=(dataclasses.replace(stages[0], epochs=1), stages[1]))
    train(target, text, held_out, [END], out, tmp_path, other, progress)
    assert set(begun) == {"training, stage 1 of 2", "training, stage 2 of 2"}


def test_the_target_agrees_with_itself(tmp_path: Path) -> None:
    target = tiny()
    rows = held_out_text(target, encode, [END], tmp_path, PLAN).rows()
    itself = Student(prune(target.state_dict(), [0, 1, 2]), target.state_dict()[EMBEDDING], target.config)
    found = judge(itself, torch.arange(VOCABULARY), rows)
    assert isinstance(found, Agreement)
    assert found.top1 > 0.9
    assert found.overlap > 0.9
    assert found.top1 <= found.top2 <= found.top4


def test_layers_that_are_not_there_are_refused() -> None:
    for layers in ([0, 3], []):
        with pytest.raises(SpecBranchError, match="0 to 2"):
            prune(tiny().state_dict(), layers)
