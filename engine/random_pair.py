"""A Llama of any size with random weights, in a folder as any other model: for timing without a download.

Its text means nothing, but a draft rounded from it predicts it as a rounded draft does, so acceptance is real too.
"""

from pathlib import Path
from typing import Any

VOCABULARY = 32000


def make_random_target(folder: Path, *, layers: int, width: int, heads: int, seed: int = 0) -> Path:
    """Write config, bfloat16 weights and a tokenizer of numbered words to `folder`, unless it is there; returns it."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    if (folder / "tokenizer.json").exists():
        return folder
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=-(-width * 8 // 3 // 256) * 256,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        max_position_embeddings=4096,
        # Wide enough that logits are told apart; the usual 0.02 leaves them near-tied.
        initializer_range=0.05,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    inner = Tokenizer(WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w1"))
    inner.pre_tokenizer = WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    # No text of a random model ends by itself, so that lengths are equal.
    fast(tokenizer_object=inner, unk_token="w1").save_pretrained(folder)
    return folder
