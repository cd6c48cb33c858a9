"""A head cut to part of the vocabulary: the tokens that a target writes often, and those of the prompt at hand.

A small model's head is a large part of its bytes, and nearly all of its rows are for tokens that hardly occur. A draft
may leave them out: it only loses the tokens that it then cannot say (FR-Spec, arXiv 2502.14856). Of the rare tokens
that a text does hold, most stand in its prompt: names, figures, words of a foreign language.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ROOM = 512  # rows for tokens of a prompt; what a longer one has more of is left out


class CutHead:
    """Which token each row of a cut head scores.

    `tokens` int64 [rows]: the kept ones, ascending, and `ROOM` further ones, of which the first `used` - `kept` are
    those of a prompt. Rows from `used` on mean nothing.
    """

    def __init__(self, kept: Tensor, device: torch.device) -> None:
        """`kept` int64 [kept], ascending."""
        self.kept = self.used = len(kept)
        self.tokens = torch.cat([kept, kept[:1].expand(ROOM)]).to(device)
        self._kept = frozenset(kept.tolist())

    def hear(self, prompt: Sequence[int]) -> list[int]:
        """Score the tokens of `prompt` as well, and no longer those of the one before; returns the new ones."""
        new = [token for token in dict.fromkeys(prompt) if token not in self._kept][:ROOM]
        self.used = self.kept + len(new)
        self.tokens[self.kept : self.used] = torch.tensor(new, dtype=torch.int64)
        return new

    @torch.inference_mode()
    def hide(self, logits: Tensor) -> Tensor:
        """Logits [n, rows] where no token that there is not can be chosen, changed in place."""
        logits[:, self.used :] = float("-inf")
        return logits
