"""Text to token ids and back, and the check that two models speak of the same tokens."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from engine.errors import ConfigurationError
from engine.models.specs import ModelSpec, not_loaded


class Tokenizer:
    """A target's tokenizer, with its chat template where it has one."""

    def __init__(self, spec: ModelSpec) -> None:
        """SpecBranchError if the model has no tokenizer that loads."""
        from transformers import AutoTokenizer

        try:
            self._inner: Any = AutoTokenizer.from_pretrained(
                spec.location, trust_remote_code=spec.trust_remote_code
            )
        except Exception as error:  # of a damaged file, the library raises no kind of its own
            raise not_loaded("the tokenizer of", spec.source, error) from error
        self.end_tokens: frozenset[int] = frozenset(self._ends(spec))

    @property
    def size(self) -> int:
        """How many token ids there are, from 0 on; a model's head may have rows beyond them."""
        ids: dict[str, int] = self._inner.get_vocab()
        return 1 + max(ids.values())

    def _ends(self, spec: ModelSpec) -> Iterator[int]:
        """The tokens that end a text: the tokenizer's, the model's and those of its generation settings."""
        from transformers import AutoConfig, GenerationConfig

        yield from _listed(self._inner.eos_token_id)
        for kind in (AutoConfig, GenerationConfig):
            with suppress(OSError, ValueError):  # a folder may lack either
                found = kind.from_pretrained(spec.location, trust_remote_code=spec.trust_remote_code)
                yield from _listed(getattr(found, "eos_token_id", None))

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

    def completes(self, tokens: Sequence[int], stops: Sequence[str]) -> bool:
        """Whether the last of a text's tokens completes one of `stops`, as transformers' `stop_strings` ends a text."""
        # A token is a byte at least; one more, since a decoder may leave out the space before the first.
        tail = list(tokens[-1 - max(len(stop.encode()) for stop in stops) :])
        before, now = self._inner.decode(tail[:-1]), self._inner.decode(tail)
        same = (one == other for one, other in zip(before, now, strict=False))
        known = next((place for place, agree in enumerate(same) if not agree), min(len(before), len(now)))
        return any(now.find(stop, max(0, known - len(stop) + 1)) >= 0 for stop in stops)

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


def _listed(ends: int | list[int] | None) -> list[int]:
    """What a setting of end tokens says: none, one or several."""
    return [ends] if isinstance(ends, int) else list(ends or [])
