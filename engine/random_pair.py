"""A Llama of any size with random weights, in a folder as any other model: for timing without a download.

Its text means nothing, but drafts rounded from it predict it about as well as those of a trained model do: at every
size tried (2 to 24 layers, width 256 to 1024) int8 said its token at 92% to 97% of 192 positions, int4 at 67% to 76%,
and it gave its own choice a chance of one half.
"""

from pathlib import Path
from typing import Any

VOCABULARY = 32000
# What makes it so. A trained model's layers each add a little to what they read, so what writes to that is drawn
# smaller, by the root of how many do; a model of equal weights amplifies rounding from layer to layer. The logits'
# spread makes choices neither even nor certain. The first is a standard deviation times the root of the width.
SPREAD, EMBEDDING_SPREAD, LOGIT_SPREAD = 0.45, 0.1, 6.0


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
        initializer_range=SPREAD / width**0.5,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            for added in (layer.self_attn.o_proj, layer.mlp.down_proj):
                added.weight.div_((2 * layers) ** 0.5)
        model.model.embed_tokens.weight.mul_(EMBEDDING_SPREAD * width**0.5 / SPREAD)
        model.lm_head.weight.mul_(LOGIT_SPREAD / SPREAD)
    model.to(torch.bfloat16).save_pretrained(folder)
    inner = Tokenizer(WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w1"))
    inner.pre_tokenizer = WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    # No text of a random model ends by itself, so that lengths are equal.
    fast(tokenizer_object=inner, unk_token="w1").save_pretrained(folder)
    return folder
