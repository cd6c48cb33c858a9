"""A Llama of any size with random weights and a small draft of it, as folders: for timing without a download.

Its text means nothing, but drafts predict it about as well as they do that of a trained model. At every size tried (2
to 24 layers, width 256 to 1024) the draft said its token at 70% to 78% of 192 positions, an int8 one rounded from it at
94% to 97%, an int4 one at 72% to 80%; it gave its own choice a chance of one half.
"""

from pathlib import Path
from typing import Any

VOCABULARY = 32000
# What makes it so. A trained model's layers each add a little to what they read, so what writes to that is drawn
# smaller, by the root of how many do; a model of equal weights amplifies rounding from layer to layer. The logits'
# spread makes choices neither even nor certain. The first is a standard deviation times the root of the width.
SPREAD, EMBEDDING_SPREAD, LOGIT_SPREAD = 0.45, 0.1, 6.0
# The draft has this share of the layers; the others add so much less that it is right about as often as a small model
# of the target's family.
DRAFT_SHARE, LATE = 1 / 6, 0.2


def make_random_pair(
    folder: Path, *, layers: int, width: int, heads: int, seed: int = 0
) -> tuple[Path, Path]:
    """The folders of a target and of a draft that is its first layers, below `folder`; written unless they are there.

    Each has a config, bfloat16 weights and a tokenizer of numbered words.
    """
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    target, draft = folder / "target", folder / "draft"
    if (draft / "tokenizer.json").exists():
        return target, draft
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
    early = max(1, round(layers * DRAFT_SHARE))
    with torch.no_grad():
        for index, layer in enumerate(model.model.layers):
            for added in (layer.self_attn.o_proj, layer.mlp.down_proj):
                added.weight.mul_((LATE if index >= early else 1.0) / (2 * layers) ** 0.5)
        model.model.embed_tokens.weight.mul_(EMBEDDING_SPREAD * width**0.5 / SPREAD)
        model.lm_head.weight.mul_(LOGIT_SPREAD / SPREAD)
    inner = Tokenizer(WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w1"))
    inner.pre_tokenizer = WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    model.to(torch.bfloat16)
    for where, kept in ((target, layers), (draft, early)):
        model.model.layers = model.model.layers[:kept]
        model.config.num_hidden_layers = kept
        model.save_pretrained(where)
        # No text of a random model ends by itself, so that lengths are equal.
        fast(tokenizer_object=inner, unk_token="w1").save_pretrained(where)
    return target, draft
