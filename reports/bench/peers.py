"""Decoding by transformers itself, inside a worker seated as ours are: the peers that a benchmark compares with.

Every function's first parameter is the worker's `Host`, whose models are here plain transformers models.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.models.sampling import Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.runtime.worker_process import Host, Hosted

Method = Literal["generate", "assisted", "prompt-lookup"]
Schedule = Literal["constant", "heuristic"]


class Peer(BaseModel):
    """One way of transformers' `generate`.

    `draft` assists by name; `tokens` at most are drafted in a round, none: transformers' own number (20). A
    `min_confidence` of 0 switches its default stop off, none leaves it on. `attention` and `static_cache` are the
    target's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = "generate"
    draft: str | None = None
    tokens: int | None = Field(default=None, ge=1)
    schedule: Schedule = "constant"
    min_confidence: float | None = None
    longest_match: int | None = Field(default=None, ge=1)
    attention: Literal["sdpa", "eager"] = "sdpa"
    static_cache: bool = False

    def label(self) -> str:
        """A short name for tables, with what differs from transformers' defaults."""
        parts = [
            self.draft or "",
            f"n{self.tokens}" if self.tokens else "",
            self.schedule if self.schedule != "constant" else "",
            "its own stop" if self.method == "assisted" and self.min_confidence is None else "",
            f"m{self.longest_match}" if self.longest_match else "",
            self.attention if self.attention != "sdpa" else "",
            "static cache" if self.static_cache else "",
        ]
        return " ".join(part for part in ["transformers", self.method, *parts] if part)


def load(host: Host, name: str, spec: dict[str, Any]) -> None:
    """Load a model of `spec` as a transformers model under a name, unless it is there already."""
    if name not in host.models:
        host.models[name] = Hosted(transformers_model(ModelSpec.model_validate(spec)).to(host.device))


def transformers_model(spec: ModelSpec) -> Any:
    """The weights that `engine.runtime.loading.load_model` computes with, as a model of transformers.

    Rounded weights are dense ones of the same values: transformers has no kernel that computes with them packed
    on the CPU. A distilled draft's head scores the kept tokens only, and all others get minus infinity; any other
    draft's is whole.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from engine.models.deepening import check_deepens, deepened_model
    from engine.models.llama import is_lean

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its assisted generation warns of itself
    dtype: torch.dtype = getattr(torch, spec.precision)
    model: Any = AutoModelForCausalLM.from_pretrained(
        spec.location,
        dtype=torch.float32 if spec.bits else dtype,
        trust_remote_code=spec.trust_remote_code,
    )
    check_deepens(spec, is_lean(model.config), model.config.model_type)
    model, kept = deepened_model(model, spec.deepen), None
    if spec.distilled_file is not None:
        from engine.drafts.distilled import load_distilled

        weights = load_distilled(spec.distilled_file, model.state_dict())
        del model.model.layers[weights.layers :]
        model.config.num_hidden_layers, kept = weights.layers, weights.kept_tokens
        model.load_state_dict(weights.state)
    if spec.bits:
        _round(model, spec)
    if kept is not None:
        model.lm_head = _cut_head(model.lm_head, kept)
    # Past the head's rounding, a head tied to the embedding must not follow it any more.
    model.config.tie_word_embeddings = model.config.tie_word_embeddings and not spec.bits and kept is None
    return model.to(dtype).eval()


def _round(model: Any, spec: ModelSpec) -> None:
    """Round every linear weight as `engine.runtime.loading.load_model` does."""
    import torch

    from engine.drafts.gptq import load_codes
    from engine.kernels.linear import round_weight

    assert spec.bits
    codes = load_codes(spec.codes_file, model.state_dict()) if spec.codes_file else {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            rounded = round_weight(codes.get(f"{name}.weight", module.weight), spec.bits)
            module.weight = torch.nn.Parameter(rounded, requires_grad=False)


def _cut_head(head: Any, kept: Any) -> Any:
    """A head that computes the rows of `kept` (int64 [kept]) alone."""
    import torch

    class CutHead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(head.weight.detach()[kept].clone(), requires_grad=False)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            scores = torch.nn.functional.linear(hidden, self.weight)
            full = scores.new_full((*scores.shape[:-1], head.out_features), float("-inf"))
            full[..., kept] = scores
            return full

    return CutHead()


def generate(
    host: Host,
    peer: dict[str, Any],
    prompt: Sequence[int],
    max_tokens: int,
    end_tokens: Sequence[int],
    sampling: Mapping[str, Any],
) -> dict[str, Any]:
    """Write up to `max_tokens` tokens after `prompt`; the new tokens and the seconds that `generate` took.

    The clock runs inside the worker, so a peer pays nothing for messages.
    """
    import torch

    chosen, drawn = Peer.model_validate(peer), Sampling.model_validate(sampling)
    model = host.models[TARGET].model
    if model.config._attn_implementation != chosen.attention:
        model.set_attn_implementation(chosen.attention)
    options: dict[str, Any] = {
        "max_new_tokens": max_tokens,
        "do_sample": not drawn.greedy,
        "eos_token_id": list(end_tokens) or None,
        "pad_token_id": 0,  # one text at a time is never padded, but transformers warns without it
    }
    if not end_tokens:
        model.generation_config.eos_token_id = None  # else transformers takes the model's own
    if not drawn.greedy:
        torch.manual_seed(drawn.seed)
        options |= {"temperature": drawn.temperature, "top_k": drawn.top_k or 0, "top_p": drawn.top_p}
    if chosen.static_cache:
        options["cache_implementation"] = "static"
    if chosen.method == "prompt-lookup":
        options["prompt_lookup_num_tokens"] = chosen.tokens
        options["max_matching_ngram_size"] = chosen.longest_match
    if chosen.method == "assisted":
        assert chosen.draft is not None
        assistant = host.models[chosen.draft].model
        settings = assistant.generation_config
        settings.num_assistant_tokens = chosen.tokens
        settings.num_assistant_tokens_schedule = chosen.schedule
        settings.assistant_confidence_threshold = chosen.min_confidence
        options["assistant_model"] = assistant
    start = time.perf_counter()
    ids = torch.tensor([list(prompt)], device=host.device)
    with torch.inference_mode():
        written = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    tokens: list[int] = written[0, len(prompt) :].tolist()
    return {"tokens": tokens, "seconds": time.perf_counter() - start}
