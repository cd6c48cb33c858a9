"""Tiny random models in folders, as a worker loads them, and the target's own greedy text without any cache."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from calibrate.artifact import Artifact
from calibrate.prompts import Prompt
from engine.models.tokenizer import Tokenizer as PairTokenizer
from engine.runtime.pair import Pair

VOCABULARY = 48
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
PROMPTS = [[1 + (7 * i * j + i) % (VOCABULARY - 1) for j in range(5 + i)] for i in range(6)]
TOKENS = 24


def tiny_llama(
    seed: int, *, vocabulary: int = VOCABULARY, layers: int = 2, tied: bool = False, spread: float = 0.3
) -> Any:
    """A random Llama; `spread` is the standard deviation of its weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        initializer_range=spread,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def save_tiny(folder: Path, seed: int, first_word: str = "w0", *, chats: bool = False) -> str:
    """A tiny model's folder, with a tokenizer of words w0 to w47 (w1 unknown, w2 end); returns its path.

    One that `chats` can be distilled: its head is its embedding, and there is a chat template.
    """
    tiny_llama(seed, tied=chats).save_pretrained(folder)
    save_tokenizer(folder, first_word, chats=chats)
    return str(folder)


def save_tokenizer(folder: Path, first_word: str = "w0", *, chats: bool = False) -> None:
    """A tokenizer of words w0 to w47 (w1 unknown, w2 end) for a model's folder."""
    words = {first_word: 0} | {f"w{i}": i for i in range(1, VOCABULARY)}
    inner = Tokenizer(WordLevel(words, unk_token="w1"))
    inner.pre_tokenizer = WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=inner, unk_token="w1", eos_token="w2")
    tokenizer.chat_template = "w3 {{ messages[0].content }} w4" if chats else None
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Calibrated:
    """A pair, and the calibration of it in a folder."""

    pair: Pair
    tokenizer: PairTokenizer
    folder: Path
    artifact: Artifact


def only(pair: Pair, *drafts: str) -> Pair:
    """The pair with these drafts alone, in the same workers."""
    return replace(pair, drafts={name: pair.drafts[name] for name in drafts})


def word_prompts(split: str) -> tuple[Prompt, ...]:
    """Four prompts of a tiny tokenizer's words, to calibrate or to verify on."""
    first = {"calibration": 3, "heldout": 17}[split]
    return tuple(Prompt(f"{split}-{i}", "test", split, f"w{first} w{5 + i} w9 w{11 + i}") for i in range(4))


@cache
def _loaded(source: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)


@torch.inference_mode()
def own_text(source: str, prompt: list[int], tokens: int = TOKENS, end: int | None = None) -> tuple[int, ...]:
    """The model's greedy text by whole forwards of transformers, in float32."""
    model = _loaded(source)
    text = list(prompt)
    while len(text) < len(prompt) + tokens and (len(text) == len(prompt) or text[-1] != end):
        text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    return tuple(text[len(prompt) :])


@torch.inference_mode()
def chances_of(source: str, prompt: list[int], path: list[int]) -> list[float]:
    """The model's probability of each token of a path behind a prompt, at temperature 1, by one whole forward."""
    logits = _loaded(source)(torch.tensor([prompt + path])).logits[0, len(prompt) - 1 : -1]
    chances: list[float] = logits.softmax(dim=-1).gather(1, torch.tensor(path)[:, None])[:, 0].tolist()
    return chances
