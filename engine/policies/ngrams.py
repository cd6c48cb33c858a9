"""What a target usually writes behind its last tokens, counted once: guesses where a text repeats nothing. Torch-free.

Of the text's own repetitions there are few at its beginning. llama.cpp's lookup decoding falls back on a file of counts
then (ggml-org/llama.cpp, pull request 5479), and the N-Grammys (arXiv 2411.03786) on what single tokens make likely.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from engine.errors import SpecBranchError

LONGEST = 2  # tokens that are looked at; three told hardly more (docs/lab-notes.md)
LEAST = 0.2  # of the times that some tokens occurred, and once more, in which the same one followed
FORMAT, VERSION = "specbranch-ngrams", "1"


@dataclass(frozen=True)
class NGrams:
    """`following[n]`: by n tokens, the one that usually follows them; n from 1 to LONGEST."""

    following: Mapping[int, Mapping[tuple[int, ...], int]] = field(default_factory=dict)

    @cached_property
    def _longest_first(self) -> Sequence[tuple[int, Mapping[tuple[int, ...], int]]]:
        return sorted(self.following.items(), reverse=True)

    def go_on(self, last: Sequence[int], count: int) -> tuple[int, ...]:
        """Up to `count` tokens that usually follow `last`, each by those before it."""
        if not self.following:
            return ()
        tokens, begin = tuple(last[-LONGEST:]), min(len(last), LONGEST)
        while len(tokens) < begin + count:
            for length, following in self._longest_first:
                token = following.get(tokens[-length:])
                if token is not None:
                    break
            else:
                break
            tokens += (token,)
        return tokens[begin:]

    def __len__(self) -> int:
        return sum(map(len, self.following.values()))


NONE = NGrams()


def count_ngrams(texts: Iterable[tuple[Sequence[int], int]], least: float = LEAST) -> NGrams:
    """The n-grams of texts, as (tokens, how many of them are the prompt's); what follows is never the prompt's.

    One is left out where the token that follows most often does so in less than `least` of all times and one more,
    which says less for what occurred seldom. Of equally frequent ones the lower id counts.
    """
    seen: dict[int, dict[tuple[int, ...], Counter[int]]] = {n: {} for n in range(1, LONGEST + 1)}
    for tokens, begin in texts:
        for length, counts in seen.items():
            for end in range(max(begin, length), len(tokens)):
                counts.setdefault(tuple(tokens[end - length : end]), Counter())[tokens[end]] += 1
    following: dict[int, dict[tuple[int, ...], int]] = {}
    for length, counts in seen.items():
        following[length] = {}
        for before, tokens_behind in sorted(counts.items()):
            token, times = min(tokens_behind.items(), key=lambda item: (-item[1], item[0]))
            if times >= least * (tokens_behind.total() + 1):
                following[length][before] = token
    return NGrams(following)


@lru_cache(maxsize=4)
def load_ngrams(path: Path) -> NGrams:
    """Read such a file; SpecBranchError if it is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
                raise SpecBranchError(
                    f"{path} holds no n-grams of this version; count them with 'specbranch count-ngrams'."
                )
            tables = {int(name): file.get_tensor(name).astype(np.int64) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SpecBranchError(
            f"the n-grams {path} cannot be read: {error}; count them with 'specbranch count-ngrams'."
        ) from error
    return NGrams(
        {n: {tuple(before): token for *before, token in table.tolist()} for n, table in tables.items()}
    )


def vocabulary_of(path: Path) -> int:
    """How many tokens the vocabulary has that a file's n-grams are of. SpecBranchError as `load_ngrams`."""
    load_ngrams(path)
    with safe_open(path, framework="numpy") as file:
        return int((file.metadata() or {})["vocabulary"])
