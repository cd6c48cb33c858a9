"""Whether a prediction's texts reach farther than its costs were measured: one definition for all that shows one.

Costs grow linearly with the context, and beyond the longest that was measured they go on as the last two do
(`sim.costs.measured`). A line through two points is good for a while behind the second one, and nobody knows how far:
kernels change with the length, and caches fill. So what reaches beyond it by more than half is marked.
"""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from calibrate.cost_records import PlacementCosts

FAR = 1.5  # times the longest measured context
MARK = "\u2020"
MEANING = f"{MARK} its texts reach beyond {FAR:g} times the longest context behind which costs were measured"


def measured_context(costs: PlacementCosts, draft: str | None) -> int:
    """The longest context behind which all forwards of the target, and of a draft, were measured in a placement."""
    kinds = [costs.target]
    if draft is not None and draft in costs.drafts:
        kinds += [costs.drafts[draft].forward, costs.drafts[draft].branch]
    return min((max(cell.cache_tokens for cell in cells) for cells in kinds if cells), default=0)


@overload
def is_far(context: int, measured: int) -> bool: ...


@overload
def is_far(context: NDArray[np.int64], measured: int) -> NDArray[np.bool_]: ...


def is_far(context: int | NDArray[np.int64], measured: int) -> bool | NDArray[np.bool_]:
    """Whether texts of `context` tokens in all, the prompt's included, reach too far beyond what was measured."""
    return context > FAR * measured


def far_note(context: int, measured: int) -> str:
    """A sentence for who reads such a prediction."""
    return (
        f"texts reach {context} tokens of context, and costs were measured behind {measured} at most: 'specbranch "
        f"calibrate --context {context}' measures them so far"
    )


def marked(label: str, far: bool) -> str:
    """A prediction's label, with the mark where its texts reach too far; see `MEANING`."""
    return f"{label} {MARK}" if far else label
