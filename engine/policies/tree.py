"""Trees of drafted tokens, the rule by which the target accepts a path of one, and a round's books. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from itertools import chain as chained
from typing import Literal

from engine.policies.forms import DRAFTED, FOUND, NO_PARENTS, Parents, Pick, chain, lines

Prediction = Literal[0, 1, 2]
"""What H-RAD predicts of a draft's next tokens: 0, the first is rejected; 2, all are accepted; 1, neither."""


@cache
def first_nodes(count: int) -> tuple[int, ...]:
    """The nodes 0, 1, ... `count` - 1."""
    return tuple(range(count))


# Trees are not frozen, though nobody changes one: a frozen one takes more than twice as long to make, and a search
# makes millions.
@dataclass(slots=True)
class TokenTree:
    """Drafted tokens (ids), n of them, of which each goes on behind an earlier one.

    `parents` [n]: the node that each follows. Children of one node have different tokens, and their order is that of
    preference: the *first line* goes from first child to first child. `confidences` [n]: the draft's probability of
    each; of a drawn token, the probability after its logits got their noise (see `engine.models.sampling`). A policy
    may go by tokens and confidences as it likes: what is accepted is the target's own text in any case. `sources` [n]:
    DRAFTED, SIBLING or FOUND; none: all were drafted.
    """

    tokens: tuple[int, ...] = ()
    parents: Parents = NO_PARENTS
    confidences: tuple[float, ...] = ()
    sources: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether each node is the child of the one before."""
        return self.parents.is_chain

    @property
    def first_line(self) -> tuple[int, ...]:
        """The tokens of the first line."""
        parents = self.parents
        return self.tokens if parents.is_chain else self.along(parents.first_line)

    @property
    def drafted(self) -> int:
        """How many nodes are DRAFTED."""
        return self.sources.count(DRAFTED) if self.sources else len(self.tokens)

    def along(self, path: Sequence[int]) -> tuple[int, ...]:
        """The tokens of a path's nodes."""
        count = len(path)
        if not count or path[-1] == count - 1:  # they stand in front, since numbers grow along a path
            return self.tokens[:count]
        return tuple([self.tokens[node] for node in path])

    def first_unsure(self, least: float) -> int:
        """The first place of the first line with a confidence under `least`; the line's length if there is none."""
        line = self.parents.first_line
        return next((i for i, node in enumerate(line) if self.confidences[node] < least), len(line))

    def until(self, depth: int) -> "TokenTree":
        """The nodes with fewer than `depth` ancestors."""
        return self._picked(*self.parents.until[depth])

    def below(self, node: int) -> "TokenTree":
        """What follows a node, as a tree of its own."""
        return self._picked(*self.parents.below[node])

    def root(self, token: int) -> int | None:
        """The node that follows the text with this token, if there is one."""
        tokens = self.tokens
        if tokens and tokens[0] == token:
            return 0
        for node in self.parents.roots:
            if tokens[node] == token:
                return node
        return None

    def _picked(self, pick: Pick, parents: Parents) -> "TokenTree":
        sources = self.sources
        return TokenTree(
            pick(self.tokens), parents, pick(self.confidences), pick(sources) if sources else sources
        )


EMPTY = TokenTree()


def line_of(
    tokens: tuple[int, ...], confidences: tuple[float, ...], sources: tuple[int, ...] = ()
) -> TokenTree:
    """Tokens of which each follows the one before."""
    return TokenTree(tokens, chain(len(tokens)), confidences, sources)


Branch = tuple[tuple[int, ...], tuple[float, ...]]
"""Tokens of which each follows the one before, and their confidences."""


Sibling = tuple[int, int, float]
"""A further candidate at a place of a branch: the place, its token and its confidence."""


def side_by_side(branches: Sequence[Branch], siblings: Sequence[Sequence[Sibling]] = ()) -> TokenTree:
    """A tree of branches behind the text, one after another, and behind all of them each one's `siblings`."""
    if len(branches) == 1:
        tokens, confidences = branches[0]
        tree = TokenTree(tokens, chain(len(tokens)), confidences)
    else:
        each, sure = zip(*branches, strict=True)
        parents = lines(tuple(map(len, each)))
        tree = TokenTree(tuple(chained.from_iterable(each)), parents, tuple(chained.from_iterable(sure)))
    if not siblings or not any(siblings):
        return tree
    begins = accumulate([len(line) for line, _ in branches], initial=0)
    more = [
        (begin + place, token, confidence)
        for begin, its in zip(begins, siblings, strict=False)
        for place, token, confidence in its
    ]
    return with_siblings(tree, *zip(*more, strict=True))


def with_siblings(
    tree: TokenTree, nodes: tuple[int, ...], tokens: tuple[int, ...], confidences: tuple[float, ...]
) -> TokenTree:
    """The tree, all of it drafted, with another candidate beside each of these nodes; they stand behind all others."""
    parents, sources = tree.parents.with_siblings[nodes]
    return TokenTree(tree.tokens + tokens, parents, tree.confidences + confidences, sources)


def lengthened(tree: TokenTree, more: tuple[int, ...]) -> TokenTree:
    """The tree with tokens behind its first line that were FOUND."""
    if not more:
        return tree
    return TokenTree(
        tree.tokens + more,
        tree.parents.lengthened[len(more)],
        tree.confidences + (1.0,) * len(more),
        (tree.sources or (DRAFTED,) * len(tree.tokens)) + (FOUND,) * len(more),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one target forward decided: the accepted nodes from the text on, and the target's own token behind them.

    `prediction`: how the draft's tokens behind that one will fare, if it was asked for and can be predicted.
    """

    path: tuple[int, ...]
    token: int
    prediction: Prediction | None = None

    @property
    def accepted(self) -> int:
        return len(self.path)


def accept(tree: TokenTree, chosen: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The rule: from the text go on to the child that is the target's own token there, as long as there is one.

    `chosen` [1 + n]: the target's own token behind the text, then behind each node: its argmax or, at a temperature,
    its draw. Returns the path, and the target's token behind it.
    """
    tokens, children = tree.tokens, tree.parents.children
    path: list[int] = []
    last = -1
    while True:
        wanted = chosen[last + 1]
        for node in children[last]:
            if tokens[node] == wanted:
                break
        else:
            return tuple(path), wanted
        path.append(node)
        last = node


def follows(tree: TokenTree, path: tuple[int, ...]) -> bool:
    """Whether the path is the whole first line, behind which a draft goes on while the tree is judged."""
    return path == tree.parents.first_line


@dataclass(frozen=True, slots=True)
class Round:
    """Token counts of one verification; see docs/design.md for the definitions."""

    drafted: int  # nodes that a draft's forwards wrote in this round, and others that were judged in it
    verified: int  # nodes that the target judged
    accepted: int
    emitted: int  # tokens of text written, after truncation at the end of the text
    rollback: int
    hedge: int
    cut: int = 0  # drafted nodes of the tree to judge next that were dropped before the target saw them


# Many rounds have the same counts, and to find one is faster than to make one.
_counts = lru_cache(maxsize=1 << 16)(Round)


def books(
    judged: TokenTree,
    path: tuple[int, ...],
    emitted: int,
    ahead: TokenTree | None = None,
    survived: TokenTree | None = None,
    pending: TokenTree = EMPTY,
    redrafted: TokenTree = EMPTY,
) -> Round:
    """What became of a round's nodes.

    `judged`, of which `path` was accepted, was drafted in this round if nothing was drafted `ahead` of it. Of that,
    the tree below the child of the text that was the target's own token has `survived`, if any; `pending` is what is
    left of it to be judged next. `redrafted`: what `judged` was cut from, if it was drafted in this round too.
    """
    count, accepted, parents = len(judged.tokens), len(path), judged.parents
    if parents.is_chain:
        rolled, others = count - accepted, 0
    else:
        line = parents.first_line
        on_line = sum([a == b for a, b in zip(line, path, strict=False)])
        rolled, others = len(line) - on_line, count - len(line) - accepted + on_line
    if ahead is None:
        return _counts(count, count, accepted, emitted, rolled, others)
    drafted = dropped = ahead.drafted if ahead.sources else len(ahead.tokens)
    written, added, lost, cut = 0, 0, 0, 0
    if judged.sources:
        added = count - judged.drafted
    if redrafted.tokens:
        written = redrafted.drafted
        cut = written - judged.drafted
    if survived is None:
        line = ahead.parents.first_line
        lost = [ahead.sources[node] for node in line].count(DRAFTED) if ahead.sources else len(line)
    else:
        there = survived.drafted if survived.sources else len(survived.tokens)
        dropped -= 1 + there
        if pending is not survived:
            cut += there - pending.drafted
    return _counts(
        drafted + written + added,
        count,
        accepted,
        emitted,
        rolled + lost,  # rollback
        others + dropped - lost,  # hedge
        cut,
    )
