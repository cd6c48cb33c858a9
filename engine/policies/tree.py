"""Trees of drafted tokens, the rule by which the target accepts a path of one, and a round's books. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Literal, NamedTuple

Prediction = Literal[0, 1, 2]
"""What H-RAD predicts of a draft's next tokens: 0, the first is rejected; 2, all are accepted; 1, neither."""

# Where a node comes from: a forward of the draft was made for it; it was another candidate of such a forward, for
# nothing; or it was found without a draft, in the text or among n-grams.
DRAFTED, SIBLING, FOUND = range(3)


class Parents(tuple[int, ...]):
    """Of each node of a tree the one that it follows, which stands before it; -1: it follows the text.

    What depends on these alone is worked out once, since a policy makes trees of few forms: they share their parents.
    """

    @cached_property
    def is_chain(self) -> bool:
        """Whether each node follows the one before."""
        return self == tuple(range(-1, len(self) - 1))

    @cached_property
    def first_line(self) -> tuple[int, ...]:
        """The nodes from the text to its first child, from there to that one's first, and so on."""
        nodes, last = [], -1
        for node, parent in enumerate(self):
            if parent == last:
                nodes.append(node)
                last = node
        return tuple(nodes)

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """The nodes that follow the text."""
        return tuple(node for node, parent in enumerate(self) if parent < 0)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many ancestors each node has."""
        found: list[int] = []
        for parent in self:
            found.append(found[parent] + 1 if parent >= 0 else 0)
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The nodes with no ancestors, with one, and so on."""
        count = max(self.depths, default=-1) + 1
        return tuple(
            tuple(node for node, above in enumerate(self.depths) if above == level) for level in range(count)
        )

    def below(self, top: int) -> "tuple[tuple[int, ...], Parents]":
        """The nodes below `top`, and their parents in a tree of their own."""
        if top not in self._below:
            number = {top: -1}
            nodes: list[int] = []
            kept: list[int] = []
            for node in range(top + 1, len(self)):
                if self[node] in number:
                    kept.append(number[self[node]])
                    number[node] = len(nodes)
                    nodes.append(node)
            self._below[top] = tuple(nodes), shared(tuple(kept))
        return self._below[top]

    @cached_property
    def _below(self) -> "dict[int, tuple[tuple[int, ...], Parents]]":
        return {}


@cache
def chain(count: int) -> Parents:
    """The parents of `count` nodes of which each follows the one before."""
    return Parents(range(-1, count - 1))


NO_PARENTS = chain(0)


@lru_cache(maxsize=1 << 16)
def shared(parents: tuple[int, ...]) -> Parents:
    """These parents, as one object for all trees that have them."""
    return Parents(parents)


@cache
def first_nodes(count: int) -> tuple[int, ...]:
    """The nodes 0, 1, ... `count` - 1."""
    return tuple(range(count))


class Shape(NamedTuple):
    """A tree without tokens: of each node its parent, and its rank among a place's candidates."""

    parents: Parents = NO_PARENTS
    ranks: tuple[int, ...] = ()

    @property
    def levels(self) -> int:
        """How many forwards of a draft fill it."""
        return len(self.parents.levels)

    @property
    def candidates(self) -> int:
        """How many candidates of a place it takes, at most."""
        return max(self.ranks, default=-1) + 1


NO_SHAPE = Shape()


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
        return self.along(self.parents.first_line)

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
        if self.is_chain:
            return self._cut(slice(depth), chain(min(depth, len(self.tokens))))
        nodes = tuple(node for node, above in enumerate(self.parents.depths) if above < depth)
        number = {node: i for i, node in enumerate(nodes)} | {-1: -1}
        return self._picked(nodes, shared(tuple([number[self.parents[node]] for node in nodes])))

    def below(self, node: int) -> "TokenTree":
        """What follows a node, as a tree of its own."""
        nodes, parents = self.parents.below(node)
        if not nodes or nodes[-1] == node + len(nodes):
            return self._cut(slice(node + 1, node + 1 + len(nodes)), parents)
        return self._picked(nodes, parents)

    def root(self, token: int) -> int | None:
        """The node that follows the text with this token, if there is one."""
        tokens = self.tokens
        if tokens and tokens[0] == token:
            return 0
        return next((node for node in self.parents.roots if tokens[node] == token), None)

    def _picked(self, nodes: Sequence[int], parents: Parents) -> "TokenTree":
        return TokenTree(
            tuple([self.tokens[node] for node in nodes]),
            parents,
            tuple([self.confidences[node] for node in nodes]),
            tuple([self.sources[node] for node in nodes]) if self.sources else (),
        )

    def _cut(self, part: slice, parents: Parents) -> "TokenTree":
        return TokenTree(self.tokens[part], parents, self.confidences[part], self.sources[part])


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
        tree = line_of(*branches[0])
    else:
        tokens: tuple[int, ...] = ()
        confidences: tuple[float, ...] = ()
        lengths: tuple[int, ...] = ()
        for line, sure in branches:
            tokens, confidences, lengths = tokens + line, confidences + sure, (*lengths, len(line))
        tree = TokenTree(tokens, _forest(lengths), confidences)
    if not any(siblings):
        return tree
    first, parents = 0, list[int]()
    more: list[Sibling] = []
    for (tokens, _), beside in zip(branches, siblings, strict=True):
        parents += [first + place - 1 if place else -1 for place, _, _ in beside]
        more += beside
        first += len(tokens)
    return TokenTree(
        tree.tokens + tuple([token for _, token, _ in more]),
        shared((*tree.parents, *parents)),
        tree.confidences + tuple([confidence for _, _, confidence in more]),
        (DRAFTED,) * first + (SIBLING,) * len(more),
    )


@lru_cache(maxsize=1 << 16)
def _forest(lengths: tuple[int, ...]) -> Parents:
    """The parents in so many chains of these lengths, one after another."""
    parents: list[int] = []
    for length in lengths:
        first = len(parents)
        parents += [-1, *range(first, first + length - 1)]
    return Parents(parents)


def lengthened(tree: TokenTree, more: tuple[int, ...]) -> TokenTree:
    """The tree with tokens behind its first line that were FOUND."""
    if not more:
        return tree
    count = len(tree.tokens)
    last = count - 1 if tree.is_chain else tree.parents.first_line[-1]
    return TokenTree(
        tree.tokens + more,
        shared((*tree.parents, last, *range(count, count + len(more) - 1))),
        tree.confidences + (1.0,) * len(more),
        (tree.sources or (DRAFTED,) * count) + (FOUND,) * len(more),
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
    path, last, wanted = [], -1, chosen[0]
    for node, (parent, token) in enumerate(zip(tree.parents, tree.tokens, strict=True)):
        if parent == last and token == wanted:
            path.append(node)
            last, wanted = node, chosen[node + 1]
    return tuple(path), wanted


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
    count, accepted, line = len(judged.tokens), len(path), judged.parents.first_line
    on_line = accepted if line[:accepted] == path else sum([a == b for a, b in zip(line, path, strict=False)])
    rolled, others = len(line) - on_line, count - len(line) - accepted + on_line
    if ahead is None:
        return _counts(count, count, accepted, emitted, rolled, others)
    drafted = dropped = ahead.drafted
    written, added, lost, cut = 0, 0, 0, 0
    if judged.sources:
        added = count - judged.drafted
    if redrafted:
        written = redrafted.drafted
        cut = written - judged.drafted
    if survived is None:
        line = ahead.parents.first_line
        lost = sum([ahead.sources[node] == DRAFTED for node in line]) if ahead.sources else len(line)
    else:
        there = survived.drafted
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
