"""What a forward of several requests takes: the protocol by which the world asks, and the simplest that keeps to it."""

from dataclasses import dataclass
from typing import Protocol


class ForwardCost(Protocol):
    """Seconds of a forward of `rows` rows of `sequences` texts, which have `cache_tokens` tokens in all.

    `attended`: the sum over the rows of the tokens that the text of each had before this forward; `unscored`: rows
    whose logits nobody wants, which are those of prompts but the last.
    """

    def __call__(
        self, rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0
    ) -> float: ...


@dataclass(frozen=True)
class LinearForwardCost:
    """`seconds` and so many more for each row, sequence and cache token.

    Served engines keep to it (SpecDecode-Bench: 5.886 ms, 21 us a row and 39 ns a cache token for Llama-3.1-8B on one
    H100).
    """

    seconds: float
    row: float = 0.0
    sequence: float = 0.0
    cache_token: float = 0.0

    def __call__(
        self, rows: int, sequences: int, cache_tokens: int, attended: int = 0, unscored: int = 0
    ) -> float:
        return self.seconds + self.row * rows + self.sequence * sequences + self.cache_token * cache_tokens
