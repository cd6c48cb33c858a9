"""Attention masks of transformers over slots that do not lie in the order of their tokens.

transformers builds a layer's mask from a rule over indices: causal, within a window, within a chunk. Here the rule is
asked about the *positions* of tokens instead, and joined with what each row sees. So every kind of layer keeps its own
rule, whatever it is, in a forward that reads branches.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

Rule = Callable[[Any, Any, Tensor, Tensor], Tensor]
"""Whether, for a batch's row and a head, the query of one index may see the key of another."""


@dataclass(frozen=True)
class SlotView:
    """What rows see of the slots of a forward: `visible` bool [rows, slots], and positions int64 [rows] and [slots].

    `start`: the index by which transformers knows the first row.
    """

    start: int
    rows: Tensor
    slots: Tensor
    visible: Tensor

    def rule(self, rule: Rule) -> Rule:
        """The same rule about the tokens' positions, of what is visible."""

        def of_slots(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
            row = query - self.start
            return rule(batch, head, self.rows[row], self.slots[key]) & self.visible[row, key]

        return of_slots


_view: ContextVar[SlotView | None] = ContextVar("slot view", default=None)


@contextmanager
def seen(view: SlotView) -> Iterator[None]:
    """Forwards meanwhile, in this thread, have their masks made for `view`."""
    token = _view.set(view)
    try:
        yield
    finally:
        _view.reset(token)


def _over_slots(make: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(make)
    def mask(*args: Any, mask_function: Rule, **options: Any) -> Any:
        view = _view.get()
        if view is not None:
            mask_function = view.rule(mask_function)
            options["allow_is_causal_skip"] = False
        return make(*args, mask_function=mask_function, **options)

    return mask


def follow_views() -> None:
    """From now on, masks of attention by sdpa or eager heed `seen`; without it they are what they were."""
    for name in ("sdpa", "eager"):
        make = ALL_MASK_ATTENTION_FUNCTIONS[name]
        if not hasattr(make, "__wrapped__"):
            ALL_MASK_ATTENTION_FUNCTIONS.register(name, _over_slots(make))


def heeds_views(model: Any) -> bool:
    """Whether all that a model's attention knows of places is the mask and the position of each token.

    transformers says so of a class by `_supports_attention_backend`. Others may add a bias by slots (ALiBi), or a
    window of their own. Llama 4 is of the class, but its tuning of a query's temperature goes by slots.
    """
    standard = bool(getattr(type(model), "_supports_attention_backend", False))
    by_slots = bool(getattr(model.config.get_text_config(decoder=True), "attn_temperature_tuning", False))
    return standard and not by_slots and model.config._attn_implementation in ("sdpa", "eager")
