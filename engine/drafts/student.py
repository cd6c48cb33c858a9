"""A few layers of a Llama as plain tensors: a forward that can be trained, its loss, and its agreement with text.

Made for short texts on a CPU: everything runs in the weights' own type (bfloat16 to train, float32 to judge),
attention is plain products, and scores over the vocabulary exist for a few positions at a time only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.drafts.self_written import Row, rotate
from engine.errors import SpecBranchError

HEAD_ROWS = (
    128  # positions whose scores over the kept vocabulary are held at once; more fall out of the cache
)


SPEAKING = ("self_attn.o_proj.weight", "mlp.down_proj.weight")  # what adds to the residual stream


@dataclass(frozen=True)
class Agreement:
    """How well a draft predicts what the target wrote greedily: `positions` tokens after `prompts` prompts.

    `top1`, `top2`, `top4`: share of the target's tokens among the draft's most probable ones. `overlap`: mean
    over positions of the sum of min(p, q) over the vocabulary, at temperature 1.
    """

    prompts: int
    positions: int
    top1: float
    top2: float
    top4: float
    overlap: float


def prune(target_state: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """Float32 copies of the given layers, renumbered from 0, and of the last norm; transformers' Llama naming."""
    there = {int(name.split(".")[2]) for name in target_state if name.startswith("model.layers.")}
    if not layers or not set(layers) <= there:
        raise SpecBranchError(
            f"the layers to keep must lie within 0 to {max(there)}, and at least one must be"
        )
    state = {"model.norm.weight": target_state["model.norm.weight"].detach().float().clone()}
    for new, old in enumerate(layers):
        prefix = f"model.layers.{old}."
        for name in (name for name in target_state if name.startswith(prefix)):
            weight = target_state[name].detach().float().clone()
            state[f"model.layers.{new}.{name.removeprefix(prefix)}"] = weight
    return state


def grow(
    weights: Mapping[str, Tensor],
    before: Sequence[int],
    target_state: Mapping[str, Tensor],
    layers: Sequence[int],
) -> dict[str, Tensor]:
    """The pruned `weights` of the target's layers `before`, with further ones, as those of `layers`.

    A new layer is the target's, but adds nothing to the residual stream (its two output projections are zero),
    so that what was learnt is kept; training lets it speak. Without `before`, this is `prune`. SpecBranchError
    if `layers` lack one of `before`.
    """
    state = prune(target_state, layers)
    if not before:
        return state
    if not set(before) <= set(layers):
        raise SpecBranchError(
            f"the layers {list(layers)} lack some of {list(before)}, which are trained before"
        )
    state["model.norm.weight"] = weights["model.norm.weight"].detach().clone()
    for new, layer in enumerate(layers):
        names = [name for name in state if name.startswith(f"model.layers.{new}.")]
        for name in names:
            part = name.split(".", 3)[3]
            if layer in before:
                old = f"model.layers.{before.index(layer)}.{part}"
                state[name] = weights[old].detach().clone()
            elif part in SPEAKING:
                state[name].zero_()
    return state


class Student:
    """`weights` are named as `prune` names them; `embedding` [vocabulary, hidden] is of the same type.

    `config` is the target's, from transformers.
    """

    def __init__(self, weights: Mapping[str, Tensor], embedding: Tensor, config: Any) -> None:
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

        self.weights = weights
        self.embedding = embedding
        self.layers = len({name.split(".")[2] for name in weights if name.startswith("model.layers.")})
        self.heads = int(config.num_attention_heads)
        self.groups = int(config.num_key_value_heads)
        self.width = int(config.head_dim)
        self.epsilon = float(config.rms_norm_eps)
        self.rotary = LlamaRotaryEmbedding(config)

    def states(self, ids: Tensor) -> Tensor:
        """Normed last states [rows, n, hidden] of `ids` [rows, n], each row from its beginning."""
        rows, count = ids.shape
        x = F.embedding(ids, self.embedding)
        cos, sin = (table[0] for table in self.rotary(x, torch.arange(count)[None]))
        # The query heads of a group lie behind one another as rows, so that no key is repeated.
        unseen = torch.full((count, count), float("-inf"), dtype=x.dtype).triu(1)
        unseen = unseen.repeat(self.heads // self.groups, 1)
        for layer in range(self.layers):
            h = self._norm(x, f"model.layers.{layer}.input_layernorm")
            q, k, v = (self._linear(h, f"model.layers.{layer}.self_attn.{name}_proj") for name in "qkv")
            q, k, v = (y.view(rows, count, -1, self.width).transpose(1, 2) for y in (q, k, v))
            q = rotate(q, cos, sin).reshape(rows, self.groups, -1, self.width)
            scores = q @ rotate(k, cos, sin).transpose(-1, -2) * self.width**-0.5 + unseen
            mixed = (scores.softmax(dim=-1) @ v).view(rows, self.heads, count, self.width)
            mixed = mixed.transpose(1, 2).reshape(rows, count, -1)
            x = x + self._linear(mixed, f"model.layers.{layer}.self_attn.o_proj")
            h = self._norm(x, f"model.layers.{layer}.post_attention_layernorm")
            gate, up = (self._linear(h, f"model.layers.{layer}.mlp.{name}_proj") for name in ("gate", "up"))
            x = x + self._linear(F.silu(gate) * up, f"model.layers.{layer}.mlp.down_proj")
        return self._norm(x, "model.norm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.epsilon)

    def learn(self, head: Tensor, rows: Sequence[Row], positions: int) -> float:
        """Add the loss's gradient over `rows` to the weights'; returns the loss.

        The loss is KL(target || draft) over the kept vocabulary, summed over the rows' answer tokens and divided
        by `positions`, those of the whole batch. `head` [kept, hidden] is frozen and of the weights' type.
        """
        # Padding lies behind each row, where causality hides it.
        ids = nn.utils.rnn.pad_sequence([row.tokens[:-1] for row in rows], batch_first=True)
        places = torch.arange(ids.shape[1])
        first = torch.tensor([[row.prompt - 1] for row in rows])
        last = torch.tensor([[len(row.tokens) - 1] for row in rows])
        states = self.states(ids)[(places >= first) & (places < last)]
        theirs = torch.cat([row.states for row in rows]).to(head.dtype)
        loss, gradient = divergence(states.detach(), theirs, head)
        torch.autograd.backward(states, gradient / positions)
        return loss / positions


@torch.no_grad()
def divergence(mine: Tensor, theirs: Tensor, head: Tensor) -> tuple[float, Tensor]:
    """Sum over rows of KL(softmax(theirs head^T) || softmax(mine head^T)), and its gradient by `mine`.

    `mine` and `theirs` are [n, hidden], `head` [kept, hidden]. Both at once and a few rows at a time, since the
    scores of a whole batch would be many times the size of everything else.
    """
    total = 0.0
    gradient = torch.empty_like(mine)
    for begin in range(0, len(mine), HEAD_ROWS):
        part = slice(begin, begin + HEAD_ROWS)
        s, t = F.linear(mine[part], head).float(), F.linear(theirs[part], head).float()
        s -= s.amax(dim=-1, keepdim=True)
        t -= t.amax(dim=-1, keepdim=True)
        p = t.exp()
        weight = p.sum(dim=-1, keepdim=True)
        p /= weight
        total += float((p * t.sub_(s)).sum() - weight.log().sum())
        q = s.exp_()
        weight = q.sum(dim=-1, keepdim=True)
        total += float(weight.log().sum())
        gradient[part] = q.div_(weight).sub_(p).to(head.dtype) @ head
    return total, gradient


@torch.inference_mode()
def judge(student: Student, kept: Tensor, rows: Sequence[Row]) -> Agreement:
    """How well a float32 `student` that scores only the tokens `kept` predicts the answers in `rows`.

    The rows' states must be of the student's own target, whose embedding gives the target's distribution.
    """
    head = student.embedding[kept]
    hits, overlap, positions = [0, 0, 0], 0.0, 0
    for row in rows:
        q = F.linear(student.states(row.tokens[None, :-1])[0, row.prompt - 1 :], head).softmax(dim=-1)
        p = F.linear(row.states.to(head.dtype), student.embedding).softmax(dim=-1)
        overlap += float(torch.minimum(q, p[:, kept]).sum())
        found = kept[q.topk(4, dim=-1).indices] == row.answer[:, None]
        for i, width in enumerate((1, 2, 4)):
            hits[i] += int(found[:, :width].any(dim=-1).sum())
        positions += len(found)
    top1, top2, top4 = (count / max(1, positions) for count in hits)
    return Agreement(len(rows), positions, top1, top2, top4, overlap / max(1, positions))
