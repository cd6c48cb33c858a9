"""A static token tree (Sequoia, arXiv 2402.12374): a shape found once, which the draft fills level by level."""

from functools import lru_cache
from heapq import heappop, heappush

from engine.policies.forms import Parents, Shape
from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.sequential import draft_then_verify
from engine.policies.settings import Settings

NAME = "tree"
USES = frozenset({"draft", "draft_length", "tree_nodes", "rank_acceptance", "draw_drafts"})


def decode(session: Session, settings: Settings) -> Steps:
    shape = best_shape(settings.rank_chances, settings.tree_nodes, settings.draft_length)
    limits = DraftLimits(shape.levels, drawn=settings.draw_drafts, shape=shape)
    while not session.finished:
        yield from draft_then_verify(session, limits)


@lru_cache(1024)
def best_shape(chances: tuple[float, ...], nodes: int, depth: int) -> Shape:
    """The tree of up to `nodes` nodes and `depth` levels whose accepted path is the longest in expectation.

    `chances`: that the target's own token is the draft's candidate of each rank, best first, at a place where all
    before it was accepted. A node is accepted with the product of the chances along its path, so what a tree yields is
    the sum of its nodes' products. Sequoia finds the best tree by dynamic programming over sizes; since no child is
    worth more than its parent, it is also the nodes of the largest products, taken one by one. Of equal ones, the one
    whose path has the better ranks. Nodes stand depth first, so that the most likely path stands in front.
    """
    waiting: list[tuple[float, tuple[int, ...]]] = [
        (-1.0, ())
    ]  # what a node is worth, negative, and its path's ranks
    taken: list[tuple[int, ...]] = []
    while waiting and len(taken) <= nodes:  # the text's end is the first
        worth, path = heappop(waiting)
        taken.append(path)
        if len(path) < depth:
            for rank, chance in enumerate(chances):
                if chance > 0.0:
                    heappush(waiting, (worth * chance, (*path, rank)))
    paths = sorted(taken[1:])
    number = {path: node for node, path in enumerate(paths)}
    return Shape(Parents(number.get(path[:-1], -1) for path in paths), tuple(path[-1] for path in paths))
