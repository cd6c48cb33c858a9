"""Text that the target writes to learn from: answers to many prompts, with the states behind each token.

The states are the target's last, normed ones: its distribution at any position follows from them by one
product with its output head, so nothing needs the target's layers again.
"""

import hashlib
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.drafts.distilled import fingerprint
from engine.drafts.training_prompts import TrainingPrompt, held_out_prompts, training_prompts
from engine.kernels.linear import computes_bfloat16
from engine.tensor_files import load_tensors, save_tensors

TEMPERATURES = (0.0, 0.0, 0.0, 0.5, 0.8, 1.0)  # of the answers, drawn with equal chances
SORTED_SHARDS = (
    4  # prompts of so many shards are sorted by length before they are shared out, to save padding
)
PREFILL_TOKENS = 1024  # of the prompts, read at once

Encode = Callable[[TrainingPrompt], Sequence[int]]
"""Makes the token ids of a prompt, chat template included."""


@dataclass(frozen=True)
class Shard:
    """Answers of the target, row by row.

    `tokens` int64 [all]: row i, prompt and answer, lies in `starts[i]` to `starts[i + 1]`, and its prompt
    has `prompt_lengths[i]` tokens. `hidden` bfloat16 [answer tokens, hidden size] are the states that gave
    them.
    """

    tokens: Tensor
    starts: Tensor
    prompt_lengths: Tensor
    hidden: Tensor

    def rows(self) -> list["Row"]:
        tokens = torch.split(self.tokens, self.starts.diff().tolist())
        prompts = self.prompt_lengths.tolist()
        answers = [len(row) - prompt for row, prompt in zip(tokens, prompts, strict=True)]
        states = torch.split(self.hidden, answers)
        return [Row(*row) for row in zip(tokens, prompts, states, strict=True)]


@dataclass(frozen=True)
class Row:
    """One text: `tokens` int64 [prompt + answer]; `states` bfloat16 [answer, hidden size] gave the answer."""

    tokens: Tensor
    prompt: int
    states: Tensor

    @property
    def answer(self) -> Tensor:
        return self.tokens[self.prompt :]


@dataclass(frozen=True)
class TextPlan:
    """What to write: answers of up to `answer_tokens` tokens to `prompts` prompts, `rows` at a time."""

    seed: int = 1
    prompts: int = 14336
    answer_tokens: int = 128
    rows: int = 256


def written_text(
    target: Any,
    encode: Encode,
    ends: Sequence[int],
    cache: Path,
    plan: TextPlan,
    progress: Callable[[int, int], None],
) -> list[Shard]:
    """The target's answers to the plan's prompts; shards that the folder `cache` has are read, not written.

    `ends` are the tokens that end an answer. `progress` is told how many shards of how many there are.
    """
    writer = BatchWriter(target, ends, cache)
    count = math.ceil(plan.prompts / plan.rows)
    shards: list[Shard] = []
    for index in range(count):
        # No shard is cut short, whatever `prompts` is, so that runs of any size share their shards.
        block, part = divmod(index, SORTED_SHARDS)
        if part == 0:
            together = plan.rows * SORTED_SHARDS
            prompts = [list(encode(p)) for p in training_prompts(plan.seed, block * together, together)]
            prompts.sort(key=len)
        draw = random.Random(f"{plan.seed}:temperatures:{index}")
        heat = [draw.choice(TEMPERATURES) for _ in range(plan.rows)]
        mine = prompts[part * plan.rows : (part + 1) * plan.rows]
        shards.append(writer.recall(mine, heat, plan.answer_tokens, plan.seed * 1_000_003 + index))
        progress(index + 1, count)
    return shards


def held_out_text(target: Any, encode: Encode, ends: Sequence[int], cache: Path, plan: TextPlan) -> Shard:
    """The target's greedy answers to `held_out_prompts()`, row by row in their order."""
    prompts = [list(encode(p)) for p in held_out_prompts()]
    return BatchWriter(target, ends, cache).recall(prompts, [0.0] * len(prompts), plan.answer_tokens, 0)


class BatchWriter:
    """Writes many answers at once with a copy of a Llama model, and keeps them in a folder.

    The copy is of bfloat16, or of float32 where the processor has no products of bfloat16.

    transformers' own loop copies the whole cache for every token; here it lies in place, and rows that have
    ended are dropped from it now and then.
    """

    def __init__(self, target: Any, ends: Sequence[int], folder: Path) -> None:
        """`target` is a `LlamaForCausalLM` with a tied embedding, `ends` the tokens that end an answer."""
        from transformers import LlamaForCausalLM

        self.folder = folder
        self.fingerprint = fingerprint(target.state_dict())

        self.dtype = torch.bfloat16 if computes_bfloat16() else torch.float32
        state = {name: tensor.to(self.dtype) for name, tensor in target.state_dict().items()}
        with torch.device("meta"):
            model: Any = LlamaForCausalLM(target.config)
        model.load_state_dict(state, assign=True)
        model.tie_weights()
        self.layers = model.model.layers
        self.norm = model.model.norm
        self.embedding: Tensor = model.model.embed_tokens.weight
        self.rotary = type(model.model.rotary_emb)(target.config)
        self.heads: int = target.config.num_attention_heads
        self.groups: int = target.config.num_key_value_heads
        self.ends = torch.tensor(sorted(ends), dtype=torch.long)

    def recall(
        self, prompts: Sequence[Sequence[int]], temperatures: Sequence[float], length: int, seed: int
    ) -> Shard:
        """What `write` gives, from the folder if it is there."""
        made_from = self.fingerprint, prompts, temperatures, length, seed
        path = self.folder / f"{hashlib.sha256(repr(made_from).encode()).hexdigest()[:24]}.safetensors"
        if not path.exists():
            shard = self.write(prompts, temperatures, length, seed)
            save_tensors(path, {field.name: getattr(shard, field.name) for field in fields(Shard)}, {})
        return Shard(**load_tensors(path, "the text", "remove it to write it again")[0])

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[Sequence[int]], temperatures: Sequence[float], length: int, seed: int
    ) -> Shard:
        """Answer every prompt (token ids) with up to `length` tokens at its temperature (0 is greedy)."""
        generator = torch.Generator().manual_seed(seed)
        rows, longest = len(prompts), max(len(p) for p in prompts)
        # All rows begin alike (the chat template's words): that is read once, and the padding comes after it.
        alike = (len(set(tokens)) == 1 for tokens in zip(*(p[:-1] for p in prompts), strict=False))
        shared = len(list(itertools.takewhile(bool, alike)))
        padding = torch.tensor([longest - len(p) for p in prompts])
        ids = torch.tensor([[0] * (longest - len(p)) + list(p[shared:]) for p in prompts])
        size = (rows, self.groups, longest + length, self.embedding.shape[1] // self.heads)
        caches = [
            (torch.zeros(size, dtype=self.dtype), torch.zeros(size, dtype=self.dtype)) for _ in self.layers
        ]
        slots = torch.arange(longest + length)

        def visible(padding: Tensor, at: int, count: int) -> Tensor:
            seen = (slots[: at + count] < shared) | (slots[: at + count] >= shared + padding.unsqueeze(1))
            causal = slots[: at + count] <= slots[at : at + count, None]
            return (seen.unsqueeze(1) & causal).unsqueeze(1)

        if shared:
            none = torch.zeros(1, dtype=torch.long)
            first = torch.tensor([list(prompts[0][:shared])])
            part = [(k[:1], v[:1]) for k, v in caches]
            self._forward(first, slots[None, :shared], part, 0, visible(none, 0, shared))
            for cache in (cache for pair in caches for cache in pair):
                cache[1:, :, :shared] = cache[:1, :, :shared]
        hidden = torch.empty(rows, self.embedding.shape[1], dtype=self.dtype)
        for begin, end in spans([len(p) - shared for p in prompts], PREFILL_TOKENS):
            at = shared + int(padding[begin:end].min())
            part = [(k[begin:end], v[begin:end]) for k, v in caches]
            places = (slots[at:longest] - padding[begin:end, None]).clamp_min(0)
            mask = visible(padding[begin:end], at, longest - at)
            # A padded place must see something, or its softmax is not a number: it sees itself.
            mask[..., at:] |= torch.eye(longest - at, dtype=torch.bool)
            states_here = self._forward(ids[begin:end, at - shared :], places, part, at, mask)
            hidden[begin:end] = states_here[:, -1]
        heat = torch.tensor(temperatures)
        live = torch.arange(rows)  # the prompt that each row of the caches belongs to
        done = torch.zeros(rows, dtype=torch.bool)
        answers: list[list[int]] = [[] for _ in prompts]
        states: list[list[Tensor]] = [[] for _ in prompts]
        for step in range(length):
            chosen = self._choose(hidden, heat[live], generator)
            for row in (~done).nonzero().flatten().tolist():
                answers[live[row]].append(int(chosen[row]))
                states[live[row]].append(hidden[row])
            done |= torch.isin(chosen, self.ends)
            if bool(done.all()) or step == length - 1:
                break
            if int(done.sum()) * 4 > len(done):
                keep = (~done).nonzero().flatten()
                caches = [(k[keep], v[keep]) for k, v in caches]
                live, chosen, padding, done = live[keep], chosen[keep], padding[keep], done[keep]
            at = longest + step
            places = (at - padding).unsqueeze(1)
            hidden = self._forward(chosen.unsqueeze(1), places, caches, at, visible(padding, at, 1))[:, 0]
        texts = [[*p, *a] for p, a in zip(prompts, answers, strict=True)]
        return Shard(
            tokens=torch.tensor([t for text in texts for t in text]),
            starts=torch.tensor([0, *(len(t) for t in texts)]).cumsum(0),
            prompt_lengths=torch.tensor([len(p) for p in prompts]),
            hidden=torch.stack([s for row in states for s in row]).bfloat16(),
        )

    def _choose(self, hidden: Tensor, heat: Tensor, generator: torch.Generator) -> Tensor:
        logits = F.linear(hidden, self.embedding)
        chosen = _argmax(logits)
        warm = (heat > 0).nonzero().flatten()
        if len(warm):
            total = (logits[warm].float() / heat[warm].unsqueeze(1)).softmax(dim=-1).cumsum(dim=-1)
            point = torch.rand(len(warm), 1, generator=generator) * total[:, -1:]
            drawn = torch.searchsorted(total, point, right=True).flatten()
            chosen[warm] = drawn.clamp_max(logits.shape[1] - 1)
        return chosen

    def _forward(
        self,
        ids: Tensor,
        places: Tensor,
        caches: Sequence[tuple[Tensor, Tensor]],
        at: int,
        visible: Tensor,
    ) -> Tensor:
        """Normed last states [rows, n, hidden] of `ids` [rows, n]; keys and values go to slot `at` and on."""
        rows, count = ids.shape
        x = F.embedding(ids, self.embedding)
        cos, sin = (t.unsqueeze(1) for t in self.rotary(x, places))
        for layer, (keys, values) in zip(self.layers, caches, strict=True):
            attention = layer.self_attn
            h = layer.input_layernorm(x)
            q = attention.q_proj(h).view(rows, count, self.heads, -1).transpose(1, 2)
            k = attention.k_proj(h).view(rows, count, self.groups, -1).transpose(1, 2)
            v = attention.v_proj(h).view(rows, count, self.groups, -1).transpose(1, 2)
            keys[:, :, at : at + count] = rotate(k, cos, sin)
            values[:, :, at : at + count] = v
            seen = F.scaled_dot_product_attention(
                rotate(q, cos, sin),
                keys[:, :, : at + count],
                values[:, :, : at + count],
                attn_mask=visible,
                enable_gqa=True,
            )
            x = x + attention.o_proj(seen.transpose(1, 2).reshape(rows, count, -1))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        normed: Tensor = self.norm(x)
        return normed


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Llama's rotary position embedding of `x` [..., n, width]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _argmax(scores: Tensor) -> Tensor:
    """The first largest of each row [rows, n]; torch's own takes eight times as long in bfloat16."""
    block = next((size for size in (256, 64, 16) if scores.shape[1] % size == 0), scores.shape[1])
    blocks = scores.view(len(scores), -1, block)
    best = blocks.amax(dim=-1).argmax(dim=-1)
    return best * block + blocks[torch.arange(len(scores)), best].argmax(dim=-1)


def spans(lengths: Sequence[int], budget: int, padded: bool = True) -> Iterator[tuple[int, int]]:
    """Consecutive stretches (begin, end) whose size stays within `budget`: the sum, or rows x longest if padded."""
    begin, longest, total = 0, 0, 0
    for i, length in enumerate(lengths):
        longest, total = max(longest, length), total + length
        if i > begin and (longest * (i + 1 - begin) if padded else total) > budget:
            yield begin, i
            begin, longest, total = i, length, length
    if lengths:
        yield begin, len(lengths)
