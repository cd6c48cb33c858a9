"""A lean forward for models of the Llama family: fused projections and a preallocated KV cache.

Forwards of a few rows are one compiled function where the processor has what it takes (`engine.models.fused_llama`),
one graph on a CUDA device (`engine.models.captured`), and PyTorch's operations elsewhere. The general path through
transformers (`engine.models.transformers_model`) serves every other architecture; both offer
`engine.models.decoder.Decoder`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.cuda_graphs import cuda_graph
from engine.kernels.linear import Linear, lacks_bfloat16, make_linear, round_weight, widened
from engine.kernels.noise import add_noise
from engine.kernels.ranking import best, ranked
from engine.kernels.rounding import Weight, stacked
from engine.models.capabilities import Capabilities, position_limit
from engine.models.captured import FEW_ROWS, LAST_ROWS, CapturedForwards, Reading, View
from engine.models.cut_head import CutHead
from engine.models.decoder import WATCHED_LAYERS
from engine.models.fused_llama import FusedLlama, LayerWeights, Slots, can_fuse, fuse, slots_of
from engine.models.rows import Rows, arranged, joined, row_count, rows_behind, spans, wanted_count

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One decoder layer; `qkv` and `gate_up` are the fused projections."""

    attention_norm: Norm
    qkv: Linear
    out: Linear
    mlp_norm: Norm
    gate_up: Linear
    down: Linear


def make_norm(weight: Tensor, epsilon: float) -> Norm:
    """The root mean square norm with `weight` [width].

    In bfloat16 as the layer norm of x beside -x, whose mean is 0 and whose variance is the mean square: one kernel
    where the other is many, and the same numbers.
    """
    width = len(weight)
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return lambda x: functional.rms_norm(x, (width,), weight, epsilon)
    twice = torch.cat([weight, weight])

    def norm(x: Tensor) -> Tensor:
        both = functional.layer_norm(torch.cat([x, -x], dim=-1), (2 * width,), twice, None, epsilon)
        return both[:, :width].contiguous()

    return norm


def is_lean(config: Any) -> bool:
    """Whether `Llama` computes this architecture: Llama without biases."""
    plain = not getattr(config, "attention_bias", False) and not getattr(config, "mlp_bias", False)
    return bool(config.model_type == "llama" and config.hidden_act == "silu" and plain)


class Llama:
    """A decoder over slots: each row of a forward is written to its slot of every layer's cache."""

    def __init__(
        self,
        config: Any,
        state: Mapping[str, Weight],
        dtype: torch.dtype,
        *,
        bits: int | None = None,
        kept: Tensor | None = None,
        device: str = "cpu",
        capacity: int = 1024,
        vocabulary: int | None = None,
        blocks: int = 1,
    ) -> None:
        """`state` uses transformers' names. `kept` cuts the head to these tokens and a prompt's
        (`engine.models.cut_head`).

        Of the head's rows only the first `vocabulary` are tokens (None: all of them).
        `bits` rounds every linear weight, the head's too (8 or 4; None: as they are); they may also be rounded to it
        already, all of them or none. `state` has so many `blocks` for each of the layers of `config`: more than one
        where it is `engine.models.deepening.deepened`.
        """
        self.device, self.dtype = torch.device(device), dtype
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.width = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self.epsilon = float(config.rms_norm_eps)
        self.config, self.blocks = config, blocks
        self.watch, self.features = False, torch.empty(0)
        wide = lacks_bfloat16(dtype, self.device, sum(tensor.numel() for tensor in state.values()))

        def weight(name: str) -> Weight:
            return state[name].to(self.device)

        def dense(name: str) -> Tensor:
            found = weight(name)
            assert isinstance(found, Tensor), f"{name} is never rounded"
            return found

        def norm(weight: Tensor) -> Norm:
            return make_norm(weight.to(dtype), self.epsilon)

        def layer(prefix: str) -> LayerWeights:
            attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
            return LayerWeights(
                dense(f"{prefix}.input_layernorm.weight"),
                stacked([weight(f"{attention}.{name}_proj.weight") for name in "qkv"]),
                weight(f"{attention}.o_proj.weight"),
                dense(f"{prefix}.post_attention_layernorm.weight"),
                stacked([weight(f"{mlp}.{name}_proj.weight") for name in ("gate", "up")]),
                weight(f"{mlp}.down_proj.weight"),
            )

        layers = [layer(f"model.layers.{i}") for i in range(blocks * int(config.num_hidden_layers))]
        last_norm = dense("model.norm.weight")
        head = weight("lm_head.weight" if "lm_head.weight" in state else "model.embed_tokens.weight")
        head = head[: vocabulary or head.shape[0]]
        kept = kept[kept < head.shape[0]] if kept is not None else None
        self.capabilities = Capabilities(position_limit(config))
        self.cut = CutHead(kept, self.device) if kept is not None else None
        fused = can_fuse(layers, head, dtype, self.width)
        self.embedding = dense("model.embed_tokens.weight").to(dtype)
        self.fused: FusedLlama | None = None
        if fused:
            self.fused = fuse(
                self.embedding,
                layers,
                last_norm,
                head,
                bits,
                self.heads,
                self.width,
                self.epsilon,
                self.kept_tokens,
                blocks,
            )

        def linear(weight: Weight) -> Linear:
            if not fused:
                return make_linear(weight, dtype, bits, wide=wide)
            # Few rows never come here.
            exact = round_weight(weight, bits) if bits else weight
            assert isinstance(exact, Tensor), "what is rounded already has its bits"
            return widened(exact, dtype) if wide else make_linear(exact, dtype)

        self.layers = [
            Layer(norm(a), linear(qkv), linear(out), norm(b), linear(gate_up), linear(down))
            for a, qkv, out, b, gate_up, down in layers
        ]
        self.norm, self.head = norm(last_norm), linear(head if kept is None else head[kept.to(self.device)])
        if self.cut:
            whole = round_weight(head, bits) if bits else head
            assert isinstance(whole, Tensor), "what is rounded already has its bits"
            self.whole_head = whole.to(dtype)
            self.prompt_head = self.whole_head[self.cut.tokens[self.cut.kept :]]
        self.captured: CapturedForwards | None = None
        if self.device.type == "cuda":
            record = cuda_graph(torch.cuda.Stream(self.device))  # type: ignore[no-untyped-call]
            self.captured = CapturedForwards(self._compute, self.device, dtype, record)
        self._allocate(capacity)
        if self.fused or self.captured:
            self._prepare()

    def _prepare(self) -> None:
        """Compile or record what no text should wait for."""
        if self.captured:
            self.captured.prepare(self.capacity)
        for rows in range(1, FEW_ROWS + 1 if self.captured else 2):
            logits = self.forward([rows_behind([0] * rows, 0)]).float()
            (
                best(logits),
                ranked(logits, 1),
                add_noise(logits.contiguous(), [(0, 0)] * rows, 1.0, self.kept_tokens),
            )

    def _allocate(self, capacity: int) -> None:
        # The last slot is nobody's: rows that fill up a graph are written there.
        shape = (len(self.layers), 2 * self.kv_heads, capacity + 1, self.width)
        # Positions can never outrun slots: branches use more slots than positions.
        self.cosine, self.sine = self._rotation(capacity)
        self.cache = torch.zeros(shape, dtype=self.dtype, device=self.device)
        if self.fused:
            self.slots: Slots = slots_of(self.cache, self.cosine[:, 0], self.sine[:, 0])
        if self.captured:
            self.captured.graphs.clear()  # they are of the former cache

    def _rotation(self, positions: int) -> tuple[Tensor, Tensor]:
        """Tables [positions, 1, width]; the sine's first half is negative, so that a roll does the rotation."""
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

        rotary = LlamaRotaryEmbedding(self.config)
        cosine, sine = rotary(torch.zeros(1, dtype=torch.float32), torch.arange(positions)[None])
        sine[..., : self.width // 2] *= -1
        cosine, sine = (t[0].to(self.device, self.dtype)[:, None] for t in (cosine, sine))
        return cosine, sine

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Of n tokens [n, heads, width]: what turns queries' and keys' heads, and leaves values' as they are."""
        cosine, sine = self.cosine[positions], self.sine[positions]
        turned, kept = (-1, self.heads + self.kv_heads, -1), (-1, self.kv_heads, -1)
        return (
            torch.cat([cosine.expand(turned), torch.ones_like(cosine).expand(kept)], dim=1),
            torch.cat([sine.expand(turned), torch.zeros_like(sine).expand(kept)], dim=1),
        )

    @property
    def kept_tokens(self) -> Tensor | None:
        """See `engine.models.decoder.Decoder`."""
        return self.cut.tokens if self.cut else None

    @property
    def kept_rows(self) -> int:
        return self.cut.kept if self.cut else 0

    @property
    def capacity(self) -> int:
        """How many slots there are; more when they are written to."""
        return int(self.cache.shape[2]) - 1

    def forward(self, batch: Sequence[Rows]) -> Tensor:
        """Logits [wanted, head rows]: in the model's dtype, or float32 where nothing rounded them.

        A compiled forward gives a row the same whatever is read beside it; PyTorch may add up in another order.
        """
        batch = arranged(batch)
        self.reserve(max([max(rows.written) for rows in batch]) + 1)
        if self.fused and row_count(batch) <= self.fused.most_rows:
            shown = self.cut.used if self.cut else None
            logits, self.features = self.fused.forward(batch, self.slots, watch=self.watch, shown=shown)
            return logits
        logits = self._forward_by_torch(batch)
        return self.cut.hide(logits) if self.cut else logits

    @torch.inference_mode()
    def _forward_by_torch(self, batch: Sequence[Rows]) -> Tensor:
        last = wanted_count(batch)
        if self.captured and last <= LAST_ROWS:
            logits, self.features = self.captured.forward(batch, capacity=self.capacity, watch=self.watch)
            return logits
        tokens, positions, slots = torch.from_numpy(joined(batch)).to(self.device)
        views = [View(mine, self._mask(rows), self._held(rows)) for rows, mine in spans(batch)]
        wanted = slice(len(tokens) - last, None)
        logits, self.features = self._compute(Reading(tokens, positions, slots, views, wanted))
        return logits

    def _mask(self, rows: Rows) -> Tensor | None:
        """What is added to the scores of a text's places; None: nothing, all are seen."""
        if rows.visibility is None:
            if len(rows) == 1:
                return None
            shape, hidden = (len(rows), rows.end), float("-inf")
            return torch.full(shape, hidden, dtype=self.dtype, device=self.device).triu_(rows.start + 1)
        hidden_places = torch.from_numpy(~rows.visibility.visible(rows.end))
        mask = torch.zeros(hidden_places.shape).masked_fill_(hidden_places, float("-inf"))
        return mask.to(self.device, self.dtype)

    def _held(self, rows: Rows) -> slice | Tensor:
        """The slots of a text's places, which are a view where it is contiguous."""
        if (offset := rows.offset) is not None:
            return slice(offset, offset + rows.end)
        return torch.from_numpy(rows.held()).to(self.device)

    def _compute(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """Logits and features of the rows wanted by PyTorch's operations, none of which waits for the device."""
        tokens, positions, slots, views, wanted = reading
        count, group, width = len(tokens), self.heads // self.kv_heads, self.width
        cosine, sine = self._turns(positions)
        # Query heads of one KV head are folded into rows, so that keys are never repeated.
        masks = [None if mask is None else mask.repeat(group, 1) for _, mask, _ in views]
        held = [self.cache[:, None, :, seen] if isinstance(seen, slice) else None for _, _, seen in views]
        x = self.embedding[tokens]
        outputs: list[Tensor] = []
        # The last block of each of the last layers, from behind.
        watched = range(len(self.layers))[:: -self.blocks][:WATCHED_LAYERS] if self.watch else ()
        for index, layer in enumerate(self.layers):
            fused = layer.qkv(layer.attention_norm(x)).view(count, -1, width)
            fused = torch.addcmul(fused * cosine, fused.roll(width // 2, -1), sine)
            self.cache[index].index_copy_(1, slots, fused[:, self.heads :].transpose(0, 1))
            queries = fused[:, : self.heads].view(count, self.kv_heads, group, width).permute(1, 2, 0, 3)
            mixed = []
            for (mine, _, seen), mask, view in zip(views, masks, held, strict=True):
                both = self.cache[index, :, seen][None] if view is None else view[index]
                keys, values = both.chunk(2, dim=1)
                asked = queries if len(views) == 1 else queries[:, :, mine]
                found = functional.scaled_dot_product_attention(
                    asked.reshape(1, self.kv_heads, -1, width), keys, values, attn_mask=mask
                )
                found = found.view(self.kv_heads, group, -1, width).permute(2, 0, 1, 3)
                mixed.append(found.reshape(len(found), -1))
            x = x + layer.out(mixed[0] if len(mixed) == 1 else torch.cat(mixed))
            gate, up = layer.gate_up(layer.mlp_norm(x)).chunk(2, dim=-1)
            x = x + layer.down(functional.silu(gate) * up)
            if index in watched:
                outputs.append(x[wanted])
        normed = self.norm(x[wanted])
        features = torch.cat([*outputs[:-1], normed], dim=-1) if self.watch else normed[:, :0]
        logits = self.head(normed)
        if self.cut:
            logits = torch.cat([logits, functional.linear(normed, self.prompt_head)], dim=-1)
        return logits, features

    @torch.inference_mode()
    def reserve(self, slots: int) -> None:
        """Have room for so many slots."""
        if slots <= self.capacity:
            return
        cache, used = self.cache, self.capacity
        self._allocate(max(slots, 2 * used))
        self.cache[:, :, :used] = cache[:, :, :used]

    @torch.inference_mode()
    def move(self, slots: Sequence[int], to: Sequence[int]) -> None:
        """Copy `slots` to as many others; the cost is that of the slots moved, not of the prefix."""
        there, index = torch.tensor([to, slots], device=self.device)
        self.cache[:, :, there] = self.cache[:, :, index]

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size]."""
        return self.embedding[torch.tensor(tokens, device=self.device)]

    @torch.inference_mode()
    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything; slots are overwritten before they are read, so nothing has to be zeroed.

        If the head is cut, it scores the tokens of `prompt` too.
        """
        if not self.cut:
            return
        new = self.cut.hear(prompt)
        self.prompt_head[: len(new)] = self.whole_head[new]
        if self.fused:
            self.fused.put_head(self.cut.kept, new)
