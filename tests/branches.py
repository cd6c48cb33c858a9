"""Trees as tests speak of them: lines, branches side by side, and one token more on each branch of a cache."""

from collections.abc import Sequence

from torch import Tensor

from engine.models.cache_state import CacheState
from engine.models.cached_model import CachedModel
from engine.policies.forms import DRAFTED, SIBLING, shared
from engine.policies.tree import TokenTree, line_of, side_by_side


def line(*tokens: int, confidence: float = 0.5) -> TokenTree:
    return line_of(tokens, (confidence,) * len(tokens))


def branches(*lines: tuple[int, ...]) -> TokenTree:
    return side_by_side([(tokens, (0.5,) * len(tokens)) for tokens in lines])


def with_leaves(tokens: Sequence[int], leaves: Sequence[tuple[int, int]]) -> TokenTree:
    """A line with leaves beside it or behind its end, as (place in the line, token)."""
    if not leaves:
        return line_of(tuple(tokens), (0.5,) * len(tokens))
    return TokenTree(
        (*tokens, *(token for _, token in leaves)),
        shared((*range(-1, len(tokens) - 1), *(place - 1 for place, _ in leaves))),
        (0.5,) * len(tokens) + (0.25,) * len(leaves),
        (DRAFTED,) * len(tokens) + (SIBLING,) * len(leaves),
    )


def contexts_of(tree: TokenTree, text: Sequence[int]) -> list[list[int]]:
    """What each node of a tree behind a text sees, itself at the end."""
    found: list[list[int]] = []
    for token, parent in zip(tree.tokens, tree.parents, strict=True):
        found.append([*(found[parent] if parent >= 0 else text), token])
    return found


def read_branches(model: CachedModel, rows: Sequence[tuple[int, int]]) -> Tensor:
    """Read one token more on each given branch behind the prefix, as (branch, token)."""
    return model.read_nodes([token for _, token in rows], last_nodes(model.cache, [b for b, _ in rows]))


def last_nodes(cache: CacheState, wanted: Sequence[int]) -> list[int]:
    """The last node of each of these branches, -1 of one that is to begin; branches count as they began."""
    branch_of: list[int] = []
    last: list[int] = []
    for node, parent in enumerate(cache.parents):
        branch_of.append(len(last) if parent < 0 else branch_of[parent])
        last[branch_of[node] :] = [node] if parent < 0 else [node, *last[branch_of[node] + 1 :]]
    return [last[branch] if branch < len(last) else -1 for branch in wanted]
