"""Make a small draft of a Llama target: keep some layers and distil them on text that the target writes.

The work continues where it was interrupted: the target writes answers to composed prompts
(`engine.drafts.self_written`); the kept layers are trained to give the target's distributions at every token of
them, in stages that may each add layers; the result is rounded, judged on held-out prompts and saved
(`engine.drafts.distilled`). Training is counted in tokens, never in time, so a slow machine makes the same draft as
a fast one.
"""

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.drafts.distilled import (
    BITS,
    EMBEDDING,
    choose_kept,
    save_distilled,
)
from engine.drafts.self_written import Row, Shard, TextPlan, held_out_text, spans, written_text
from engine.drafts.student import Agreement, Student, divergence, grow, judge
from engine.drafts.training_prompts import KINDS, TrainingPrompt
from engine.errors import SpecBranchError
from engine.kernels.rounding import dequantise, quantise
from engine.models.specs import not_loaded
from engine.progress import Show
from engine.tensor_files import load_tensors, save_tensors

CHECKPOINT_STEPS = 50


@dataclass(frozen=True)
class Stage:
    """A stretch of training: the target's `layers`, on its answers to prompts `first` to `end` (None: the last).

    Training passes over them `epochs` times; the rate of AdamW rises to `rate` and falls again within the stage.
    The output head has the `kept_tokens` most frequent tokens of these answers. Layers of the stage before go
    on from where it left them; new ones come from the target, silenced (`engine.drafts.student.grow`).
    """

    layers: tuple[int, ...]
    epochs: int
    rate: float
    first: int = 0
    end: int | None = None
    kept_tokens: int = 16384


@dataclass(frozen=True)
class Recipe:
    """Everything that the result depends on besides the target.

    The `stages` are trained one after the other, on `text`. Steps are of about `batch_tokens` tokens,
    `part_tokens` of them at once; the rate of AdamW rises over `warmup` steps to the stage's and falls along a
    cosine to `final_rate` of it.
    """

    text: TextPlan = field(default_factory=TextPlan)
    stages: tuple[Stage, ...] = (
        Stage(layers=(0, 1, 2, 3), epochs=3, rate=2e-3, end=7168),
        Stage(layers=(0, 1, 2, 3, 4), epochs=1, rate=1e-3, first=3072),
    )
    batch_tokens: int = 2048
    part_tokens: int = 1024
    final_rate: float = 0.05
    warmup: int = 50
    weight_decay: float = 0.1


@dataclass(frozen=True)
class Report:
    """What `distill` made: the file, its agreement on held-out prompts (all, by kind), and the work done."""

    path: Path
    held_out: Agreement
    by_kind: dict[str, Agreement]
    text_tokens: int
    steps: int


def distill(
    target_folder: Path,
    out: Path,
    *,
    cache: Path,
    recipe: Recipe | None = None,
    threads: int = 1,
    progress: Show = lambda stage, done, total: None,
) -> Report:
    """Make a draft of the Llama model in `target_folder` and write it to `out`.

    The folder `cache` keeps the work between runs: interrupted at any point, the same call continues, and
    other training settings or more prompts reuse the text that is there. SpecBranchError if the target
    cannot be loaded, is not a Llama model with a tied embedding, or lacks a chat template.
    """
    recipe = recipe or Recipe()
    torch.set_num_threads(threads)
    target = load_target(target_folder)
    encode, special = chat_encoder(target_folder)
    ends = end_tokens(target)
    folder = cache / "text"

    def writing(done: int, total: int) -> None:
        progress("writing text", done, total)

    text = written_text(target, encode, ends, folder, recipe.text, writing)
    held_out = held_out_text(target, encode, ends, folder, recipe.text)
    return train(target, text, held_out, sorted({*ends, *special}), out, cache, recipe, progress)


def load_target(folder: Path) -> Any:
    """The model in `folder`, float32; SpecBranchError if it is not a Llama with a tied embedding."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        raise not_loaded("the target in", str(folder), error) from error
    if model.config.model_type != "llama" or not model.config.tie_word_embeddings:
        raise SpecBranchError(
            f"the model in {folder} cannot be distilled: it takes a Llama model whose head is its embedding"
        )
    return model.eval()


def chat_encoder(folder: Path) -> tuple[Callable[[TrainingPrompt], Sequence[int]], list[int]]:
    """What makes a prompt's token ids, and the ids of the special tokens."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise SpecBranchError(f"the model in {folder} has no chat template, so it cannot answer the prompts")

    def encode(prompt: TrainingPrompt) -> list[int]:
        turn = [{"role": "user", "content": prompt.text}]
        ids: list[int] = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
        return ids

    return encode, list(tokenizer.all_special_ids)


def end_tokens(model: Any) -> list[int]:
    end = model.generation_config.eos_token_id
    return [] if end is None else [end] if isinstance(end, int) else list(end)


def train(
    target: Any,
    text: Sequence[Shard],
    held_out: Shard,
    always: Sequence[int],
    out: Path,
    cache: Path,
    recipe: Recipe,
    progress: Show,
) -> Report:
    """Distil the target's kept layers on `text`, judge them on `held_out`, and write them to `out`.

    `always` are token ids that the output head must score however rare they are. The rows of `held_out` are
    of the kinds of `engine.drafts.training_prompts.KINDS`, equally many of each, one kind after the other.
    """
    source: dict[str, Tensor] = target.state_dict()
    embedding = source[EMBEDDING]
    rows = [row for shard in text for row in shard.rows()]
    weights: dict[str, Tensor] = {}
    layers: tuple[int, ...] = ()
    history, steps = "", 0
    for number, stage in enumerate(recipe.stages, start=1):
        mine = rows[stage.first : stage.end]
        counts = torch.cat([row.answer for row in mine]).bincount(minlength=len(embedding))
        kept = choose_kept(counts, always, stage.kept_tokens)
        weights = grow(weights, layers, source, stage.layers)
        layers = stage.layers
        plan = plan_batches([len(row.tokens) for row in mine], stage.epochs, recipe)
        head = embedding[kept].to(torch.bfloat16)
        if not history:
            _calm(weights, embedding, target.config, head, [mine[row] for row in plan[0][0]])
        # A stage's result depends on all stages before it, so its checkpoint is named after them too.
        history = _stage_label(history, stage, recipe, embedding, kept, mine)
        training = _Training(weights, embedding, target.config, head, mine, plan, stage.rate, recipe)
        name = f"training, stage {number} of {len(recipe.stages)}"
        training.run(cache / "training" / f"{history}.safetensors", name, progress)
        steps += len(plan)
    for weight in weights.values():  # what is judged is what will be loaded
        if weight.dim() == 2:
            weight.copy_(dequantise(*quantise(weight, BITS)))
    student = Student(weights, embedding, target.config)
    asked = held_out.rows()
    each = len(asked) // len(KINDS)
    by_kind = {kind: judge(student, kept, asked[i * each : (i + 1) * each]) for i, kind in enumerate(KINDS)}
    everything = judge(student, kept, asked)
    tokens = sum(len(row.answer) for row in rows)
    how = {
        "made by": "specbranch distill",
        "recipe": json.dumps(asdict(recipe), sort_keys=True),
        "text": f"{tokens} tokens that the target wrote after {len(rows)} composed prompts",
        "held out": json.dumps(asdict(everything), sort_keys=True),
    }
    save_distilled(out, weights, kept, source, how)
    return Report(out, everything, by_kind, tokens, steps)


def plan_batches(lengths: Sequence[int], epochs: int, recipe: Recipe) -> list[list[list[int]]]:
    """The rows (indices into `lengths`, tokens each) of every training step, in order, for all epochs.

    A step's rows come in parts of similar length that are padded and run together.
    """
    steps: list[list[list[int]]] = []
    for epoch in range(epochs):
        draw = random.Random(f"{recipe.text.seed}:order:{epoch}")
        order = list(range(len(lengths)))
        draw.shuffle(order)
        for begin, end in spans([lengths[row] for row in order], recipe.batch_tokens, padded=False):
            rows = sorted(order[begin:end], key=lambda row: lengths[row])
            parts = spans([lengths[row] for row in rows], recipe.part_tokens)
            steps.append([rows[first:last] for first, last in parts])
    return steps


@dataclass(frozen=True)
class _Training:
    """One stage: `weights` are trained in place on `rows` by the steps of `plan`, over the tokens of `head`."""

    weights: Mapping[str, Tensor]
    embedding: Tensor
    config: Any
    head: Tensor
    rows: Sequence[Row]
    plan: Sequence[Sequence[Sequence[int]]]
    rate: float
    recipe: Recipe

    def run(self, checkpoint: Path, name: str, progress: Show) -> None:
        """Train to the end, from `checkpoint` if it is there."""
        weights, plan = self.weights, self.plan
        decay = {
            "params": [w for w in weights.values() if w.dim() == 2],
            "weight_decay": self.recipe.weight_decay,
        }
        stay = {"params": [w for w in weights.values() if w.dim() == 1], "weight_decay": 0.0}
        optimiser = torch.optim.AdamW([decay, stay], betas=(0.9, 0.98))
        done = _restore(checkpoint, weights, optimiser)
        # The forward runs on a bfloat16 copy; steps are too small for it and go to the float32 weights.
        copies = {key: weight.to(torch.bfloat16).requires_grad_() for key, weight in weights.items()}
        student = Student(copies, self.embedding.to(torch.bfloat16), self.config)
        for step in range(done, len(plan)):
            parts = [[self.rows[row] for row in part] for part in plan[step]]
            positions = sum(len(row.answer) for part in parts for row in part)
            loss = sum(student.learn(self.head, part, positions) for part in parts)
            for key, copy in copies.items():
                weights[key].grad = copy.grad.float() if copy.grad is not None else None
            nn.utils.clip_grad_norm_(weights.values(), 1.0)
            for group in optimiser.param_groups:
                group["lr"] = self.rate * _schedule(step, len(plan), self.recipe)
            optimiser.step()
            with torch.no_grad():
                for key, copy in copies.items():
                    copy.copy_(weights[key])
                    copy.grad = None
            if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == len(plan):
                save_tensors(checkpoint, _training_state(weights, optimiser), {"steps": str(step + 1)})
            progress(f"{name}: loss {loss:.2f}", step + 1, len(plan))


def _schedule(step: int, steps: int, recipe: Recipe) -> float:
    warmup = min(recipe.warmup, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    through = (step - warmup) / max(1, steps - warmup)
    return recipe.final_rate + (1 - recipe.final_rate) * 0.5 * (1 + math.cos(math.pi * through))


def _stage_label(
    before: str, stage: Stage, recipe: Recipe, embedding: Tensor, kept: Tensor, rows: Sequence[Row]
) -> str:
    """Names all that a stage's result depends on; `before` is the label of the stage before it."""
    schedule = recipe.batch_tokens, recipe.part_tokens, recipe.final_rate, recipe.warmup, recipe.weight_decay
    digest = hashlib.sha256(repr((before, stage, schedule, recipe.text.seed)).encode())
    for tensor in (embedding, kept, *(row.tokens for row in rows)):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:24]


def _training_state(weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        moments = optimiser.state[weight]
        tensors[f"weight:{name}"] = weight
        tensors[f"first:{name}"], tensors[f"second:{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
    return tensors


def _restore(path: Path, weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> int:
    """Put a checkpoint's weights and moments in place, if there is one; the steps taken so far."""
    if not path.exists():
        return 0
    tensors, header = load_tensors(path, "the checkpoint", "remove it to train anew")
    steps = int(header["steps"])
    for name, weight in weights.items():
        weight.copy_(tensors[f"weight:{name}"])
        optimiser.state[weight] = {
            "step": torch.tensor(float(steps)),
            "exp_avg": tensors[f"first:{name}"],
            "exp_avg_sq": tensors[f"second:{name}"],
        }
    return steps


def _calm(
    weights: Mapping[str, Tensor], embedding: Tensor, config: Any, head: Tensor, rows: Sequence[Row]
) -> None:
    """Scale the last norm so that the untrained draft is as sure of itself as it may be.

    Without the later layers the states point roughly where they should but are several times too long, and
    training would spend its first hundred steps on that alone.
    """
    student = Student(weights, embedding, config)
    with torch.inference_mode():
        mine = torch.cat([student.states(row.tokens[None, :-1])[0, row.prompt - 1 :] for row in rows])
    theirs = torch.cat([row.states for row in rows])
    scales = [2 ** (-i / 2) for i in range(9)]
    best = min(scales, key=lambda scale: divergence((mine * scale).to(head.dtype), theirs, head)[0])
    weights["model.norm.weight"].mul_(best)
