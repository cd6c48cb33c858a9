"""Tiny random models of many architectures, in folders with the tokenizer of `tiny_models`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tiny_models import VOCABULARY, save_tokenizer
from transformers import AutoModelForCausalLM

WINDOW = 6  # shorter than every prompt and its text, so that windows and chunks end within them
_LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
_GPT: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2}
_NO_ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def _like_llama(kind: type[Any], **settings: Any) -> Callable[[], Any]:
    return lambda: kind(**(_LLAMA | settings | _NO_ENDS))


def _other(kind: type[Any], **settings: Any) -> Callable[[], Any]:
    return lambda: kind(vocab_size=VOCABULARY, **settings, **_NO_ENDS)


FAMILIES: dict[str, Callable[[], Any]] = {
    "Llama": _like_llama(tf.LlamaConfig),
    "Qwen2": _like_llama(tf.Qwen2Config),
    "Qwen2 with a window": _like_llama(
        tf.Qwen2Config, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "Qwen3": _like_llama(tf.Qwen3Config, head_dim=16),
    "Mistral with a window": _like_llama(tf.MistralConfig, sliding_window=WINDOW),
    "Gemma 2": _like_llama(tf.Gemma2Config, sliding_window=WINDOW, head_dim=16),
    "Gemma 3": _like_llama(
        tf.Gemma3TextConfig,
        sliding_window=WINDOW,
        head_dim=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "Phi-3": _like_llama(tf.Phi3Config, sliding_window=WINDOW),
    "GPT-2": lambda: tf.GPT2Config(**(_GPT | _NO_ENDS)),
    "OPT": _other(
        tf.OPTConfig,
        hidden_size=64,
        word_embed_proj_dim=64,
        ffn_dim=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
    ),
    "GPT-NeoX": _other(
        tf.GPTNeoXConfig,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
    ),
    "Falcon": _other(tf.FalconConfig, hidden_size=64, num_hidden_layers=3, num_attention_heads=4),
    "Falcon with ALiBi": _other(
        tf.FalconConfig, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, alibi=True
    ),
    "BLOOM": _other(tf.BloomConfig, hidden_size=64, n_layer=3, n_head=4),
    "MPT": _other(tf.MptConfig, d_model=64, n_layers=3, n_heads=4, max_seq_len=256),
    "GPT-Neo": _other(
        tf.GPTNeoConfig,
        hidden_size=64,
        num_layers=4,
        num_heads=4,
        window_size=WINDOW,
        attention_types=[[["global", "local"], 2]],
        max_position_embeddings=256,
    ),
    "Mixtral": _like_llama(tf.MixtralConfig, num_local_experts=4, sliding_window=WINDOW, **_EXPERTS),
    "Qwen3-MoE": _like_llama(
        tf.Qwen3MoeConfig, num_experts=4, moe_intermediate_size=32, head_dim=16, **_EXPERTS
    ),
    "DeepSeek-V3": _like_llama(
        tf.DeepseekV3Config,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=16,
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
        num_experts_per_tok=2,
    ),
    "GPT-OSS": _like_llama(
        tf.GptOssConfig, head_dim=16, sliding_window=WINDOW, num_local_experts=4, **_EXPERTS
    ),
    "Llama 4": _like_llama(
        tf.Llama4TextConfig,
        head_dim=16,
        attention_chunk_size=WINDOW,
        num_local_experts=2,
        floor_scale=4,
        intermediate_size_mlp=96,
        num_hidden_layers=4,
    ),
    "Mamba": _other(tf.MambaConfig, hidden_size=64, num_hidden_layers=3, state_size=8),
    "Qwen3-Next": _like_llama(
        tf.Qwen3NextConfig,
        head_dim=16,
        num_experts=4,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        num_hidden_layers=4,
        **_EXPERTS,
    ),
}
RECURRENT = ("Mamba", "Qwen3-Next")


def tiny(family: str, seed: int) -> Any:
    """A random model in float32, whose weights are such that its text varies."""
    torch.manual_seed(seed)
    config = FAMILIES[family]()
    config.initializer_range = 0.2
    kind: Any = AutoModelForCausalLM
    model = kind.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # where the head is tied to them, large embeddings would say the last token again
        model.get_input_embeddings().weight.mul_(0.05)
    return model.eval()


def save_family(folder: Path, family: str, seed: int) -> str:
    """The folder of such a model; returns its path."""
    tiny(family, seed).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)
