"""What every model offers that texts are read by, whichever forward it computes."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from engine.models.capabilities import Capabilities
from engine.models.rows import Rows

WATCHED_LAYERS = 4  # whose outputs are a row's features, as in SpecBranch (arXiv 2506.01979)


class Decoder(Protocol):
    """A model over numbered cache slots.

    While `watch` is set, each forward leaves `features` [last, min(WATCHED_LAYERS, layers) * hidden size], in the
    model's dtype or in float32 where nothing rounded them, on its device: the outputs of the last layers behind one
    another, the very last one's behind the final norm, as in transformers' `hidden_states`; blocks that deepen a layer
    are no layers of their own. Otherwise `features` mean nothing and cost next to nothing. `capabilities` say what it
    cannot do.

    `kept_tokens` int64 [rows of the head] are the tokens that a cut head's rows score, of which the first `kept_rows`
    are always there, the others for a prompt; None where rows are ids.
    """

    watch: bool
    features: Tensor
    capabilities: Capabilities

    @property
    def kept_tokens(self) -> Tensor | None: ...

    @property
    def kept_rows(self) -> int: ...

    def forward(self, batch: Sequence[Rows]) -> Tensor:
        """Read rows of one or more texts; logits [wanted, rows of the head] of those that are wanted, in their order.

        What a row gets does not depend on the other texts, but for sums in another order where the decoder says so.
        """
        ...

    def reserve(self, slots: int) -> None:
        """Have room for so many slots; a forward that writes further makes room itself."""
        ...

    def move(self, slots: Sequence[int], to: Sequence[int]) -> None:
        """Copy the cache of `slots` to as many others."""
        ...

    def clear(self, prompt: Sequence[int] = ()) -> None:
        """Forget everything; a head that is cut scores the tokens of `prompt` too from here on."""
        ...

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The input embeddings of token ids [n, hidden size], in the model's dtype and on its device."""
        ...
