"""Text to token ids and back, and the check that two models speak of the same tokens."""

from collections.abc import Sequence
from typing import Any

from engine.errors import ConfigurationError
from engine.models import ModelSpec, not_loaded


class Tokenizer:
    """A target's tokenizer, with its chat template where it has one."""

    def __init__(self, spec: ModelSpec) -> None:
        """SpecBranchError if the model has no tokenizer that loads."""
        from transformers import AutoTokenizer, GenerationConfig

        try:
            self._inner: Any = AutoTokenizer.from_pretrained(
                spec.location, trust_remote_code=spec.trust_remote_code
            )
        except Exception as error:  # of a damaged file, the library raises no kind of its own
            raise not_loaded("the tokenizer of", spec.source, error) from error
        try:
            ends = GenerationConfig.from_pretrained(spec.location).eos_token_id
        except OSError:
            ends = None
        ends = self._inner.eos_token_id if ends is None else ends
        self.end_tokens: frozenset[int] = frozenset([ends] if isinstance(ends, int) else ends or [])

    def encode(self, text: str) -> list[int]:
        """Token ids of a user's message, in the chat template where there is one."""
        if self._inner.chat_template:
            ids: list[int] = self._inner.apply_chat_template(
                [{"role": "user", "content": text}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        else:
            ids = self._inner.encode(text)
        if not ids:
            raise ConfigurationError("the prompt is empty.")
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        text: str = self._inner.decode(list(tokens), skip_special_tokens=True)
        return text

    def check_same_vocabulary(self, other: "Tokenizer", name: str) -> None:
        """ConfigurationError unless `other` (the draft called `name`) gives every token the same id."""
        mine, theirs = self._inner.get_vocab(), other._inner.get_vocab()
        if mine == theirs:
            return
        odd = next((t for t in mine if theirs.get(t) != mine[t]), None) or next(
            t for t in theirs if t not in mine
        )
        raise ConfigurationError(
            f"the draft '{name}' has another vocabulary than the target ({len(theirs)} and {len(mine)} tokens; "
            f"{odd!r} differs first): speculative decoding needs the same one."
        )
